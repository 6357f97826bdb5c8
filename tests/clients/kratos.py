"""Evaluates docs/integrations/kratos.jsonnet as Ory Kratos does, for each context of the JSON list on stdin."""

import json
import sys
from pathlib import Path

import _jsonnet

BODY = Path(__file__).resolve().parents[2] / "docs/integrations/kratos.jsonnet"


def evaluate(context):
    return json.loads(_jsonnet.evaluate_file(str(BODY), tla_codes={"ctx": json.dumps(context)}))


print(json.dumps([evaluate(context) for context in json.load(sys.stdin)]))
