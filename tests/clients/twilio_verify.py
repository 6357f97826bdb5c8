"""Twilio's SDK at otpd: a call in JSON on each line of stdin, what came of it on each line of stdout; twilio_verify.mjs does
the same and must see the same."""

import json
import sys

from twilio.base.exceptions import TwilioRestException
from twilio.rest import Client

url, account_sid, auth_token, service_sid = sys.argv[1:]
client = Client(account_sid, auth_token)
client.verify.base_url = url
service = client.verify.v2.services(service_sid)


def call(what, fields):
    if what == "create":
        return service.verifications.create(**fields)
    if what == "fetch":
        return service.verifications(fields["sid"]).fetch()
    if what == "update":
        return service.verifications(fields["sid"]).update(status=fields["status"])
    named = {"verification_sid": fields["sid"]} if "sid" in fields else {"to": fields["to"]}
    return service.verification_checks.create(code=fields["code"], **named)


def seen(what, fields):
    try:
        shown = call(what, fields)
    except TwilioRestException as error:
        return {"error": [error.status, error.code, error.msg.removeprefix("Unable to create record: ")]}
    names = ["sid", "service_sid", "account_sid", "to", "channel", "status", "valid"]
    told = {name: getattr(shown, name) for name in names}
    told["created"] = int(shown.date_created.timestamp())
    if what != "check":
        told |= {"sends": [sent["channel"] for sent in shown.send_code_attempts], "url": shown.url}
    return told


for line in sys.stdin:
    print(json.dumps(seen(*json.loads(line))), flush=True)
