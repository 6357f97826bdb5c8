// A small client of otpd's v1 API, on fetch alone: for Node 20 or newer, Deno, Bun and edge runtimes.
//
//     const otpd = new Otpd("http://127.0.0.1:8080", { project: "PRJ_…", key: "…" });
//     const sent = await otpd.send("ann@example.com", "email");
//     const verdict = await otpd.verify("ann@example.com", "123456", { recordId: sent.recordId });
//
// The key is a secret of your server: never use this in a page.

export type Channel = "sms" | "email" | "whatsapp";

export interface Settings {
  project: string;
  key: string;
  /** Milliseconds that one request may take: 10,000 unless told otherwise. */
  timeout?: number;
  /** Milliseconds that a call may spend on waiting before it is repeated: 20,000 unless told otherwise. */
  patience?: number;
}

export interface SendOptions {
  countryCode?: string;
  /** Your own reference; it need not be unique. */
  recordId?: string;
  locale?: string;
  /** Life of the code in seconds. */
  ttl?: number;
  /** Your end user's address, which is then limited. */
  clientIp?: string;
  /** A code of your own, with a key made with --own-codes. */
  code?: string;
  /** Give one of your own when your caller, too, may repeat. */
  idempotencyKey?: string;
}

export interface VerifyOptions {
  recordId?: string;
  countryCode?: string;
  clientIp?: string;
}

export interface Sent {
  message: string;
  expiresIn: number;
  recordId: string;
}

/** `mode` is there when a live key was told of a sandbox verification: that is no proof of anything. */
export type Verdict =
  | { valid: true; recordId: string; verifiedAt: string; mode?: "sandbox" }
  | { valid: false; reason: string; attemptsLeft?: number; mode?: "sandbox" };

export interface OtpRecord {
  id: string;
  target: string | null;
  channel: Channel;
  verified: boolean;
  recordId: string | null;
  status: string;
  provider: string | null;
  createdAt: string;
  expiresAt: string;
  deliveredAt: string | null;
  error: string | null;
}

interface Page {
  records: OtpRecord[];
  pagination: { nextCursor?: string };
}

/** otpd refused, or could not be reached (status 0). Act on `code`: messages may change. */
export class OtpdError extends Error {
  readonly status: number;
  readonly code: string;
  /** Seconds after which it may be tried again, where otpd said so. */
  readonly retryAfter: number | undefined;

  constructor(status: number, code: string, message: string, retryAfter?: number) {
    super(`${status} ${code}: ${message}`);
    this.name = "OtpdError";
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

interface Request {
  body?: object;
  headers?: Record<string, string>;
}

/** One project's calls. */
export class Otpd {
  readonly #url: string;
  readonly #headers: Record<string, string>;
  readonly #timeout: number;
  readonly #patience: number;

  constructor(url: string, { project, key, timeout = 10_000, patience = 20_000 }: Settings) {
    this.#url = `${url.replace(/\/+$/, "")}/api/v1/otp`;
    this.#headers = { "x-api-key": key, "x-project-id": project };
    this.#timeout = timeout;
    this.#patience = patience;
  }

  /** Sends a code. Repeating is safe: all attempts carry one Idempotency-Key, so that one message goes out. */
  send(target: string, channel: Channel, options: SendOptions = {}): Promise<Sent> {
    const { idempotencyKey = crypto.randomUUID(), ...fields } = options;
    const request = { body: { target, channel, ...fields }, headers: { "idempotency-key": idempotencyKey } };
    return this.#patiently("POST", "/send", request);
  }

  /** Checks a code. It is never repeated by itself: a lost reply may have used the code up. */
  verify(target: string, code: string, options: VerifyOptions = {}): Promise<Verdict> {
    return this.#once("POST", "/verify", { body: { target, code, ...options } });
  }

  /** Ends a verification: whether it was open until now. An unknown one is an OtpdError with status 404. */
  async cancel(recordId: string): Promise<boolean> {
    const reply = await this.#patiently<{ canceled: boolean }>("POST", "/cancel", { body: { recordId } });
    return reply.canceled;
  }

  /** All verifications, newest first, page by page. Filters are those of the API: channel, verified, status, … */
  async *records(filters: Record<string, string | number | boolean> = {}): AsyncGenerator<OtpRecord> {
    const query = new URLSearchParams({ limit: "100" });
    for (const [name, value] of Object.entries(filters)) query.set(name, String(value));
    for (;;) {
      const page: Page = await this.#patiently("GET", `/records?${query}`);
      yield* page.records;
      if (page.pagination.nextCursor === undefined) return;
      query.set("cursor", page.pagination.nextCursor);
    }
  }

  /** One verification whole: its dispatches, their attempts and receipts. */
  record(id: string): Promise<Record<string, unknown>> {
    return this.#patiently("GET", `/records/${encodeURIComponent(id)}`);
  }

  /** Repeats what may pass: no reply, 429 and 503, after as long as Retry-After says, while patience lasts. */
  async #patiently<T>(method: string, path: string, request: Request = {}): Promise<T> {
    const end = Date.now() + this.#patience;
    for (let pause = 500; ; pause *= 2) {
      try {
        return await this.#once<T>(method, path, request);
      } catch (error) {
        if (!(error instanceof OtpdError) || ![0, 429, 503].includes(error.status)) throw error;
        const wait = error.retryAfter === undefined ? pause : error.retryAfter * 1000;
        if (Date.now() + wait > end) throw error;
        await new Promise((resolve) => setTimeout(resolve, wait));
      }
    }
  }

  async #once<T>(method: string, path: string, { body, headers }: Request = {}): Promise<T> {
    let response: Response;
    let text: string;
    try {
      response = await fetch(this.#url + path, {
        method,
        headers: { ...this.#headers, ...(body && { "content-type": "application/json" }), ...headers },
        signal: AbortSignal.timeout(this.#timeout),
        ...(body && { body: JSON.stringify(body) }),
      });
      text = await response.text();
    } catch (error) {
      throw new OtpdError(0, "unreachable", error instanceof Error ? error.name : String(error));
    }
    const reply = parsed(text);
    if (response.ok && reply !== undefined) return reply as T;
    const waits = response.headers.get("retry-after") ?? "";
    const { code = "unexpected_reply", message = response.statusText } = reply ?? {};
    throw new OtpdError(response.status, String(code), String(message), /^\d+$/.test(waits) ? Number(waits) : undefined);
  }
}

/** A JSON object, or nothing: then it is not from us, but from some proxy between us. */
function parsed(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
