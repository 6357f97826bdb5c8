"""A small client of otpd's v1 API.

    otpd = Otpd("http://127.0.0.1:8080", project="PRJ_…", key="…")
    sent = otpd.send("ann@example.com", "email")
    verdict = otpd.verify("ann@example.com", "123456", record_id=sent.record_id)

It needs `requests`. Run as a program it is a demonstration: see main().
"""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

import requests

Channel = Literal["sms", "email", "whatsapp"]
Json = dict[str, Any]


class OtpdError(Exception):
    """otpd refused, or could not be reached. Act on `code`: messages may change.

    `status` is 0 and `code` is "unreachable" when there was no reply.
    """

    def __init__(self, status: int, code: str, message: str, retry_after: int | None = None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after


@dataclass(frozen=True)
class Sent:
    """A send that was accepted: the code is on its way."""

    record_id: str
    expires_in: int


@dataclass(frozen=True)
class Verdict:
    """What became of a guess. `reason` and `attempts_left` are there when it was wrong."""

    valid: bool
    record_id: str | None = None
    verified_at: str | None = None
    reason: str | None = None
    attempts_left: int | None = None
    sandbox: bool = False


class Otpd:
    """One project's calls. It may be shared by threads no more than a `requests.Session` may: have one for each.

    `patience` is how many seconds a call may spend on waiting before it is repeated.
    """

    def __init__(self, url: str, project: str, key: str, *, timeout: float = 10, patience: float = 20) -> None:
        self._url = url.rstrip("/") + "/api/v1/otp"
        self._timeout = timeout
        self._patience = patience
        self._session = requests.Session()
        self._session.headers.update({"x-api-key": key, "x-project-id": project})

    def send(
        self,
        target: str,
        channel: Channel,
        *,
        country_code: str | None = None,
        record_id: str | None = None,
        locale: str | None = None,
        ttl: int | None = None,
        client_ip: str | None = None,
        code: str | None = None,
        idempotency_key: str | None = None,
    ) -> Sent:
        """Sends a code. Repeating is safe: all attempts carry one Idempotency-Key, so that one message goes out.

        Give an Idempotency-Key of your own when your caller, too, may repeat, and a code of your own when the API key
        was made with --own-codes.
        """
        body = {
            "target": target,
            "channel": channel,
            "countryCode": country_code,
            "recordId": record_id,
            "locale": locale,
            "ttl": ttl,
            "clientIp": client_ip,
            "code": code,
        }
        headers = {"idempotency-key": idempotency_key or str(uuid.uuid4())}
        reply = self._patiently("POST", "/send", json=_given(body), headers=headers)
        return Sent(record_id=reply["recordId"], expires_in=reply["expiresIn"])

    def verify(
        self,
        target: str,
        code: str,
        *,
        record_id: str | None = None,
        country_code: str | None = None,
        client_ip: str | None = None,
    ) -> Verdict:
        """Checks a code. It is never repeated by itself: a lost reply may have used the code up.

        A sandbox verification is no proof of anything: `sandbox` is true when a live key was told of one.
        """
        body = {
            "target": target,
            "code": code,
            "recordId": record_id,
            "countryCode": country_code,
            "clientIp": client_ip,
        }
        reply = self._once("POST", "/verify", json=_given(body))
        return Verdict(
            valid=reply["valid"],
            record_id=reply.get("recordId"),
            verified_at=reply.get("verifiedAt"),
            reason=reply.get("reason"),
            attempts_left=reply.get("attemptsLeft"),
            sandbox=reply.get("mode") == "sandbox",
        )

    def cancel(self, record_id: str) -> bool:
        """Ends a verification: whether it was open until now. An unknown one is an OtpdError with status 404."""
        reply = self._patiently("POST", "/cancel", json={"recordId": record_id})
        return bool(reply["canceled"])

    def records(self, **filters: str | int | bool) -> Iterator[Json]:
        """All verifications, newest first, page by page. Filters are those of the API: channel, verified, status, …"""
        query: dict[str, Any] = {"limit": 100} | {name: _as_query(value) for name, value in filters.items()}
        while True:
            reply = self._patiently("GET", "/records", params=query)
            yield from reply["records"]
            cursor = reply["pagination"].get("nextCursor")
            if cursor is None:
                return
            query["cursor"] = cursor

    def record(self, record_id: str) -> Json:
        """One verification whole: its dispatches, their attempts and receipts."""
        return self._patiently("GET", f"/records/{quote(record_id, safe='')}")

    def _patiently(self, method: str, path: str, **request: Any) -> Json:
        """Repeats what may pass: no reply, 429 and 503, after as long as Retry-After says, while patience lasts."""
        end = time.monotonic() + self._patience
        pause = 0.5
        while True:
            try:
                return self._once(method, path, **request)
            except OtpdError as error:
                wait = error.retry_after if error.retry_after is not None else pause
                if error.status not in (0, 429, 503) or time.monotonic() + wait > end:
                    raise
                time.sleep(wait)
                pause *= 2

    def _once(self, method: str, path: str, **request: Any) -> Json:
        try:
            response = self._session.request(method, self._url + path, timeout=self._timeout, **request)
        except requests.RequestException as error:
            raise OtpdError(0, "unreachable", type(error).__name__) from error
        try:
            reply = response.json()
        except requests.JSONDecodeError:
            # Not ours: some proxy between us.
            reply = {}
        if response.ok and isinstance(reply, dict) and reply:
            return reply
        waits = response.headers.get("retry-after", "")
        raise OtpdError(
            response.status_code,
            reply.get("code", "unexpected_reply"),
            reply.get("message", response.reason),
            int(waits) if waits.isdigit() else None,
        )


def _given(fields: Json) -> Json:
    return {name: value for name, value in fields.items() if value is not None}


def _as_query(value: str | int | bool) -> str | int:
    return str(value).lower() if isinstance(value, bool) else value


def main() -> int:
    """Sends a code to the target named, asks for it and verifies it. OTPD_URL, OTPD_API_KEY and OTPD_PROJECT_ID."""
    if len(sys.argv) != 2:
        print("usage: otpd.py TARGET", file=sys.stderr)
        return 2
    target = sys.argv[1]
    url = os.environ.get("OTPD_URL", "http://127.0.0.1:8080")
    otpd = Otpd(url, os.environ["OTPD_PROJECT_ID"], os.environ["OTPD_API_KEY"])
    try:
        sent = otpd.send(target, "email" if "@" in target else "sms")
        print(f"sent to {target}, good for {sent.expires_in} s")
        while True:
            verdict = otpd.verify(target, input("Code: "), record_id=sent.record_id)
            if verdict.valid:
                print(f"verified at {verdict.verified_at}")
                return 0
            print(f"{verdict.reason}, {verdict.attempts_left or 0} attempts left")
            if not verdict.attempts_left:
                return 1
    except OtpdError as error:
        print(f"otpd: {error}", file=sys.stderr)
        return 1
    except EOFError:
        print("not verified")
        return 1


if __name__ == "__main__":
    sys.exit(main())
