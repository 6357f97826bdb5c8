// Drives better-auth with the plugins of docs/integrations/better-auth.md, as compiled beside this file, and prints what
// it saw as JSON. The API key is a sandbox key, and the code is read from the inbox.

import { betterAuth } from "better-auth";
import { memoryAdapter } from "better-auth/adapters/memory";

const { OTPD_URL, OTPD_PROJECT_ID, OTPD_API_KEY } = process.env;

function auth(plugin) {
  return betterAuth({
    baseURL: "http://localhost",
    secret: "a secret for tests that is long enough",
    database: memoryAdapter({ user: [], session: [], account: [], verification: [] }),
    logger: { disabled: true },
    plugins: [plugin],
  });
}

/** The reply of better-auth, as a page would get it. */
async function post(app, path, body) {
  const headers = { "content-type": "application/json", origin: "http://localhost" };
  const request = new Request(`http://localhost/api/auth${path}`, { method: "POST", headers, body: JSON.stringify(body) });
  const response = await app.handler(request);
  return { ...(await response.json()), status: response.status };
}

async function inbox(target) {
  const headers = { "x-api-key": OTPD_API_KEY, "x-project-id": OTPD_PROJECT_ID };
  const end = Date.now() + 30_000;
  while (Date.now() < end) {
    const response = await fetch(`${OTPD_URL}/api/v1/sandbox/messages?target=${encodeURIComponent(target)}`, { headers });
    const { messages } = await response.json();
    if (messages.length > 0) return messages[0].code;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`no message for ${target}`);
}

async function phone() {
  const { otpdPhone } = await import("./otpd-phone.js");
  const app = auth(otpdPhone());
  const phoneNumber = "+4915112345678";
  const sent = await post(app, "/phone-number/send-otp", { phoneNumber });
  const tooSoon = await post(app, "/phone-number/send-otp", { phoneNumber });
  const nonsense = await post(app, "/phone-number/send-otp", { phoneNumber: "nonsense" });
  const code = await inbox(phoneNumber);
  const wrong = await post(app, "/phone-number/verify", { phoneNumber, code: "0000" });
  const right = await post(app, "/phone-number/verify", { phoneNumber, code });
  const used = await post(app, "/phone-number/verify", { phoneNumber, code });
  return {
    sent: sent.status,
    tooSoon: [tooSoon.status, tooSoon.code],
    nonsense: [nonsense.status, nonsense.code],
    wrong: [wrong.status, wrong.code],
    right: [right.status, typeof right.token, right.user?.phoneNumber, right.user?.phoneNumberVerified],
    used: [used.status, used.code],
  };
}

async function email() {
  const { otpdEmail } = await import("./otpd-sender.js");
  const app = auth(otpdEmail());
  const address = "ann@example.com";
  const sent = await post(app, "/email-otp/send-verification-otp", { email: address, type: "sign-in" });
  // better-auth answers as before and only logs that it was refused, so its first code is dead and no other comes.
  const first = await inbox(address);
  const tooSoon = await post(app, "/email-otp/send-verification-otp", { email: address, type: "sign-in" });
  const dead = await post(app, "/sign-in/email-otp", { email: address, otp: first });
  const other = "bob@example.com";
  await post(app, "/email-otp/send-verification-otp", { email: other, type: "sign-in" });
  const otp = await inbox(other);
  const wrong = await post(app, "/sign-in/email-otp", { email: other, otp: "0000" });
  const right = await post(app, "/sign-in/email-otp", { email: other, otp });
  return {
    sent: sent.status,
    tooSoon: tooSoon.status,
    dead: [dead.status, dead.code],
    wrong: [wrong.status, wrong.code],
    right: [right.status, typeof right.token, right.user?.email],
  };
}

console.log(JSON.stringify(await (process.argv[2] === "phone" ? phone() : email())));
