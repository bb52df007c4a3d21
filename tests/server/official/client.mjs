// What the official TypeScript client gets from a server: prints JSON. The module's folder is the second argument.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [url, folder, name] = process.argv.slice(2);
const require = createRequire(folder + "/");
const load = async (path) => import(pathToFileURL(require.resolve(path)).href);

let Client, StreamableHTTPClientTransport, elicitation;
if (name === "@modelcontextprotocol/client") {
  ({ Client, StreamableHTTPClientTransport } = await load(name));
  elicitation = "elicitation/create";
} else {
  ({ Client } = await load(name + "/client/index.js"));
  ({ StreamableHTTPClientTransport } = await load(name + "/client/streamableHttp.js"));
  elicitation = (await load(name + "/types.js")).ElicitRequestSchema;
}

const client = new Client({ name: "test", version: "1" }, { capabilities: { elicitation: {} } });
client.setRequestHandler(elicitation, async () => ({ action: "accept", content: { name: "Ada" } }));
const transport = new StreamableHTTPClientTransport(new URL(url), {
  reconnectionOptions: { initialReconnectionDelay: 50, maxReconnectionDelay: 500, reconnectionDelayGrowFactor: 1.5, maxRetries: 5 },
});
await client.connect(transport);

async function call(tool, args) {
  const progress = [];
  const options = { onprogress: (update) => progress.push(update.progress) };
  const request = { name: tool, arguments: args };
  const old = name !== "@modelcontextprotocol/client";
  const result = old ? await client.callTool(request, undefined, options) : await client.callTool(request, options);
  return [progress, result.content[0].text, result.isError ?? false];
}

const found = { tools: (await client.listTools()).tools.map((tool) => tool.name).sort() };
for (const tool of ["count", "broken_off", "polled"]) found[tool] = (await call(tool, { to: 5 })).slice(0, 2);
found.ask = (await call("ask", {}))[1];
found.bad = (await call("count", { to: "five" }))[2];
console.log(JSON.stringify(found));
await transport.terminateSession();
await client.close();
