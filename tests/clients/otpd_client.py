"""Drives examples/python/otpd.py and prints what it saw as JSON; otpd_client.mjs does the same and must see the same."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples/python"))

from otpd import Otpd, OtpdError  # noqa: E402: found only now

url, project, key, *what = sys.argv[1:]


def attempt(call):
    try:
        return call()
    except OtpdError as error:
        return [error.status, error.code, error.retry_after]


def everything():
    otpd = Otpd(url, project, key, patience=0)
    first, again = (otpd.send("ann@example.com", "email", record_id="order 1", idempotency_key="k1") for _ in range(2))
    wrong = otpd.verify("ann@example.com", "0000", record_id=first.record_id)
    canceled = [otpd.cancel(first.record_id) for _ in range(2)]
    after = otpd.verify("ann@example.com", "000000", record_id=first.record_id)
    others = [otpd.send(f"user{number}@example.com", "email").record_id for number in range(2)]
    return {
        "repeated": first == again,
        "expiresIn": first.expires_in,
        "wrong": [wrong.valid, wrong.reason, wrong.attempts_left],
        "canceled": canceled,
        "after": [after.valid, after.reason],
        "unknown": attempt(lambda: otpd.cancel("11111111-1111-7111-8111-111111111111")),
        "nonsense": attempt(lambda: otpd.send("nonsense", "email")),
        "foreign": attempt(lambda: Otpd(url, project, "no key").send("ann@example.com", "email")),
        "cooldown": attempt(lambda: otpd.send("user0@example.com", "email"))[:2],
        "nowhere": attempt(lambda: Otpd("http://127.0.0.1:1", project, key, patience=0).send("a@example.com", "email")),
        "newestFirst": [record["id"] for record in otpd.records(limit=2)] == [*reversed(others), first.record_id],
        "filtered": [record["recordId"] for record in otpd.records(recordId="order 1", verified=False)],
        "timeline": otpd.record(first.record_id)["state"],
    }


def patience():
    otpd = Otpd(url, project, key)
    return {
        "sent": otpd.send("ann@example.com", "email").record_id,
        "tooLong": attempt(lambda: otpd.send("bob@example.com", "email")),
        "verify": attempt(lambda: otpd.verify("ann@example.com", "123456")),
    }


print(json.dumps(patience() if what else everything()))
