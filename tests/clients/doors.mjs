// Calls the doors as their own documents show it in JavaScript, and prints what it saw as JSON; doors.py must see the same.
// The calls of the openlyne door are those of its sample: a number as an integer, the same headers, `fetch`.

const [url, project, key, what, ...rest] = process.argv.slice(2);
const BASE_URL = `${url}/webhook`;
const HEADERS = { "x-api-key": key, "Content-Type": "application/json" };

const seen = async (response) => [response.status, await response.json()];

async function sendOTP(phone, uid, env = "sandbox") {
  return seen(
    await fetch(`${BASE_URL}/send-otp`, { method: "POST", headers: HEADERS, body: JSON.stringify({ phone, uid, env }) }),
  );
}

async function verifyOTP(uid, code) {
  return seen(
    await fetch(`${BASE_URL}/verify-otp`, { method: "POST", headers: HEADERS, body: JSON.stringify({ uid, code }) }),
  );
}

async function inbox(target) {
  const headers = { "x-api-key": key, "x-project-id": project };
  for (let tries = 0; tries < 300; tries += 1) {
    const answer = await fetch(`${url}/api/v1/sandbox/messages?target=${encodeURIComponent(target)}`, { headers });
    const { messages } = await answer.json();
    if (messages.length > 0) return messages[0].code;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error("no message came");
}

async function openlyne() {
  const [phone, uid] = [256700123456, "123e4567-e89b-12d3-a456-426614174000"];
  const [sent, again] = [await sendOTP(phone, uid), await sendOTP(phone, uid)];
  const code = await inbox(`+${phone}`);
  const wrong = code === "000000" ? "111111" : "000000";
  HEADERS["x-api-key"] = "YOUR_API_KEY";
  const stranger = await sendOTP(phone, uid);
  HEADERS["x-api-key"] = key;
  return {
    sent,
    again,
    wrong: await verifyOTP(uid, wrong),
    right: await verifyOTP(uid, code),
    used: await verifyOTP(uid, code),
    noUuid: await sendOTP(phone, "user-1"),
    noNumber: await sendOTP(700123456, uid),
    stranger,
  };
}

async function me() {
  const [good, expired, foreign] = rest;
  const authorizations = {
    missing: null,
    alone: "Bearer",
    other: `Basic ${good}`,
    empty: "Bearer ",
    garbage: "Bearer garbage",
    noScheme: good,
    expired: `Bearer ${expired}`,
    foreign: `Bearer ${foreign}`,
  };
  const told = {};
  for (const [name, authorization] of Object.entries(authorizations)) {
    const headers = authorization === null ? {} : { Authorization: authorization };
    told[name] = await seen(await fetch(`${url}/api/me`, { headers }));
  }
  const [status, known] = await seen(await fetch(`${url}/api/me`, { headers: { Authorization: `Bearer ${good}` } }));
  return { ...told, good: [status, Object.keys(known).sort()] };
}

console.log(JSON.stringify(await { openlyne, me }[what]()));
