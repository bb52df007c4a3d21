// Starts the Streamable HTTP half of `@modelcontextprotocol/server-everything` as the Python peers are started: on a
// free loopback port, its URL in one line of JSON on standard output, gone when standard input ends.
//
// That package listens on a port of its own choice on every interface and never says which one it got, so the one
// call that matters is caught here. Its first argument is the folder that holds node_modules.
import net from "node:net";
import path from "node:path";
import { pathToFileURL } from "node:url";

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (_port, ...rest) {
  this.once("listening", () => {
    const line = JSON.stringify({ url: `http://127.0.0.1:${this.address().port}/mcp` });
    process.stdout.write(line + "\n");
  });
  return listen.call(this, 0, "127.0.0.1", ...rest.filter((argument) => typeof argument === "function"));
};

// It chats about every request on standard output, which is kept for the one line above.
console.log = console.error;
process.stdin.on("end", () => process.exit(0)).resume();

const entry = "node_modules/@modelcontextprotocol/server-everything/dist/transports/streamableHttp.js";
await import(pathToFileURL(path.join(process.argv[2], entry)));
