// Twilio's SDK at otpd: a call in JSON on each line of stdin, what came of it on each line of stdout; twilio_verify.py does
// the same and must see the same.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const twilio = createRequire(import.meta.url)("twilio");
const [url, accountSid, authToken, serviceSid] = process.argv.slice(2);
const client = twilio(accountSid, authToken);
client.verify.baseUrl = url;
const service = client.verify.v2.services(serviceSid);

function call(what, fields) {
  if (what === "create") return service.verifications.create(fields);
  if (what === "fetch") return service.verifications(fields.sid).fetch();
  if (what === "update") return service.verifications(fields.sid).update({ status: fields.status });
  const named = fields.sid === undefined ? { to: fields.to } : { verificationSid: fields.sid };
  return service.verificationChecks.create({ code: fields.code, ...named });
}

async function seen(what, fields) {
  let shown;
  try {
    shown = await call(what, fields);
  } catch (error) {
    return { error: [error.status, error.code, error.message] };
  }
  const { sid, serviceSid, accountSid, to, channel, status, valid, dateCreated, sendCodeAttempts } = shown;
  const told = { sid, service_sid: serviceSid, account_sid: accountSid, to, channel, status, valid };
  told.created = Math.floor(dateCreated.getTime() / 1000);
  if (what === "check") return told;
  return { ...told, sends: sendCodeAttempts.map((sent) => sent.channel), url: shown.url };
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await seen(...JSON.parse(line))));
}
