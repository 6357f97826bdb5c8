// Sends a code to the target named, asks for it and verifies it. OTPD_URL, OTPD_API_KEY and OTPD_PROJECT_ID.

import { createInterface } from "node:readline";
import { Otpd, OtpdError } from "./otpd.ts";

async function main(target: string): Promise<number> {
  const { OTPD_URL: url = "http://127.0.0.1:8080", OTPD_API_KEY: key, OTPD_PROJECT_ID: project } = process.env;
  if (!key || !project) throw new Error("OTPD_API_KEY and OTPD_PROJECT_ID are not set");
  const otpd = new Otpd(url, { project, key });
  const sent = await otpd.send(target, target.includes("@") ? "email" : "sms");
  console.log(`sent to ${target}, good for ${sent.expiresIn} s`);
  const lines = createInterface({ input: process.stdin, output: process.stdout, prompt: "Code: " });
  lines.prompt();
  for await (const code of lines) {
    const verdict = await otpd.verify(target, code, { recordId: sent.recordId });
    if (verdict.valid) {
      console.log(`verified at ${verdict.verifiedAt}`);
      return 0;
    }
    const left = verdict.attemptsLeft ?? 0;
    console.log(`${verdict.reason}, ${left} attempts left`);
    if (left === 0) return 1;
    lines.prompt();
  }
  console.log("not verified");
  return 1;
}

const target = process.argv[2];
if (target === undefined) {
  console.error("usage: demo.ts TARGET");
  process.exit(2);
}
try {
  process.exit(await main(target));
} catch (error) {
  if (!(error instanceof OtpdError)) throw error;
  console.error(`otpd: ${error.message}`);
  process.exit(1);
}
