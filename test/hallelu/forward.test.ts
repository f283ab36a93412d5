/** Calls that are made of another host for a client. */
import { once } from "node:events";
import {
  Agent,
  createServer,
  type IncomingMessage,
  request,
  type RequestOptions,
  type Server,
  type ServerResponse,
} from "node:http";
import { type AddressInfo, connect } from "node:net";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { HallelujahError } from "../../host/core/errors.ts";
import { Forwarding } from "../../host/hallelu/api/forward.ts";
import { refuse } from "../../host/hallelu/api/refuse.ts";
import { Neighbours } from "../../host/hallelu/neighbours.ts";
import type { Journal } from "../../host/store/journal.ts";

/** Time in which what has to be answered at once is answered, ms: without an end, a failure would be a test that hangs. */
const PATIENCE_MS = 20_000;
const MIB = Buffer.alloc(1 << 20, "row\n");

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

const servers: Server[] = [];
let forwarding: Forwarding;
test.after.each(async () => {
  forwarding.close();
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  }
});

async function serverOf(handler: Handler): Promise<string> {
  const server = createServer(handler).listen(0, "127.0.0.1");
  servers.push(server);
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

interface Between {
  url: string;
  /** What could not be passed on. */
  errors: string[];
  /** The cluster says how the other host stands. */
  hear: (state: "up" | "lost") => void;
}

/** A host that has the stream `here` and asks another one for `there`. */
async function between(there: Handler): Promise<Between> {
  const errors: string[] = [];
  const b = { name: "b", url: await serverOf(there) };
  const place = { url: "nats://127.0.0.1:1", cluster: "test", replicas: 1, host: "a", folder: "a" };
  const neighbours = new Neighbours({
    place,
    own: () => ["here"],
    isOurs: () => true,
    journal: {} as Journal,
  });
  // What the registry of the cluster knows.
  neighbours.elsewhere = (name) => (name === "there" ? b : undefined);
  const hear = (state: "up" | "lost") =>
    neighbours.hear([
      { ...b, state, cpus: 1, memoryBytes: 1, version: "0", folder: "b", epoch: 1, isSelf: false },
    ]);
  hear("up");
  forwarding = new Forwarding(neighbours, { has: (name) => name === "here", doubt: () => undefined });
  const url = await serverOf((call, response) => {
    const to = forwarding.target(call);
    response.setHeader("hallelujah-hosts", forwarding.hosts);
    if (!to) return void response.end("here");
    forwarding.forward(to, call, response).catch((error: HallelujahError) => {
      errors.push(error.code);
      refuse(error, call, response, () => {});
    });
  });
  return { url, errors, hear };
}

/** Ends a host, and all that is connected to it. */
async function gone(server: Server): Promise<void> {
  servers.splice(servers.indexOf(server), 1);
  server.closeAllConnections();
  await new Promise((done) => server.close(done));
}

interface Answer {
  status: number;
  text: string;
  /** Of the client's end of the connection. */
  port: number;
}

/** Sends a body over a connection that is kept. Rejects if no answer comes. */
async function post(
  url: string,
  agent: Agent,
  body: Buffer = MIB,
  options: RequestOptions = {},
): Promise<Answer> {
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const sending = request(url, { method: "POST", agent, signal, ...options });
  sending.end(body);
  const [answer] = (await once(sending, "response")) as [IncomingMessage];
  const { localPort } = sending.socket!;
  return { status: answer.statusCode!, text: await textOf(answer), port: localPort! };
}

/** Two calls in a row, with bodies, on one connection. */
async function twice(url: string, options: RequestOptions = {}): Promise<Answer[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  try {
    const first = await post(url, agent, MIB, options);
    const second = await post(url, agent, MIB, options);
    assert.is(second.port, first.port, "on one connection");
    return [first, second];
  } finally {
    agent.destroy();
  }
}

async function textOf(incoming: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of incoming) text += String(chunk);
  return text;
}

test("a call goes where its stream is, with its body, and its answer comes back", async () => {
  const { url } = await between((call, response) => {
    void textOf(call).then((text) => {
      response.writeHead(207, { "x-own": "1", connection: "close", "content-type": "text/plain" });
      const { connection: _, ...headers } = call.headers;
      response.end(JSON.stringify({ text, method: call.method, path: call.url, headers }));
    });
  });
  const answer = await fetch(`${url}/v1/streams/there/records?x=a%20b`, {
    method: "POST",
    body: "rows\n",
    headers: { authorization: "Bearer t", origin: "http://a", "content-type": "text/csv" },
  });
  assert.is(answer.status, 207);
  assert.is(answer.headers.get("x-own"), "1");
  assert.match(answer.headers.get("hallelujah-served-by")!, /^http:/);
  const { text, method, path, headers } = (await answer.json()) as Record<string, string> & {
    headers: Record<string, string>;
  };
  assert.equal([text, method, path], ["rows\n", "POST", "/v1/streams/there/records?x=a%20b"]);
  assert.equal([headers.authorization, headers["hallelujah-via"]], ["Bearer t", "a"]);
  assert.not(headers.origin, "it was checked by the first host");
  assert.not.match(url, headers.host);
});

test("an answer that is passed on names the host that gave it, not those that this one knows", async () => {
  const { url } = await between((_, response) => {
    response.setHeader("hallelujah-hosts", "http://first");
    response.end();
  });
  const { headers } = await fetch(`${url}/v1/streams/there`);
  assert.match(headers.get("hallelujah-served-by")!, /^http:..127/);
  assert.is(headers.get("hallelujah-hosts"), headers.get("hallelujah-served-by"));
});

test("what is here, is of no stream, or was passed on once goes no further", async () => {
  const { url } = await between((_, response) => response.end("there"));
  const get = async (path: string, options: RequestInit = {}) => (await fetch(url + path, options)).text();
  assert.is(await get("/v1/streams/there"), "there");
  assert.is(await get("/v1/streams/here"), "here");
  assert.is(await get("/v1/streams/neither"), "here");
  assert.is(await get("/v1/streams"), "here");
  assert.is(await get("/v1/hosts"), "here");
  assert.is(await get("/v1/streams/%e0%a4"), "here", "what is no name is refused as it always is");
  assert.is(await get("/v1/streams/there", { headers: { "hallelujah-via": "c" } }), "here");
  const put = { method: "PUT", body: "kernel" };
  assert.is(await get("/v1/streams/new?from=there", put), "there");
  assert.is(await get("/v1/streams/new?from=here", put), "here");
  assert.is(await get("/v1/streams/new", put), "here");
});

test("rows come as they are sent, and the other host hears when their client leaves", async () => {
  let left = () => {};
  const hasLeft = new Promise<void>((done) => {
    left = done;
  });
  const { url, errors } = await between((_, response) => {
    response.write("1\n");
    response.once("close", left);
  });
  const stop = new AbortController();
  const answer = await fetch(`${url}/v1/streams/there/output`, { signal: stop.signal });
  const { value } = await answer.body!.getReader().read();
  assert.is(Buffer.from(value!).toString(), "1\n");
  stop.abort();
  await hasLeft;
  assert.equal(errors, []);
});

test("a client that leaves while it sends is not waited for", async () => {
  let came = () => {};
  const hasCome = new Promise<void>((done) => {
    came = done;
  });
  let left = () => {};
  const hasLeft = new Promise<void>((done) => {
    left = done;
  });
  const { url, errors } = await between((call) => {
    call.once("close", left);
    call.once("data", came);
  });
  const sending = request(`${url}/v1/streams/there/records`, { method: "POST" });
  sending.on("error", () => {});
  sending.write("half a row");
  await hasCome;
  sending.destroy();
  await hasLeft;
  assert.equal(errors, []);
});

test("a host that does not answer, or breaks off, is said to be lost; an answer that breaks off breaks off", async () => {
  const { url, errors } = await between((call, response) => {
    if (call.url!.endsWith("half")) response.write("half", () => response.destroy());
    else call.destroy();
  });
  assert.is((await fetch(`${url}/v1/streams/there`)).status, 503);
  assert.equal(errors, ["host-lost"]);
  const half = await fetch(`${url}/v1/streams/there/half`);
  assert.is(
    await half.text().then(
      () => "whole",
      () => "broken",
    ),
    "broken",
  );
  await gone(servers[0]);
  assert.is((await fetch(`${url}/v1/streams/there`)).status, 503);
  assert.equal(errors, ["host-lost", "host-lost"]);
});

test("calls end when the cluster loses the other host, which closes no connection", async () => {
  let came = () => {};
  const hasCome = new Promise<void>((done) => {
    came = done;
  });
  const { url, errors, hear } = await between((call, response) => {
    if (call.url!.endsWith("output")) response.write("1\n");
    else call.on("data", () => {}).once("end", came);
  });
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const answer = await fetch(`${url}/v1/streams/there/output`, { signal });
  const agent = new Agent();
  const posting = post(`${url}/v1/streams/there/records`, agent);
  await hasCome;
  hear("up");
  assert.equal(errors, [], "it is still there");
  hear("lost");
  const { status, text } = await posting;
  agent.destroy();
  assert.equal([status, (JSON.parse(text) as { code: string }).code], [503, "host-lost"]);
  assert.equal(errors, ["host-lost"]);
  const broken = await answer.text().catch(({ name }: Error) => name);
  assert.is(broken, "TypeError", "it breaks off before its client gives up");
});

test("what is refused before it was sent whole is refused here, too, and the next call is heard", async () => {
  const { url } = await between((call, response) => {
    response.writeHead(413).end("too much");
    call.resume();
  });
  const answer = await fetch(`${url}/v1/streams/there/records`, {
    method: "POST",
    body: Buffer.alloc(32 << 20),
  });
  assert.equal([answer.status, await answer.text()], [413, "too much"]);
  for (const headers of [{}, { "transfer-encoding": "chunked" }]) {
    const answers = await twice(`${url}/v1/streams/there/records`, { headers });
    for (const { status, text } of answers) assert.equal([status, text], [413, "too much"]);
  }
});

test("a call with a body for a host that is gone is refused at once, and so is the next one", async () => {
  const { url, errors } = await between(() => {});
  await gone(servers[0]);
  const answers = await twice(`${url}/v1/streams/there/records`);
  assert.equal(
    answers.map(({ status }) => status),
    [503, 503],
  );
  assert.equal(errors, ["host-lost", "host-lost"]);
});

test("a client that goes on sending what was answered loses its connection", async () => {
  const { url } = await between((_, response) => response.writeHead(404, { connection: "close" }).end());
  const socket = connect(Number(new URL(url).port), "127.0.0.1");
  socket.on("error", () => {});
  socket.write("POST /v1/streams/there/records HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nhalf");
  const [answer] = (await once(socket, "data")) as [Buffer];
  assert.match(String(answer), /^HTTP\/1.1 404 /);
  socket.resume();
  const trickle = setInterval(() => socket.write("row\n"), 100);
  await once(socket, "close", { signal: AbortSignal.timeout(PATIENCE_MS) }).finally(() => {
    clearInterval(trickle);
    socket.destroy();
  });
});

test.run();
