// A server made with the npm SDK 2.x, offering what `sdk.py` and `asking.py` do. It is started and stopped as the Python
// peers are: on a free loopback port, its URL in one line of JSON on standard output, gone when standard input ends.
//
// Its first argument is the folder that holds node_modules; `--json` has it answer with JSON alone, and `--stateless`
// speak 2026-07-28 alone.
import http from "node:http";
import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.argv[2], "package.json"));
const { McpServer, ResourceTemplate, completable, createMcpHandler, fromJsonSchema, inputRequired } = require(
  "@modelcontextprotocol/server",
);
const { toNodeHandler } = require("@modelcontextprotocol/node");
const { z } = require("zod");

const PAGE_SIZE = 10;
const STYLES = ["formal", "friendly", "frosty", "plain"];
// As in asking.py: a default of each kind (SEP-1034), and one field without.
const FORM = {
  type: "object",
  properties: {
    name: { type: "string", default: "John Doe" },
    age: { type: "integer", default: 30 },
    score: { type: "number", default: 95.5 },
    status: { type: "string", enum: ["active", "inactive"], default: "active" },
    verified: { type: "boolean", default: true },
    note: { type: "string" },
  },
};
const STATE = 'round "1"\\ gr\u00fc\u00df\u2028\u{1F600}';

// A server is made for each request; what is to last is here.
const seen = [];
const gates = new Map();
const grown = [];
let reads = 0;

function gate(name) {
  if (!gates.has(name)) {
    const made = { started: 0, cancelled: 0 };
    made.opened = new Promise((resolve) => (made.open = resolve));
    gates.set(name, made);
  }
  return gates.get(name);
}

const text = (words) => ({ content: [{ type: "text", text: words }] });
const none = fromJsonSchema({ type: "object", properties: {} });
const object = (properties, required = Object.keys(properties)) =>
  fromJsonSchema({ type: "object", properties, required });
const string = { type: "string" };
const integer = { type: "integer" };
const form = (message) => inputRequired.elicit({ message, requestedSchema: FORM });
const prompting = (words) =>
  inputRequired.createMessage({
    messages: [{ role: "user", content: { type: "text", text: words } }],
    maxTokens: 100,
  });

async function report(ctx, progress, total, message) {
  const progressToken = ctx.mcpReq._meta?.progressToken;
  if (progressToken !== undefined) {
    await ctx.mcpReq.notify({ method: "notifications/progress", params: { progressToken, progress, total, message } });
  }
}

function make() {
  const server = new McpServer(
    { name: "peer", version: "2.0" },
    {
      instructions: "Ask me anything.",
      capabilities: { logging: {}, tools: { listChanged: true }, resources: { listChanged: true, subscribe: true } },
      // Long enough that nothing gets stale on its own while a test runs.
      cacheHints: {
        "tools/list": { ttlMs: 60000, cacheScope: "public" },
        "resources/read": { ttlMs: 60000, cacheScope: "public" },
      },
    },
  );
  const tool = (name, description, inputSchema, handler, more = {}) =>
    server.registerTool(name, { description, inputSchema, ...more }, handler);

  tool("echo", "Give the text back.", object({ text: string }), ({ text: words }) => text(words), {
    annotations: { readOnlyHint: true },
  });
  tool(
    "add",
    "Add two integers.",
    object({ a: integer, b: integer }),
    ({ a, b }) => ({ ...text(JSON.stringify({ total: a + b })), structuredContent: { total: a + b } }),
    { outputSchema: object({ total: integer }) },
  );
  tool(
    "numbers",
    "Give a list.",
    none,
    () => ({ ...text("[1,2,3]"), structuredContent: [1, 2, 3] }),
    { outputSchema: fromJsonSchema({ type: "array", items: integer }) },
  );
  tool("fail", "Always fail.", object({ reason: string }), ({ reason }) => ({ ...text(reason), isError: true }));
  tool("work", "Report progress and log, step by step.", object({ steps: integer }), async ({ steps }, ctx) => {
    for (let step = 1; step <= steps; step++) {
      await report(ctx, step, steps, `step ${step}`);
      await ctx.mcpReq.log("info", `finished ${step}`);
    }
    return text(`did ${steps}`);
  });
  tool(
    "gated",
    "Report some progress, wait for `open_gate`, report the rest.",
    object({ name: string, before: integer, after: integer }),
    async ({ name, before, after }, ctx) => {
      const it = gate(name);
      it.started++;
      for (let step = 1; step <= before; step++) await report(ctx, step, before + after);
      const { signal } = ctx.mcpReq;
      let stop;
      const cancelled = new Promise((_, reject) => {
        stop = () => {
          it.cancelled++;
          reject(new Error("cancelled"));
        };
        signal.aborted ? stop() : signal.addEventListener("abort", stop, { once: true });
      });
      await Promise.race([it.opened, cancelled]);
      // It is also aborted when all is over.
      signal.removeEventListener("abort", stop);
      for (let step = before + 1; step <= before + after; step++) await report(ctx, step, before + after);
      return text(`passed ${name}`);
    },
  );
  tool("open_gate", "Let a waiting call go on.", object({ name: string }), ({ name }) => {
    gate(name).open();
    return text(name);
  });
  tool("counts", "Tell how often the named call was started and cancelled.", object({ name: string }), ({ name }) => {
    const { started, cancelled } = gate(name);
    return text(JSON.stringify({ started, cancelled }));
  });
  tool(
    "announce",
    "Tell those who listen that something has changed; a new tool comes with a change of the tools.",
    object({ what: string, name: string }, ["what"]),
    ({ what, name }) => {
      if (what === "tools") {
        grown.push(name);
        handler.notify.toolsChanged();
      } else if (what === "prompts") handler.notify.promptsChanged();
      else if (what === "resources") handler.notify.resourcesChanged();
      else handler.notify.resourceUpdated(name);
      return text(what);
    },
  );

  tool("want_user", "Ask the user for a form.", object({ question: string }), ({ question }, ctx) => {
    gate("want_user").started++;
    const answer = ctx.mcpReq.inputResponses?.who;
    if (!answer) return inputRequired({ inputRequests: { who: form(question) } });
    const content = answer.content && Object.fromEntries(Object.entries(answer.content).sort());
    return text(JSON.stringify({ action: answer.action, content: content ?? null }));
  });
  tool("want_model", "Ask the client's model.", object({ prompt: string }), ({ prompt }, ctx) => {
    const answer = ctx.mcpReq.inputResponses?.model;
    if (!answer) return inputRequired({ inputRequests: { model: prompting(prompt) } });
    return text(`${answer.model} said ${answer.content.text}`);
  });
  tool("want_roots", "List the client's roots.", none, (_, ctx) => {
    const answer = ctx.mcpReq.inputResponses?.roots;
    if (!answer) return inputRequired({ inputRequests: { roots: inputRequired.listRoots() } });
    return text(JSON.stringify(answer.roots.map((root) => root.uri)));
  });
  tool("want_all", "Ask everything at once.", none, (_, ctx) => {
    const answers = ctx.mcpReq.inputResponses;
    if (answers) return text(JSON.stringify(Object.keys(answers).sort()));
    const inputRequests = { who: form("Who?"), model: prompting("What?"), roots: inputRequired.listRoots() };
    return inputRequired({ inputRequests });
  });
  tool("want_twice", "Ask in two rounds, and remember the first in the state.", none, (_, ctx) => {
    const answers = ctx.mcpReq.inputResponses ?? {};
    const state = ctx.mcpReq.requestState();
    if (answers.first) {
      const requestState = JSON.stringify([state, answers.first.content.name]);
      return inputRequired({ inputRequests: { second: form("And who else?") }, requestState });
    }
    if (answers.second) {
      const [kept, first] = JSON.parse(state);
      return text(JSON.stringify({ kept: kept === STATE, first, second: answers.second.content.name }));
    }
    return inputRequired({ inputRequests: { first: form("Who?") }, requestState: STATE });
  });
  tool("want_patience", "Ask for nothing but to be called again.", object({ times: integer }), ({ times }, ctx) => {
    const done = Number(ctx.mcpReq.requestState() ?? 0);
    return done === times ? text(`after ${done}`) : inputRequired({ requestState: String(done + 1) });
  });
  tool("want_ever_more", "Never be content.", none, () => {
    gate("want_ever_more").started++;
    return inputRequired({ inputRequests: { more: form("More?") } });
  });
  tool(
    "route",
    "Want three arguments in headers too.",
    object(
      {
        region: { ...string, "x-mcp-header": "Region" },
        count: { ...integer, "x-mcp-header": "Count" },
        urgent: { type: "boolean", "x-mcp-header": "Urgent" },
      },
      ["region"],
    ),
    ({ region, count = 0, urgent = false }) => text(`${region} ${count} ${urgent}`),
  );
  for (let number = 0; number < 24; number++) {
    tool(`filler_${String(number).padStart(2, "0")}`, "One of many.", none, () => text("filled"));
  }
  for (const name of grown) tool(name, "Appeared later.", none, () => text(name));

  server.registerResource(
    "greeting",
    "note://greeting",
    { description: "A text.", mimeType: "text/plain" },
    (uri) => ({ contents: [{ uri: uri.href, mimeType: "text/plain", text: "grüß dich\u2028twice" }] }),
  );
  server.registerResource("logo", "note://logo", { description: "Some bytes.", mimeType: "image/png" }, (uri) => {
    const blob = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)).toString("base64");
    return { contents: [{ uri: uri.href, mimeType: "image/png", blob }] };
  });
  server.registerResource("counter", "note://counter", { mimeType: "text/plain" }, (uri) => ({
    contents: [{ uri: uri.href, mimeType: "text/plain", text: String(++reads) }],
  }));
  const item = new ResourceTemplate("note://item/{name}", { list: undefined });
  server.registerResource("item", item, { description: "Any item.", mimeType: "text/plain" }, (uri, { name }) => ({
    contents: [{ uri: uri.href, mimeType: "text/plain", text: `item ${name}` }],
  }));
  const asked = new ResourceTemplate("note://asked/{topic}", { list: undefined });
  server.registerResource("asked", asked, { mimeType: "text/plain" }, (uri, { topic }, ctx) => {
    const answer = ctx.mcpReq.inputResponses?.who;
    if (!answer) return inputRequired({ inputRequests: { who: form(`Who wants ${topic}?`) } });
    return { contents: [{ uri: uri.href, mimeType: "text/plain", text: `${topic} for ${answer.content.name}` }] };
  });

  const said = (words) => ({ messages: [{ role: "user", content: { type: "text", text: words } }] });
  const style = completable(z.string(), (value) => STYLES.filter((each) => each.startsWith(value))).optional();
  server.registerPrompt(
    "greet",
    { description: "Greet someone.", argsSchema: z.object({ name: z.string(), style }) },
    ({ name, style: how = "plain" }) => said(`Greet ${name} in a ${how} way.`),
  );
  server.registerPrompt("asking", { description: "Ask before it says anything." }, (ctx) => {
    const answer = ctx.mcpReq.inputResponses?.who;
    return answer ? said(`Greet ${answer.content.name}.`) : inputRequired({ inputRequests: { who: form("Who?") } });
  });

  // The class lists all tools on one page. Its own list is made by the handler that it has registered.
  const all = server.server._requestHandlers.get("tools/list");
  server.server.setRequestHandler("tools/list", async (request, ctx) => {
    const { tools, ...rest } = await all({ ...request, params: {} }, ctx);
    // What no client may offer to a model: a header cannot have such a name.
    const properties = { region: { ...string, "x-mcp-header": "no such header" } };
    tools.push({ name: "crooked", inputSchema: { type: "object", properties } });
    // The cursor of the second page is an empty one, which is a cursor like any other.
    const { cursor } = request.params ?? {};
    const start = cursor === undefined ? 0 : cursor === "" ? PAGE_SIZE : Number(cursor.slice("page-".length));
    const end = start + PAGE_SIZE;
    const nextCursor = end >= tools.length ? undefined : end === PAGE_SIZE ? "" : `page-${end}`;
    return { ...rest, tools: tools.slice(start, end), nextCursor };
  });
  return server;
}

// The other peers choose JSON where nothing comes before the result; this one streams all that it may.
const responseMode = process.argv.includes("--json") ? "json" : "sse";
// Unless told so, it also speaks 2025-11-25, without sessions.
const legacy = process.argv.includes("--stateless") ? "reject" : "stateless";
const handler = createMcpHandler(make, { responseMode, keepAliveMs: 50, legacy });
const answer = toNodeHandler(handler);

const listener = http.createServer((request, response) => {
  if (request.url === "/watched") {
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify(seen));
    return;
  }
  const note = { http: request.method, headers: request.headers, body: null };
  seen.push(note);
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const whole = Buffer.concat(chunks).toString();
    const body = whole ? JSON.parse(whole) : undefined;
    note.body = body ?? null;
    answer(request, response, body);
  });
});
listener.keepAliveTimeout = 60000;
listener.listen(0, "127.0.0.1", () => {
  process.stdout.write(JSON.stringify({ url: `http://127.0.0.1:${listener.address().port}/mcp` }) + "\n");
});
process.stdin.on("end", () => process.exit(0)).resume();
