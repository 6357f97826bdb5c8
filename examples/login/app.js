// What JavaScript adds. Without it each form is answered with a whole page; with it the server answers the same page as
// data: its step, its words, and the seconds until another code may be asked for.

const main = document.querySelector("main");
const { ask, code } = document.forms;
const resend = document.getElementById("resend");
const starts = { ask: ask.elements.target, code: code.elements.code, done: document.getElementById("answer") };

/** The access token, in memory alone: a reload forgets it, and nothing that reads the browser's storage finds it. */
let token;
let ticking;
let waitingForMessage;

document.addEventListener("submit", (event) => {
  const form = event.target;
  // A session of a page without JavaScript is in a cookie, which only the server can read and end.
  if (form.id === "done" && token === undefined) return;
  event.preventDefault();
  if (main.getAttribute("aria-busy") === "true") return;
  const url = event.submitter?.hasAttribute("formaction") ? event.submitter.formAction : form.action;
  submit(url, new URLSearchParams(new FormData(form)));
});

async function submit(url, fields) {
  waitingForMessage?.abort();
  main.setAttribute("aria-busy", "true");
  // Emptied first, so that words which come again are read out again.
  tell({ status: "", error: "" });
  try {
    show(await call(url, fields));
  } catch {
    show({ error: "There was no answer. Try again in a moment." });
  } finally {
    main.setAttribute("aria-busy", "false");
  }
}

/** Sends a form; what the page is to show. */
async function call(url, body) {
  const headers = { accept: "application/json", ...(token && { authorization: `Bearer ${token}` }) };
  const response = await fetch(url, { method: "POST", headers, body });
  const view = await response.json();
  // A refusal to log out leaves it as it was.
  if (view.step === "ask" || view.token) token = view.token;
  if (view.token) return { ...view, me: await me() };
  // Of a refusal to send, this tells when to come back; other refusals have nothing to do with sending.
  const retryAfter = url === resend.formAction ? Number(response.headers.get("retry-after")) : 0;
  return retryAfter ? { ...view, resendIn: retryAfter } : view;
}

async function me() {
  try {
    const response = await fetch(main.dataset.me, { headers: { authorization: `Bearer ${token}` } });
    return JSON.stringify(await response.json(), null, 2);
  } catch {
    return "There was no answer.";
  }
}

function show(view) {
  const isSent = view.step === "code" && !view.error;
  main.dataset.step = view.step ?? main.dataset.step;
  document.title = view.title ?? document.title;
  tell(view);
  for (const field of [starts.ask, starts.code]) field.setAttribute("aria-invalid", view.invalid ?? false);
  if (view.target !== undefined) for (const form of [ask, code]) form.elements.target.value = view.target;
  if (isSent || main.dataset.step !== "code") starts.code.value = "";
  if (view.resendIn !== undefined) countDown(view.resendIn, view.error);
  const start = starts[main.dataset.step];
  start.focus();
  start.select?.();
  if (main.dataset.step === "code") waitForMessage();
}

/** Writes the words of a view where they belong. */
function tell(view) {
  for (const place of document.querySelectorAll("[data-text]")) {
    // What is written is read out, even where it was there before.
    if (place.dataset.text in view) place.textContent = view[place.dataset.text];
  }
}

/** Holds the button back until another code may be asked for, whatever refused that for now. */
function countDown(seconds, refusal) {
  const end = Date.now() + seconds * 1000;
  const tick = () => {
    const left = Math.max(0, Math.ceil((end - Date.now()) / 1000));
    const clock = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
    resend.disabled = left > 0;
    resend.textContent = left > 0 ? `Send another code in ${clock}` : "Send another code";
    if (left > 0) return;
    clearInterval(ticking);
    // Each second would be too much to listen to; the end is worth a word.
    if (seconds === 0 || main.dataset.step !== "code") return;
    const isOver = refusal && document.getElementById("error").textContent === refusal;
    tell({ status: "You can ask for another code now.", ...(isOver && { error: "" }) });
  };
  clearInterval(ticking);
  ticking = setInterval(tick, 250);
  tick();
}

/** Where the browser can read the code from the message (https://wicg.github.io/web-otp), nobody needs to type it. */
async function waitForMessage() {
  const isPhone = !code.elements.target.value.includes("@");
  if (!isPhone || !("OTPCredential" in window)) return;
  waitingForMessage?.abort();
  waitingForMessage = new AbortController();
  const { signal } = waitingForMessage;
  try {
    const message = await navigator.credentials.get({ otp: { transport: ["sms"] }, signal });
    if (signal.aborted || !message) return;
    code.elements.code.value = message.code;
    code.requestSubmit();
  } catch {
    // Aborted, declined or timed out: then it is typed.
  }
}

countDown(Number(main.dataset.resendIn));
if (main.dataset.step === "code") waitForMessage();
