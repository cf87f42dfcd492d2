"""What Schemathesis does besides what the document tells it.

It makes requests that get further than a first refusal, closes the schemas of answers so that a member which nobody has
documented is found, and lets each request come from an address of its own: whoever shows wrong credentials too often
has to wait, and this shows them often.
"""

import itertools
import json
import os

import requests
import schemathesis
from hypothesis import strategies as st

# A picture, a sound, and what is neither.
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c49444154789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
)
WAV = bytes.fromhex("524946462400000057415645666d74201000000001000100401f0000401f0000010008006461746100000000")
FILES = st.one_of(st.sampled_from([PNG, WAV]), st.binary(max_size=64))

# What the test has made ready: bodies that are good by the operations that take them, and parts of paths that lead to
# something. Examples are what most is made of.
BODIES = json.loads(os.environ["CONTRACT_BODIES"])
PARTS = json.loads(os.environ["CONTRACT_PARTS"])
# These stay as they are: changes go to something else.
KEPT = set(json.loads(os.environ["CONTRACT_KEPT"]))
ELSEWHERE = "01900000-0000-7000-8000-000000000000"

_addresses = itertools.count(1)

schemathesis.openapi.media_type("application/octet-stream", FILES)


@schemathesis.hook
def before_load_schema(context, raw_schema):
    close(raw_schema["components"]["schemas"])
    # The first request that used the example would be the only one that is good.
    del raw_schema["components"]["parameters"]["IdempotencyKey"]["example"]
    for path, item in raw_schema["paths"].items():
        for operation in item.values():
            if isinstance(operation, dict):
                lead(path, operation)


def lead(path, operation):
    """Examples that are good here, in place of those for people."""
    bodies = BODIES.get(operation["operationId"])
    if bodies:
        content = operation["requestBody"]["content"]["application/json"]
        content["examples"] = {str(number): {"value": body} for number, body in enumerate(bodies)}
    for prefix, parts in PARTS.items():
        for parameter in operation.get("parameters", []):
            if path.startswith(prefix) and parameter.get("in") == "path" and parameter["name"] in parts:
                parameter["example"] = parts[parameter["name"]]


def close(schema):
    """Nothing may be in an object but what is named, where the document leaves room for more."""
    if isinstance(schema, list):
        for each in schema:
            close(each)
    elif isinstance(schema, dict):
        if "properties" in schema and schema.get("type") == "object":
            schema.setdefault("additionalProperties", False)
        for each in schema.values():
            close(each)


@schemathesis.hook
def before_call(context, case, kwargs):
    number = next(_addresses)
    headers = dict(case.headers or {})
    headers["X-Forwarded-For"] = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    case.headers = headers
    parts = dict(case.path_parameters or {})
    changed = case.method in ("PUT", "DELETE") and parts.get("id") in KEPT
    # There is one worker.
    if changed or case.path == "/workers/{id}/drain":
        case.path_parameters = parts | {"id": ELSEWHERE}


@schemathesis.hook
def after_call(context, case, response):
    # Others wait for their jobs.
    if case.path == "/queue/pause" and response.status_code == 200:
        resume = response.request.copy()
        resume.url = resume.url.replace("/pause", "/resume")
        requests.Session().send(resume, timeout=10)
