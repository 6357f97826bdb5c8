"""A user's first program: sends a code, reads it from the sandbox inbox, verifies it. Only Python's own library."""

import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

url, project, key = sys.argv[1:]


def call(method, path, body=None):
    data = json.dumps(body).encode() if body is not None else None
    headers = {"X-API-Key": key, "X-Project-ID": project, "Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/api/v1{path}", data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)


def inbox(target):
    query = urllib.parse.urlencode({"target": target})
    for _ in range(300):
        status, answer = call("GET", f"/sandbox/messages?{query}")
        assert status == 200, answer
        if answer["messages"]:
            return answer["messages"][0]
        time.sleep(0.1)
    raise SystemExit("no message came")


def main():
    target = "Zoë+shop@example.com"
    status, sent = call("POST", "/otp/send", {"target": target, "channel": "email"})
    assert status == 202, sent
    code = inbox(target)["code"]
    wrong = "000000" if code != "000000" else "111111"
    status, refused = call("POST", "/otp/verify", {"target": target, "code": wrong})
    assert (status, refused["valid"], refused["attemptsLeft"]) == (200, False, 4), refused
    status, verified = call("POST", "/otp/verify", {"target": target, "code": code})
    assert (status, verified["valid"]) == (200, True), verified
    status, error = call("POST", "/otp/send", {"target": "nonsense", "channel": "email"})
    assert (status, error["statusCode"]) == (400, 400), error
    print(json.dumps({"recordId": sent["recordId"], "verified": verified["recordId"]}))


main()
