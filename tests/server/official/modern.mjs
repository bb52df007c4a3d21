// What the official TypeScript client, 2.x, gets from a server in revision 2026-07-28: prints JSON. The third argument
// is the folder of its modules.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [url, mode, folder] = process.argv.slice(2);
const require = createRequire(folder + "/");
const { Client, StreamableHTTPClientTransport } = await import(
  pathToFileURL(require.resolve("@modelcontextprotocol/client")).href
);

const client = new Client(
  { name: "test", version: "1" },
  {
    capabilities: { elicitation: {}, sampling: {}, roots: {} },
    versionNegotiation: { mode: mode === "auto" ? "auto" : { pin: mode } },
  },
);
client.setRequestHandler("elicitation/create", async () => ({ action: "accept", content: { name: "Ada" } }));
client.setRequestHandler("sampling/createMessage", async () => ({
  role: "assistant",
  model: "m",
  content: { type: "text", text: "fine" },
}));
client.setRequestHandler("roots/list", async () => ({ roots: [{ uri: "file:///a" }] }));
await client.connect(new StreamableHTTPClientTransport(new URL(url)));

async function call(tool, args) {
  const progress = [];
  const result = await client.callTool({ name: tool, arguments: args }, { onprogress: (at) => progress.push(at.progress) });
  return [progress, result.content[0].text, result.isError ?? false];
}

const found = { version: client.getNegotiatedProtocolVersion(), server: client.getServerVersion().name };
found.tools = (await client.listTools()).tools.map((tool) => tool.name).sort();
found.count = (await call("count", { to: 5 })).slice(0, 2);
found.ask = (await call("ask", {}))[1];
found.bad = (await call("count", { to: "five" }))[2];
found.mirrored = (await call("mirrored", { region: "Zürich", count: 3 }))[1];
found.prompt = (await client.getPrompt({ name: "greeting" })).messages[0].content.text;
found.resource = (await client.readResource({ uri: "x://text" })).contents[0].text;
const heard = new Promise((resolve) =>
  client.setNotificationHandler("notifications/tools/list_changed", () => resolve("ToolsListChanged")),
);
const subscription = await client.listen({ toolsListChanged: true });
await call("change", {});
found.heard = await heard;
console.log(JSON.stringify(found));
await subscription.close();
await client.close();
