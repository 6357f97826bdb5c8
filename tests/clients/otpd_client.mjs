// Drives examples/typescript/otpd.ts, as compiled into the directory named first, and prints what it saw as JSON;
// otpd_client.py does the same and must see the same.

import { pathToFileURL } from "node:url";

const [compiled, url, project, key, what] = process.argv.slice(2);
const { Otpd, OtpdError } = await import(pathToFileURL(`${compiled}/otpd.js`));

async function attempt(call) {
  try {
    return await call;
  } catch (error) {
    if (!(error instanceof OtpdError)) throw error;
    return [error.status, error.code, error.retryAfter ?? null];
  }
}

async function all(items, field) {
  const found = [];
  for await (const item of items) found.push(item[field]);
  return found;
}

async function everything() {
  const otpd = new Otpd(url, { project, key, patience: 0 });
  const send = () => otpd.send("ann@example.com", "email", { recordId: "order 1", idempotencyKey: "k1" });
  const [first, again] = [await send(), await send()];
  const wrong = await otpd.verify("ann@example.com", "0000", { recordId: first.recordId });
  const canceled = [await otpd.cancel(first.recordId), await otpd.cancel(first.recordId)];
  const after = await otpd.verify("ann@example.com", "000000", { recordId: first.recordId });
  const others = [];
  for (const number of [0, 1]) others.push((await otpd.send(`user${number}@example.com`, "email")).recordId);
  const nowhere = new Otpd("http://127.0.0.1:1", { project, key, patience: 0 });
  const newest = [...others.reverse(), first.recordId];
  return {
    repeated: JSON.stringify(first) === JSON.stringify(again),
    expiresIn: first.expiresIn,
    wrong: [wrong.valid, wrong.reason, wrong.attemptsLeft],
    canceled,
    after: [after.valid, after.reason],
    unknown: await attempt(otpd.cancel("11111111-1111-7111-8111-111111111111")),
    nonsense: await attempt(otpd.send("nonsense", "email")),
    foreign: await attempt(new Otpd(url, { project, key: "no key" }).send("ann@example.com", "email")),
    cooldown: (await attempt(otpd.send("user0@example.com", "email"))).slice(0, 2),
    nowhere: await attempt(nowhere.send("a@example.com", "email")),
    newestFirst: JSON.stringify(await all(otpd.records({ limit: 2 }), "id")) === JSON.stringify(newest),
    filtered: await all(otpd.records({ recordId: "order 1", verified: false }), "recordId"),
    timeline: (await otpd.record(first.recordId)).state,
  };
}

async function patience() {
  const otpd = new Otpd(url, { project, key });
  return {
    sent: (await otpd.send("ann@example.com", "email")).recordId,
    tooLong: await attempt(otpd.send("bob@example.com", "email")),
    verify: await attempt(otpd.verify("ann@example.com", "123456")),
  };
}

console.log(JSON.stringify(await (what === undefined ? everything() : patience())));
