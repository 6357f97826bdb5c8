"""Calls the doors as their own documents show it in Python, and prints what it saw as JSON; doors.mjs must see the same.

The calls of the openlyne door are those of its sample: a number as an integer, the same headers, `json=`.
"""

import json
import sys
import time

import requests

url, project, key, what, *rest = sys.argv[1:]
BASE_URL = f"{url}/webhook"
HEADERS = {"x-api-key": key, "Content-Type": "application/json"}
session = requests.Session()
session.trust_env = False


def seen(response):
    return [response.status_code, response.json()]


def send_otp(phone, uid, env="sandbox"):
    data = {"phone": phone, "uid": uid, "env": env}
    return seen(session.post(f"{BASE_URL}/send-otp", headers=HEADERS, json=data))


def verify_otp(uid, code):
    data = {"uid": uid, "code": code}
    return seen(session.post(f"{BASE_URL}/verify-otp", headers=HEADERS, json=data))


def inbox(target):
    headers = {"x-api-key": key, "x-project-id": project}
    for _ in range(300):
        answer = session.get(f"{url}/api/v1/sandbox/messages", headers=headers, params={"target": target}).json()
        if answer["messages"]:
            return answer["messages"][0]["code"]
        time.sleep(0.1)
    raise SystemExit("no message came")


def openlyne():
    phone, uid = 256700123456, "123e4567-e89b-12d3-a456-426614174000"
    sent, again = send_otp(phone, uid), send_otp(phone, uid)
    code = inbox(f"+{phone}")
    wrong = "000000" if code != "000000" else "111111"
    HEADERS["x-api-key"] = "YOUR_API_KEY"
    stranger = send_otp(phone, uid)
    HEADERS["x-api-key"] = key
    return {
        "sent": sent,
        "again": again,
        "wrong": verify_otp(uid, wrong),
        "right": verify_otp(uid, code),
        "used": verify_otp(uid, code),
        "noUuid": send_otp(phone, "user-1"),
        "noNumber": send_otp(700123456, uid),
        "stranger": stranger,
    }


def me():
    good, expired, foreign = rest
    authorizations = {
        "missing": None,
        "alone": "Bearer",
        "other": f"Basic {good}",
        "empty": "Bearer ",
        "garbage": "Bearer garbage",
        "noScheme": good,
        "expired": f"Bearer {expired}",
        "foreign": f"Bearer {foreign}",
    }
    told = {}
    for name, authorization in authorizations.items():
        headers = {} if authorization is None else {"Authorization": authorization}
        told[name] = seen(session.get(f"{url}/api/me", headers=headers))
    status, known = seen(session.get(f"{url}/api/me", headers={"Authorization": f"Bearer {good}"}))
    return {**told, "good": [status, sorted(known)]}


print(json.dumps({"openlyne": openlyne, "me": me}[what]()))
