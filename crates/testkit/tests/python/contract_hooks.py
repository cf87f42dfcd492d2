"""What Schemathesis does besides what the document tells it.

It makes bodies that get further than a first refusal, closes the schemas of answers so that a member which nobody has
documented is found, and lets each request come from an address of its own: whoever shows wrong credentials too often
has to wait, and this shows them often.
"""

import itertools
import json
import os

import schemathesis
from hypothesis import strategies as st

# A picture, a sound, and what is neither.
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c49444154789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
)
WAV = bytes.fromhex("524946462400000057415645666d74201000000001000100401f0000401f0000010008006461746100000000")
FILES = st.one_of(st.sampled_from([PNG, WAV]), st.binary(max_size=64))

# What the test has registered, and what it has to be told.
WORKFLOWS = json.loads(os.environ["CONTRACT_WORKFLOWS"])
CALLBACK = os.environ["CONTRACT_CALLBACK"]

_addresses = itertools.count(1)

schemathesis.openapi.media_type("application/octet-stream", FILES)
schemathesis.openapi.media_type("image/png", FILES)


@schemathesis.hook
def before_load_schema(context, raw_schema):
    schemas = raw_schema["components"]["schemas"]
    for schema in schemas.values():
        close(schema)
    for name in ("JobRequest", "BatchRequest"):
        prefer(schemas[name], "workflowId", list(WORKFLOWS))
        prefer(schemas[name], "inputs", [inputs for each in WORKFLOWS.values() for inputs in each])
        prefer(schemas[name], "callbackUrl", [CALLBACK])
    for name in ("NewWorkflow", "WorkflowReplacement"):
        example = graph(raw_schema)
        prefer(schemas[name], "workflow", [example])
        prefer(schemas[name], "inputSchema", [None])
        prefer(schemas[name], "outputs", [[]])
    prefer(schemas["InputsToCheck"], "inputs", [inputs for each in WORKFLOWS.values() for inputs in each])


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


def prefer(schema, name, values):
    """One of `values` as often as anything else: they are allowed anyway, so what is valid stays so."""
    schema["properties"][name] = {"anyOf": [{"enum": values}, schema["properties"][name]]}


def graph(raw_schema):
    content = raw_schema["paths"]["/workflows"]["post"]["requestBody"]["content"]["application/json"]
    return content["examples"]["flat"]["value"]["workflow"]


@schemathesis.hook
def before_call(context, case, kwargs):
    number = next(_addresses)
    headers = dict(case.headers or {})
    headers["X-Forwarded-For"] = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    case.headers = headers
