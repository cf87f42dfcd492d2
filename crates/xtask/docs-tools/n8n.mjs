// Runs what docs/integration.md gives for n8n, with the few kinds of nodes that are used there: `node n8n.mjs FILE`. A
// workflow that begins with a webhook listens on n8n's port; one that is begun by hand is run once; a body alone is sent to
// the gateway, and is done when the workflow that listens has its picture.
import { createHmac } from "node:crypto";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";

const { GATEWAY_URL, GATEWAY_API_KEY, WEBHOOK_SECRET } = process.env;
const SECRET_TO_PUT = "PUT THE WHOLE WEBHOOK_SECRET HERE, whsec_ INCLUDED";
const PICTURE = "picture-of-n8n.png";
const execution = { id: `execution-${Date.now()}` };

const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

/** What a parameter says, with its expressions in the place of `{{ … }}`. */
function value(text, item, ran) {
  if (typeof text !== "string" || !text.startsWith("=")) return text === SECRET_TO_PUT ? WEBHOOK_SECRET : text;
  const run = (code) => new Function("$json", "$", "$execution", "$itemIndex", `return (${code})`)(item.json, (name) => ({ item: ran.get(name) }), execution, 0);
  const whole = /^=\{\{((?:(?!\}\}).)*)\}\}$/s.exec(text);
  return whole ? run(whole[1]) : text.slice(1).replace(/\{\{(.*?)\}\}/gs, (_, code) => run(code));
}

/** Sends a request to the gateway, wherever it listens here. */
async function request(url, method, body, withKey) {
  const headers = { "Content-Type": "application/json", ...(withKey && { "X-API-Key": GATEWAY_API_KEY }) };
  const answer = await fetch(url.replace("http://127.0.0.1:3000", GATEWAY_URL), { method, headers, body });
  if (!answer.ok) throw new Error(`${method} ${url}: ${answer.status} ${await answer.text()}`);
  return answer;
}

/** What a node does: the output that it leaves by, and the item that it hands on. */
const kinds = {
  manualTrigger: () => ({ item: { json: {} } }),
  webhook: (_, item) => ({ item }),
  wait: async ({ amount, unit }, item) => {
    if (unit !== "seconds") throw new Error(`waits in ${unit}`);
    await pause(amount);
    return { item };
  },
  crypto: (parameters, item) => {
    const { action, type, binaryPropertyName, dataPropertyName, secret, encoding } = parameters;
    if (action !== "hmac" || type !== "SHA256") throw new Error(`${action} ${type}`);
    const signed = createHmac("sha256", secret).update(item.binary[binaryPropertyName]).digest(encoding);
    return { item: { ...item, json: { ...item.json, [dataPropertyName]: signed } } };
  },
  switch: ({ output }, item) => ({ item, output }),
  stopAndError: ({ errorMessage }) => {
    throw new Error(errorMessage);
  },
  httpRequest: async (parameters) => {
    const { url, method, sendBody, jsonBody, options, genericAuthType } = parameters;
    const body = sendBody ? JSON.stringify(jsonBody) : undefined;
    const answer = await request(url, method ?? "GET", body, genericAuthType === "httpHeaderAuth");
    const isFile = options?.response?.response?.responseFormat === "file";
    if (!isFile) return { item: { json: await answer.json() } };
    return { item: { json: {}, binary: { data: Buffer.from(await answer.arrayBuffer()) } } };
  },
};

/** Runs a workflow from its first node to where nothing follows. */
async function run(workflow, first) {
  const ran = new Map();
  let [node, item] = [workflow.nodes[0], first];
  for (;;) {
    const kind = node.type.replace("n8n-nodes-base.", "");
    const named = Object.entries(node.parameters).map(([name, text]) => [name, value(text, item, ran)]);
    const done = await kinds[kind](Object.fromEntries(named), item);
    console.log(node.name);
    item = done.item;
    ran.set(node.name, item);
    const next = workflow.connections[node.name]?.main[done.output ?? 0]?.[0];
    if (!next) break;
    node = workflow.nodes.find(({ name }) => name === next.node);
  }
  const picture = item.binary?.data;
  if (picture?.subarray(1, 4).toString() !== "PNG") throw new Error(`${node.name} has no picture`);
  writeFileSync(PICTURE, picture);
}

function listen(workflow) {
  const path = `/webhook/${workflow.nodes[0].parameters.path}`;
  const server = createServer(async (incoming, response) => {
    const chunks = [];
    for await (const chunk of incoming) chunks.push(chunk);
    const raw = Buffer.concat(chunks);
    response.writeHead(incoming.url === path ? 200 : 404).end();
    const json = { headers: incoming.headers, params: {}, query: {}, body: JSON.parse(raw) };
    await run(workflow, { json, binary: { data: raw } }).catch((error) => console.error(error));
  });
  server.listen(5678, "127.0.0.1");
}

async function submit(text) {
  rmSync(PICTURE, { force: true });
  const body = value(`=${text}`, {}, new Map());
  console.log(await (await request("http://127.0.0.1:3000/jobs", "POST", body, true)).text());
  const deadline = Date.now() + 60_000;
  while (!existsSync(PICTURE)) {
    if (Date.now() > deadline) throw new Error("the workflow that listens has no picture");
    await pause(0.2);
  }
}

const text = readFileSync(process.argv[2], "utf8");
const workflow = text.includes('"nodes"') ? JSON.parse(text) : undefined;
if (!workflow) await submit(text);
else if (workflow.nodes[0].type.endsWith(".webhook")) listen(workflow);
else await run(workflow, { json: {} });
