"""Uses the gateway through a client that was generated from its document. Arguments: the gateway's URL and a key."""

import io
import json
import sys
import time
import urllib.request

from openapi_spec_validator import validate

from client import AuthenticatedClient, Client
from client.api.batches import create_batch, get_batch
from client.api.health import get_capabilities, get_health
from client.api.jobs import cancel_job, create_job, delete_job, get_job, list_jobs, list_logs
from client.api.keys import create_key, revoke_key
from client.api.outputs import download_output, list_outputs
from client.api.uploads import create_upload
from client.api.workflows import create_workflow, get_workflow, list_workflows, validate_inputs
from client.models import (
    AcceptedJob,
    BatchOfSweep,
    InputsToCheck,
    Job,
    JobRequest,
    JobStatus,
    NewKey,
    NewWorkflow,
    Problem401,
    Problem404,
    Problem409,
    Problem422,
)
from client.types import File

base, key = sys.argv[1:]
document = json.load(urllib.request.urlopen(base + "/openapi.json"))
validate(document)
server = base + document["servers"][0]["url"]
own = {"base_url": server, "raise_on_unexpected_status": True}
gateway = AuthenticatedClient(token=key, prefix="", auth_header_name="X-API-Key", **own)


def request(**fields):
    return JobRequest.from_dict({"workflowId": "generated", **fields})


def ended(job_id):
    for _ in range(600):
        job = get_job.sync(client=gateway, id=job_id)
        if job.status in (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELED):
            return job
        time.sleep(0.1)
    raise SystemExit("the job does not end")


# What needs no credentials, and what does.
stranger = Client(**own)
assert get_health.sync(client=stranger).ok
assert isinstance(list_jobs.sync(client=stranger), Problem401)

# A workflow.
content = document["paths"]["/workflows"]["post"]["requestBody"]["content"]["application/json"]
example = next(iter(content["examples"].values()))["value"]
created = create_workflow.sync(client=gateway, body=NewWorkflow.from_dict({**example, "id": "generated"}))
assert (created.id, created.version) == ("generated", 1), created
taken = create_workflow.sync(client=gateway, body=NewWorkflow.from_dict({**example, "id": "generated"}))
assert isinstance(taken, Problem409) and taken.code == "CONFLICT", taken
assert "generated" in [workflow.id for workflow in list_workflows.sync(client=gateway).items]
assert get_workflow.sync(client=gateway, id="generated").input_schema.to_dict()["properties"]["width"]
assert "generated" in [workflow.id for workflow in get_capabilities.sync(client=gateway).workflows]
checked = validate_inputs.sync(client=gateway, id="generated", body=InputsToCheck.from_dict({"inputs": {"width": 64}}))
assert checked.resolved_inputs.to_dict()["width"] == 64, checked

# A job, and its picture.
answer = create_job.sync(client=gateway, body=request(inputs={"width": 64, "height": 64}, metadata={"requestId": "g-1"}))
assert isinstance(answer, AcceptedJob), answer
job = ended(answer.job_id)
assert job.status == JobStatus.SUCCEEDED, job
[output] = list_outputs.sync(client=gateway, id=job.job_id).items
assert (output.width, output.height, output.content_type) == (64, 64, "image/png"), output
picture = download_output.sync(client=gateway, id=job.job_id, file=output.file).payload.read()
assert len(picture) == output.size and picture.startswith(b"\x89PNG"), picture[:16]
assert [line.event for line in list_logs.sync(client=gateway, id=job.job_id).items][0] == "accepted"
assert [each.job_id for each in list_jobs.sync(client=gateway, q="g-1").items] == [job.job_id]

# The whole job at once, where it ends in time.
waited = create_job.sync(client=gateway, body=request(inputs={"width": 32, "height": 32}), prefer="wait=30")
assert isinstance(waited, Job) and waited.status == JobStatus.SUCCEEDED, waited

# What is refused, with its code.
wrong = create_job.sync(client=gateway, body=request(inputs={"width": 0}))
assert isinstance(wrong, Problem422) and [fault.path for fault in wrong.errors] == ["/inputs/width"], wrong
lost = get_job.sync(client=gateway, id="01900000-0000-7000-8000-000000000000")
assert isinstance(lost, Problem404) and lost.code == "JOB_NOT_FOUND", lost

# A file, a batch, a key; and an end.
upload = create_upload.sync(client=gateway, body=File(payload=io.BytesIO(picture)))
assert (upload.kind, upload.size) == ("image", len(picture)), upload
batch = create_batch.sync(
    client=gateway, body=BatchOfSweep.from_dict({"workflowId": "generated", "sweep": {"width": [16, 24]}})
)
assert batch.total == 2 and get_batch.sync(client=gateway, id=batch.batch_id).total == 2, batch
made = create_key.sync(client=gateway, body=NewKey.from_dict({"name": "shop"}))
user = AuthenticatedClient(token=made.key, **own)
assert list_jobs.sync(client=user).items == []
assert revoke_key.sync_detailed(client=gateway, id=made.id).status_code == 204
later = create_job.sync(client=gateway, body=request(notBefore="2999-01-01T00:00:00Z"))
assert isinstance(later, Problem422), later
soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
waiting = create_job.sync(client=gateway, body=request(notBefore=soon))
assert cancel_job.sync(client=gateway, id=waiting.job_id).status == "canceled"
assert delete_job.sync_detailed(client=gateway, id=waiting.job_id).status_code == 204
