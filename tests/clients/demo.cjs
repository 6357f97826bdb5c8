// The page to log in with, in a browser: does what its first argument says at the page of its second, and prints what it saw
// as JSON. Elements are found as a screen reader finds them. The codes are in the inbox of the sandbox key.

const fs = require("node:fs");
const { withPage } = require("./browser.cjs");

const [scenario, url, target] = process.argv.slice(2);
const { OTPD_URL, OTPD_PROJECT_ID, OTPD_SANDBOX_KEY, OTPD_CLOCK } = process.env;

/** Opens the page, and looks at what every scenario must not do: ask elsewhere, complain, or leave something in storage. */
async function open(browser, options = {}) {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(60_000);
  const page = await context.newPage();
  const told = { elsewhere: [], complaints: [], bearers: [], said: [] };
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== new URL(url).origin) told.elsewhere.push(request.url());
    if (request.headers().authorization) told.bearers.push(`${request.method()} ${new URL(request.url()).pathname}`);
  });
  // The browser complains of every 4xx; those are looked at where they are expected.
  const isExpected = (text) => /^Failed to load resource: the server responded with a status of 4(00|01|29)/.test(text);
  page.on("console", (message) => isExpected(message.text()) || told.complaints.push(message.text()));
  page.on("pageerror", (error) => told.complaints.push(String(error)));
  await page.exposeFunction("heard", (words) => told.said.push(words));
  await page.addInitScript(() => {
    // What a screen reader would say by itself.
    new MutationObserver((changes) => {
      const places = new Set(changes.map(({ target }) => target.closest?.("[role=status], [role=alert]")));
      for (const place of places) if (place?.textContent) window.heard(`${place.role}: ${place.textContent}`);
    }).observe(document, { subtree: true, childList: true });
  });
  return { page, context, told };
}

async function eventually(what, answer) {
  for (const end = Date.now() + 60_000; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 50))) {
    const found = await answer();
    if (found) return found;
  }
  throw new Error(`waited in vain for ${what}`);
}

function code(count = 1) {
  const inbox = `${OTPD_URL}/api/v1/sandbox/messages?target=${encodeURIComponent(target)}`;
  const headers = { "x-api-key": OTPD_SANDBOX_KEY, "x-project-id": OTPD_PROJECT_ID };
  return eventually(`message ${count} to ${target}`, async () => {
    const { messages } = await (await fetch(inbox, { headers })).json();
    return messages.length >= count && messages[0].code;
  });
}

const field = (page) => page.getByLabel("Phone number or e-mail address");
const digits = (page) => page.getByRole("textbox", { name: "Code" });
const resend = (page) => page.getByRole("button", { name: "Send another code" });
const button = (page, name) => page.getByRole("button", { name, exact: true });
const heading = (page) => page.getByRole("heading", { level: 1 }).innerText();
const isFocused = (locator) => locator.evaluate((element) => element === document.activeElement);

/** From now on the page's time goes on when it is told to, so that no second of a countdown passes by itself. */
async function stopClock(page) {
  await page.clock.install();
  await page.clock.pauseAt(Date.now() + 60_000);
}

async function ask(page) {
  await page.goto(url);
  await field(page).fill(target);
  await button(page, "Send me a code").click();
  await digits(page).waitFor();
}

/** Title, heading, and where the focus is: on a new page the browser moves it there when it has drawn the page. */
async function place(page) {
  const focused = await eventually("the focus", () => page.evaluate(() => document.activeElement.id));
  return [(await page.title()).split(" – ")[0], await heading(page), focused];
}

/** All the way in and out. */
async function flow(browser, hasScript) {
  const { page, context, told } = await open(browser, { javaScriptEnabled: hasScript });
  await ask(page);
  told.asked = await place(page);
  const right = await code();
  await digits(page).fill(right === "000000" ? "111111" : "000000");
  await button(page, "Log in").click();
  await page.getByText("attempts left").waitFor();
  told.wrong = [...(await place(page)), await page.getByRole("alert").innerText()];
  told.invalid = await digits(page).getAttribute("aria-invalid");
  // As it is pasted out of a message.
  await digits(page).fill(` ${right.slice(0, 3)} ${right.slice(3)} `);
  await digits(page).press("Enter");
  await button(page, "Log out").waitFor();
  told.inside = await place(page);
  told.me = JSON.parse(await page.locator("pre").innerText());
  told.storage = await page.evaluate(() => localStorage.length + sessionStorage.length);
  told.cookies = (await context.cookies()).map(({ httpOnly, sameSite }) => ({ httpOnly, sameSite }));
  await button(page, "Log out").click();
  await page.getByText("You are logged out.").waitFor();
  told.outside = await place(page);
  told.cookiesAfter = (await context.cookies()).length;
  return told;
}

/** The access token of a session, before and after its end; what `/api/me` answers to it then. */
async function token(browser) {
  const { page } = await open(browser);
  await ask(page);
  const bearer = page.waitForRequest((request) => request.headers().authorization !== undefined);
  await digits(page).fill(await code());
  await button(page, "Log in").click();
  const request = await bearer;
  const { authorization } = request.headers();
  const me = async () => (await fetch(request.url(), { headers: { authorization } })).status;
  await button(page, "Log out").waitFor();
  const before = await me();
  await button(page, "Log out").click();
  await page.getByText("You are logged out.").waitFor();
  return { before, after: await me(), shownAfterReload: await page.reload().then(() => heading(page)) };
}

/** Waiting for another code: the button counts down, first from a send, then from a refusal's Retry-After. */
async function waiting(browser) {
  const { page, told } = await open(browser);
  await stopClock(page);
  await ask(page);
  const label = () => resend(page).innerText();
  told.first = [await resend(page).isDisabled(), await label()];
  await page.clock.fastForward(10_000);
  told.later = await label();
  await page.clock.fastForward(20_000);
  await page.getByText("You can ask for another code now.").waitFor();
  told.over = [await resend(page).isDisabled(), await label()];
  const refusal = page.waitForResponse((response) => response.status() === 429);
  await resend(page).click();
  const retryAfter = (await refusal).headers()["retry-after"];
  await page.getByText("A code was sent a moment ago.").waitFor();
  told.refused = [await resend(page).isDisabled(), await label(), retryAfter, await isFocused(digits(page))];
  // The server's time goes on too, and so it sends.
  fs.writeFileSync(OTPD_CLOCK, "31000");
  await page.clock.fastForward(31_000);
  await resend(page).click();
  await page.getByText("A code is on its way.").waitFor();
  told.sent = [await resend(page).isDisabled(), await label(), await isFocused(digits(page))];
  await code(2);
  return told;
}

/** A browser that reads the code out of the message by itself. */
async function webotp(browser) {
  const { page, told } = await open(browser);
  await page.addInitScript(() => {
    window.OTPCredential = class {};
    navigator.credentials.get = ({ otp, signal }) =>
      new Promise((resolve, reject) => {
        window.asked = otp;
        window.deliver = (code) => resolve({ code });
        signal.addEventListener("abort", () => reject(signal.reason));
      });
  });
  await ask(page);
  told.asked = await page.evaluate(() => window.asked);
  await page.evaluate((code) => window.deliver(code), await code());
  await button(page, "Log out").waitFor();
  told.inside = await heading(page);
  return told;
}

/** What a screen reader is given, and what the keyboard alone can do. */
async function access(browser) {
  const { page, told } = await open(browser, { viewport: { width: 320, height: 640 } });
  await stopClock(page);
  await page.goto(url);
  told.language = await page.locator("html").getAttribute("lang");
  told.start = [await eventually("the focus", () => isFocused(field(page))), await field(page).getAttribute("autocomplete")];
  told.ask = await page.getByRole("main").ariaSnapshot();
  await page.keyboard.press("Enter");
  await page.getByRole("alert").filter({ hasText: "Type a phone number" }).waitFor();
  told.refused = [...(await place(page)), await field(page).getAttribute("aria-invalid")];
  told.description = await field(page).evaluate((element) => {
    const words = (id) => document.getElementById(id).textContent;
    return element.getAttribute("aria-describedby").split(" ").map(words);
  });
  await page.keyboard.type(target);
  await page.keyboard.press("Enter");
  await digits(page).waitFor();
  told.code = await page.getByRole("main").ariaSnapshot();
  const attribute = (name) => digits(page).getAttribute(name);
  told.field = [await attribute("autocomplete"), await attribute("inputmode"), await attribute("type")];
  const width = () => page.evaluate(() => document.documentElement.scrollWidth);
  told.fits = (await width()) <= 320;
  return told;
}

const scripted = (browser) => flow(browser, true);
const plain = (browser) => flow(browser, false);
const scenarios = { scripted, plain, token, waiting, webotp, access };

withPage(async (_, browser) => console.log(JSON.stringify(await scenarios[scenario](browser))));
