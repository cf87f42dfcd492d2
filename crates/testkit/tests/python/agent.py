"""An agent: uses the gateway through the official client of the Model Context Protocol.

Reads one JSON object from standard input: how to connect, and what to do in order. Writes a list of what came of each.

    {"http": URL, "headers": {…}} or {"command": PROGRAM, "arguments": […], "variables": {…}}
    "mode": "auto" (what the client does by itself) or "legacy" (the handshake of before)
    "steps": [{"do": "list"}, {"do": "call", "name": …, "arguments": {…}, "progress": bool, "give_up_at": percent}]
"""

import json
import sys

import anyio
import httpx2
from mcp import MCPError
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

# Longer than any step takes that goes well.
DEADLINE = 60


async def listed(client):
    result = await client.list_tools()
    return {"tools": [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in result.tools]}


async def called(client, step):
    told = []
    result = {}
    with anyio.CancelScope() as scope:

        async def hear(progress, total, message):
            told.append([progress, total, message])
            if progress >= step.get("give_up_at", 1000):
                scope.cancel()

        listener = hear if step.get("progress") else None
        answer = await client.call_tool(step["name"], step.get("arguments"), progress_callback=listener)
        result = answer.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {**result, "progress": told, "gaveUp": scope.cancelled_caught}


async def take(client, step):
    try:
        with anyio.fail_after(DEADLINE):
            return await (listed(client) if step["do"] == "list" else called(client, step))
    except MCPError as error:
        return {"fault": {"code": error.code, "message": str(error)}}


async def main(plan):
    if "http" in plan:
        http = httpx2.AsyncClient(headers=plan.get("headers", {}), timeout=httpx2.Timeout(DEADLINE), trust_env=False)
        transport = streamable_http_client(plan["http"], http_client=http)
    else:
        server = StdioServerParameters(
            command=plan["command"], args=plan["arguments"], env=plan["variables"], cwd=plan["folder"]
        )
        transport = stdio_client(server)
    outcome = {}
    try:
        async with Client(transport, mode=plan.get("mode", "auto"), cache=None) as client:
            outcome["version"] = client.protocol_version
            outcome["steps"] = [await take(client, step) for step in plan["steps"]]
    except* MCPError as errors:
        outcome["refused"] = str(errors.exceptions)
    return outcome


json.dump(anyio.run(main, json.load(sys.stdin)), sys.stdout)
