"""Tries what docs/API.md gives to check signatures with: `python3 signed.py BLOCK`. The messages are signed here by the
library that receivers would use, with a secret of each kind."""

import datetime, hashlib, hmac, json, subprocess, sys

from standardwebhooks.webhooks import Webhook

BODY = b'{"type":"job.succeeded","id":"m-1","data":{"cfg":6.0}}'


def signed(secret):
    now = datetime.datetime.now(tz=datetime.timezone.utc)
    webhook = Webhook(secret if secret.startswith("whsec_") else secret.encode())
    return {
        "webhook-id": "m-1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": webhook.sign("m-1", now, BODY.decode()),
        "x-signature": "sha256=" + hmac.new(secret.encode(), BODY, hashlib.sha256).hexdigest(),
    }


def refused(check, *arguments):
    try:
        check(*arguments)
    except ValueError:
        return
    raise SystemExit(f"{check.__name__} takes a message that is not as it was signed")


def in_python(text, secret, headers):
    names = {"SECRET": secret, "headers": headers, "body": BODY}
    exec(text, names)
    checks = [names[name] for name in ("verify", "verify_x_signature") if name in names]
    for check in checks:
        assert check(secret, headers, BODY) == json.loads(BODY)
        refused(check, secret, headers, BODY + b" ")
    assert checks or names["message"] == json.loads(BODY)


SCRIPT = """
const { verify } = await import(process.argv[1]);
const [secret, headers, body] = JSON.parse(process.argv[2]);
if (verify(secret, headers, Buffer.from(body)).id !== "m-1") throw new Error("it is another message");
let refused = false;
try { verify(secret, headers, Buffer.from(body + " ")); } catch { refused = true; }
if (!refused) throw new Error("it takes a message that is not as it was signed");
"""


def in_node(path, secret, headers):
    given = json.dumps([secret, headers, BODY.decode()])
    subprocess.run(["node", "--input-type=module", "-e", SCRIPT, "--", path, given], check=True)


path = sys.argv[1]
for secret in ["whsec_" + "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3", "a text that is a secret of 32 letters or more"]:
    if path.endswith(".py"):
        in_python(open(path).read(), secret, signed(secret))
    else:
        in_node(path, secret, signed(secret))
