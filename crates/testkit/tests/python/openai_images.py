"""The official client of OpenAI's images API, unchanged, against a gateway. Its variables are those of that client
(OPENAI_BASE_URL, OPENAI_API_KEY) and OTHER_KEY, which may not run what the first may."""

import base64
import json
import os
import struct
import urllib.request

import openai

client = openai.OpenAI(timeout=60, max_retries=0)
other = client.with_options(api_key=os.environ["OTHER_KEY"])


def size(png):
    assert png.startswith(b"\x89PNG\r\n\x1a\n"), png[:16]
    return struct.unpack(">II", png[16:24])


def fetched(url):
    with urllib.request.urlopen(url) as answer:
        return answer.read(), answer.headers


def job(url):
    """The id that the seal of a URL begins with."""
    return base64.urlsafe_b64decode(url.split("/")[-2].split(".")[1] + "==")[:16]


def refused(kind, call, **arguments):
    try:
        call(**arguments)
    except kind as error:
        return error
    raise AssertionError(f"{arguments} was not refused")


# A picture by URL: the URL needs no key.
answer = client.images.generate(model="dall-e-3", prompt="a kite", size="64x32")
assert len(answer.data) == 1 and answer.created > 1_600_000_000, answer
png, headers = fetched(answer.data[0].url)
assert size(png) == (64, 32), size(png)
assert headers["content-type"] == "image/png"
assert headers["cross-origin-resource-policy"] == "cross-origin"

# Changed in any way, it leads nowhere.
url = answer.data[0].url
head, token, file = url.rsplit("/", 2)
until, seal = token.split(".")
for changed in (f"{head}/{int(until) + 1}.{seal}/{file}", f"{head}/{until}.{seal[:-1]}/{file}", f"{url}x"):
    try:
        fetched(changed)
    except urllib.error.HTTPError as error:
        assert error.code == 404, (changed, error.code)
    else:
        raise AssertionError(f"{changed} was answered")

# Several as bytes, by a model that has always answered so; inputs of the workflow go beside.
answer = client.images.generate(model="gpt-image-1", prompt="a boat", n=3, size="32x32", extra_body={"color": 255})
pictures = [base64.b64decode(each.b64_json) for each in answer.data]
assert [size(picture) for picture in pictures] == [(32, 32)] * 3

# Without a model the first of the map; in another format.
answer = client.images.generate(prompt="a tree", response_format="b64_json", output_format="webp", quality="high")
assert base64.b64decode(answer.data[0].b64_json)[8:12] == b"WEBP"

# A workflow is a model, too.
answer = client.images.generate(model="painter", prompt="a house", size="auto")
assert size(fetched(answer.data[0].url)[0]) == (64, 64)

# The same key, the same pictures.
twice = [
    client.images.generate(model="dall-e-3", prompt="a cat", extra_headers={"Idempotency-Key": "one"}).data[0].url
    for _ in range(2)
]
assert job(twice[0]) == job(twice[1]) != job(url), twice

# Edits, with and without a mask.
picture = ("picture.png", png, "image/png")
answer = client.images.edit(model="gpt-image-1", image=picture, prompt="a red kite")
assert size(base64.b64decode(answer.data[0].b64_json)) == (64, 32)
answer = client.images.edit(model="gpt-image-1", image=[picture], mask=picture, prompt="a red kite", n=2)
assert len(answer.data) == 2

# What is wrong is told in the words that programs look for.
error = refused(openai.UnprocessableEntityError, client.images.generate, model="dall-e-3", prompt="a kite", n=99)
assert (error.param, error.type, error.code) == ("n", "invalid_request_error", "VALIDATION_ERROR"), error.body
error = refused(openai.UnprocessableEntityError, client.images.generate, prompt="a kite", extra_body={"colour": 1})
assert error.param == "colour", error.body
error = refused(openai.UnprocessableEntityError, client.images.edit, model="dall-e-3", image=picture, prompt="a kite")
assert error.param == "model", error.body
error = refused(openai.NotFoundError, client.images.generate, model="no-such", prompt="a kite")
assert error.code == "WORKFLOW_NOT_FOUND", error.body
assert "OPENAI_MODELS" in str(error.body), error.body
error = refused(openai.APIStatusError, client.images.generate, model="broken", prompt="a kite")
assert (error.status_code, error.type) == (502, "server_error"), error.body
assert "job " in error.message, error.message


def jobs(workflow):
    request = urllib.request.Request(
        f"{os.environ['OPENAI_BASE_URL']}/jobs?workflowId={workflow}", headers={"X-API-Key": os.environ["OPENAI_API_KEY"]}
    )
    with urllib.request.urlopen(request) as answer:
        return len(json.load(answer)["items"])


# A job that failed is not made again, though such a client tries again by itself.
before = jobs("broken")
refused(openai.APIStatusError, client.with_options(max_retries=2).images.generate, model="broken", prompt="a kite")
assert jobs("broken") == before + 1

# What is wrong with an input is told at the field that was sent.
error = refused(openai.UnprocessableEntityError, client.images.generate, model="painter", prompt="a kite", size="8x64")
assert error.param == "size", error.body
error = refused(
    openai.UnprocessableEntityError, client.images.generate, model="painter", prompt="a kite", extra_body={"color": "red"}
)
assert error.param == "color", error.body
error = refused(
    openai.UnprocessableEntityError, client.images.generate, model="painter", prompt="a kite", extra_body={"image": "x"}
)
assert error.param == "image", error.body
refused(openai.PermissionDeniedError, other.images.generate, model="dall-e-3", prompt="a kite")
wrong = client.with_options(api_key="wrong")
error = refused(openai.AuthenticationError, wrong.images.generate, model="dall-e-3", prompt="a kite")
assert error.type == "authentication_error", error.body
