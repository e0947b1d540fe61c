// Asks the echo at process.argv[2] with Node's ws; prints what happened as JSON on one line.
import { createRequire } from "node:module";
const WebSocket = createRequire(import.meta.url)("ws"); // unlike import it looks in NODE_PATH

const url = process.argv[2];
const result = {};

function open(path, options) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url + path, options);
    socket.on("open", () => resolve(socket));
    socket.on("error", reject);
  });
}

const next = (socket, event) => new Promise((resolve) => socket.once(event, (...values) => resolve(values)));

async function echoes(options, payloads) {
  const socket = await open("/echo", options);
  const same = [];
  for (const payload of payloads) {
    const answer = next(socket, "message");
    socket.send(payload);
    const [data, isBinary] = await answer;
    same.push(data.equals(Buffer.from(payload)) && isBinary === Buffer.isBuffer(payload));
  }
  const pong = next(socket, "pong");
  socket.ping("are you there");
  const [told] = await pong;
  const close = next(socket, "close");
  socket.close(4001, "bye");
  const [code, reason] = await close;
  return { same, pong: told.toString(), extensions: socket.extensions, code, reason: reason.toString() };
}

const payloads = ["", "grüße", "x".repeat(70000), Buffer.alloc(0), Buffer.alloc(1 << 20, 7)];
result.plain = await echoes({ perMessageDeflate: false }, payloads);
result.deflated = await echoes({ perMessageDeflate: { threshold: 0 } }, payloads);
result.small = await echoes(
  { perMessageDeflate: { threshold: 0, clientNoContextTakeover: true, serverNoContextTakeover: true,
                         clientMaxWindowBits: 10, serverMaxWindowBits: 10 } }, payloads);

const many = await open("/echo", { perMessageDeflate: true });
let back = 0;
const all = new Promise((resolve) => many.on("message", (data) => {
  if (data.toString() === `message ${back}` && ++back === 2000) resolve();
}));
for (let number = 0; number < 2000; number++) many.send(`message ${number}`);
await all;
result.inOrder = back;
many.terminate();

result.refused = await new Promise((resolve) => {
  const socket = new WebSocket(url + "/deny");
  socket.on("error", () => {});
  socket.on("unexpected-response", (request, response) => {
    let text = "";
    response.on("data", (chunk) => { text += chunk; });
    response.on("end", () => resolve({ status: response.statusCode, text, why: response.headers["x-why"] }));
  });
});

const leaving = await open("/leave", {});
const [code, reason] = await next(leaving, "close");
result.left = { code, reason: reason.toString() };
console.log(JSON.stringify(result));
