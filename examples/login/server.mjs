// Logs people in with otpd: this directory's page in front, the v1 API behind, Node's own modules and nothing else.
// README.md tells how to start it. The API key never leaves this file; a browser gets an access token at most.

import { createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

const { OTPD_URL = "http://127.0.0.1:8080", OTPD_PROJECT_ID: project, OTPD_API_KEY: key } = process.env;
const { OTPD_ISSUER: issuer = "otpd", PORT = "3000", PUBLIC_URL = "" } = process.env;
if (!project || !key) throw new Error("OTPD_PROJECT_ID and OTPD_API_KEY are not set");

// Codes for logging in are told apart from any others that go to the same people.
const [PURPOSE, COOKIE] = ["login", "login_session"];
// What the project is set to; a refusal says the truth.
const [DIGITS, COOLDOWN] = [6, 30];
const HEADERS = {
  "cache-control": "no-store",
  "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  "referrer-policy": "same-origin",
  "x-content-type-options": "nosniff",
};

const read = (name) => readFileSync(new URL(name, import.meta.url), "utf8");
const page = read("page.html");
const files = {
  "/app.js": ["text/javascript", read("app.js")],
  "/style.css": ["text/css", read("style.css")],
  "/icon.svg": ["image/svg+xml", read("icon.svg")],
};
const headings = { ask: "Log in", code: "Enter the code", done: "You are logged in" };
const lockedOut = "That was one wrong code too many: no attempts left. Ask for another code when this one has expired.";
const reasons = {
  "Invalid code": lockedOut,
  "Too many attempts": lockedOut,
  "Code has expired": "That code has expired. Ask for another one.",
  "Code already used": "That code has been used already. Ask for another one.",
};

/** Refresh tokens by session: one that is not here has ended. More servers than one would keep them in a store. */
const sessions = new Map();
let [keys, keysSince] = [new Map(), 0];
/** A key that was made void must not be believed for longer. */
const KEYS_KEPT = 300_000;

/** Asks otpd: its status, its answer, and when to come again. */
async function otpd(path, body) {
  try {
    const headers = { "content-type": "application/json", "x-api-key": key, "x-project-id": project };
    const signal = AbortSignal.timeout(10_000);
    const response = await fetch(OTPD_URL + path, { method: "POST", headers, body: JSON.stringify(body), signal });
    const retryAfter = response.headers.get("retry-after");
    return { status: response.status, retryAfter, reply: await response.json() };
  } catch (error) {
    return { status: 503, retryAfter: "5", reply: { code: "unreachable", message: error.message } };
  }
}

/** What the page shows; the same for the template and for app.js. */
function view(step, fields) {
  const title = `${fields.error ? "Error: " : ""}${headings[step]} – example`;
  const rest = { digits: DIGITS, status: "", error: "", invalid: false, note: "", me: "" };
  return { step, title, heading: headings[step], ...rest, ...fields };
}

/** Says why otpd refused. What only an operator can mend is told in the log, not to the visitor. */
function refused(step, target, { status, retryAfter, reply }) {
  const invalid = ["invalid_request", "country_code_required"].includes(reply.code);
  const isSoon = reply.code === "cooldown";
  // Our own key or balance is no fault of the visitor's.
  const isOurs = !invalid && status !== 429;
  if (isOurs) console.error(`otpd: ${status} ${reply.code}: ${reply.message}`);
  let error = "Type a phone number with its country code, or an e-mail address.";
  if (isOurs) error = "That is not possible at the moment.";
  else if (isSoon) error = `A code was sent a moment ago. You can ask for another one in ${retryAfter} seconds.`;
  else if (!invalid) error = `That was too often. Try again in ${retryAfter} seconds.`;
  const headers = retryAfter ? { "retry-after": retryAfter } : {};
  return { status: isOurs ? 503 : status, headers, view: view(isSoon ? "code" : step, { target, error, invalid }) };
}

async function send({ form, clientIp }) {
  const target = form.get("target")?.trim() ?? "";
  const channel = target.includes("@") ? "email" : "sms";
  const answer = await otpd("/api/v1/otp/send", { target, channel, recordId: PURPOSE, session: true, clientIp });
  if (answer.status !== 202) return refused(form.get("step") === "code" ? "code" : "ask", target, answer);
  const status = `A code is on its way. It is good for up to ${Math.ceil(answer.reply.expiresIn / 60)} minutes.`;
  return { view: view("code", { target, status, resendIn: COOLDOWN }) };
}

async function guess({ form, clientIp, wantsData }) {
  const [target, code] = [form.get("target")?.trim() ?? "", form.get("code")?.replace(/[\s-]/g, "") ?? ""];
  const wrong = (status, error) => ({ status, view: view("code", { target, error, invalid: true }) });
  if (!/^\d{4,10}$/.test(code)) return wrong(400, "Type the code: digits and nothing else.");
  const answer = await otpd("/api/v1/otp/verify", { target, code, recordId: PURPOSE, session: true, clientIp });
  if (answer.status !== 200) return refused("code", target, answer);
  const { valid, reason, attemptsLeft, session } = answer.reply;
  const left = attemptsLeft === 1 ? "1 attempt" : `${attemptsLeft} attempts`;
  if (attemptsLeft > 0) return wrong(401, `That code is wrong. ${left} left.`);
  if (!valid) return wrong(401, reasons[reason] ?? "There is no code to compare that with. Ask for another one.");
  // A sandbox key opens no sessions, but in a sandbox project.
  const mistake = (message) => refused("code", target, { status: 500, reply: { code: "mistake", message } });
  if (!session) return mistake("no session: is OTPD_API_KEY a live key?");
  const claims = await check(session.accessToken, false);
  if (!claims) return mistake("not a good token: is OTPD_ISSUER what otpd has?");
  sessions.set(claims.sid, session.refreshToken);
  setTimeout(() => sessions.delete(claims.sid), session.expiresIn * 1000).unref();
  if (wantsData) return { view: view("done", { token: session.accessToken }) };
  return { status: 303, headers: { location: "/", "set-cookie": cookie(session.accessToken, session.expiresIn) } };
}

async function home({ token }) {
  const claims = await check(token);
  return { view: claims ? view("done", { me: JSON.stringify(me(claims), null, 2) }) : view("ask", {}) };
}

async function answerMe({ token }) {
  const claims = await check(token);
  return claims ? { data: me(claims) } : { status: 401, data: { message: "Invalid credentials" } };
}

async function logout({ token }) {
  const claims = await check(token);
  if (claims) {
    await otpd("/api/v1/session/end", { refreshToken: sessions.get(claims.sid) });
    sessions.delete(claims.sid);
  }
  return { view: view("ask", { target: "", status: "You are logged out." }), headers: { "set-cookie": cookie("", 0) } };
}

const me = ({ sub, channel, exp }) => ({ id: sub, channel, expiresAt: exp });
const secure = PUBLIC_URL.startsWith("https:") ? "; Secure" : "";
const cookie = (value, seconds) => `${COOKIE}=${value}; Path=/; Max-Age=${seconds}; HttpOnly; SameSite=Strict${secure}`;

/** The claims of a token that otpd has signed for this project and whose session has not ended; otherwise nothing. */
async function check(token = "", mustBeOpen = true) {
  try {
    const [head, body, signature] = token.split(".");
    const [header, claims] = [head, body].map((part) => JSON.parse(Buffer.from(part, "base64url")));
    if (header.alg !== "EdDSA" || header.typ !== "at+jwt") return undefined;
    if (mustBeOpen && !sessions.has(claims.sid)) return undefined;
    if (!keys.has(header.kid) || Date.now() - keysSince > KEYS_KEPT) await fetchKeys();
    const bytes = Buffer.from(signature, "base64url");
    const isSigned = verify(null, Buffer.from(`${head}.${body}`), keys.get(header.kid), bytes);
    const isForUs = claims.iss === issuer && claims.aud === project && Date.now() / 1000 < claims.exp;
    return isSigned && isForUs ? claims : undefined;
  } catch {
    return undefined;
  }
}

async function fetchKeys() {
  const response = await fetch(`${OTPD_URL}/.well-known/jwks.json`, { signal: AbortSignal.timeout(10_000) });
  const { keys: found } = await response.json();
  keys = new Map(found.map((jwk) => [jwk.kid, createPublicKey({ key: jwk, format: "jwk" })]));
  keysSince = Date.now();
}

/** Fills the page as minijinja does: its places are names alone, and what is filled in is text, never markup. */
function fill(values) {
  const all = { base: "", home: "/", meUrl: "/me", ...values };
  const escape = (text) => String(text).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
  return page.replace(/\{\{ (\w+) \}\}/g, (_, name) => escape(all[name] ?? ""));
}

/** Whether a form comes from our own page: otherwise another site's page would act with our visitor's session. */
function isFromOwnPage({ "sec-fetch-site": site, origin, host }) {
  if (site !== undefined) return site === "same-origin" || site === "none";
  return origin === undefined || origin.split("://")[1] === host;
}

const forms = { "POST /send": send, "POST /verify": guess, "POST /logout": logout };
const routes = { "GET /": home, "GET /me": answerMe, ...forms };
const no = (status, error) => ({ status, data: { error } });

async function answer(request) {
  const { method, headers } = request;
  const path = request.url.split("?")[0];
  if (method === "GET" && files[path]) return { type: files[path][0], body: files[path][1] };
  const route = routes[`${method} ${path}`];
  if (!route) return no(404, "There is nothing here.");
  if (method === "POST" && !isFromOwnPage(headers)) return no(403, "This form can only be sent from its own page.");
  let body = "";
  request.setEncoding("utf8");
  for await (const part of request) if ((body += part).length > 16_384) return no(413, "That is too much.");
  const [, inCookie] = headers.cookie?.match(new RegExp(`(?:^|; )${COOKIE}=([^;]+)`)) ?? [];
  const token = headers.authorization?.replace(/^Bearer /, "") ?? inCookie;
  // A browser that sends a form asks for a page; a script does not.
  const wantsData = method === "POST" && !headers.accept?.includes("text/html");
  // Behind a proxy of yours, take the address that it tells: this one would be the proxy's.
  const clientIp = request.socket.remoteAddress;
  const reply = await route({ form: new URLSearchParams(body), token, clientIp, wantsData });
  if (wantsData && reply.view) return { ...reply, data: reply.view };
  return reply.view ? { ...reply, type: "text/html; charset=utf-8", body: fill(reply.view) } : reply;
}

createServer(async (request, response) => {
  const broken = (error) => (console.error(error), no(500, "Something is wrong here."));
  const { status = 200, headers, data, type = "application/json", body = "" } = await answer(request).catch(broken);
  response.writeHead(status, { ...HEADERS, "content-type": type, ...headers });
  response.end(data ? JSON.stringify(data) : body);
}).listen(Number(PORT), "127.0.0.1", function () {
  console.log(`http://127.0.0.1:${this.address().port}`);
});
