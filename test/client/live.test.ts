import { readFileSync } from "node:fs";
import { createServer, type Server as HttpServer } from "node:http";
import {
  type AddressInfo,
  connect as dial,
  createServer as createTcp,
  type Server,
  type Socket,
} from "node:net";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { connect, type Hallelujah } from "../../host/client/live.ts";
import { buildKernel } from "../../host/compiler/cache.ts";
import { HallelujahError } from "../../host/core/errors.ts";
import { kernelOf } from "../run.ts";
import { drained, startHost, type TestHost, until } from "../flow/host.ts";

const test = suite("client/live: connect()");
const ECHO = `import { Text, out } from "hallelujah";
@record class Reading { station: Text; temperature: f64 }
export function each(reading: Reading): void { out.emit(reading); }`;

interface Reading {
  station: string;
  temperature: number;
}

/** A way to the host that can be cut. */
class Wire {
  readonly sockets = new Set<Socket>();
  /** The next answer is lost: the connection is cut when its first byte comes. */
  loseAnswer = false;
  lost = 0;
  private readonly server: Server;

  constructor(target: string) {
    const { hostname, port } = new URL(target);
    this.server = createTcp((near) => {
      const far = dial(Number(port), hostname);
      for (const socket of [near, far]) {
        this.sockets.add(socket);
        socket.on("error", () => {});
        socket.on("close", () => {
          this.sockets.delete(socket);
          near.destroy();
          far.destroy();
        });
      }
      near.pipe(far);
      far.on("data", (chunk) => {
        if (!this.loseAnswer) return void near.write(chunk);
        this.loseAnswer = false;
        this.lost++;
        near.destroy();
      });
    });
  }

  async open(): Promise<string> {
    await new Promise<void>((done) => this.server.listen(0, "127.0.0.1", done));
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  cut(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  close(): void {
    this.server.close();
    this.cut();
  }
}

let host: TestHost;
/** Modules, so that nothing is compiled at each deploy. */
let stations: Uint8Array;
let echo: Uint8Array;
let wire: Wire;
let client: Hallelujah;
test.before(async () => {
  stations = readFileSync((await buildKernel("examples/stations.ts")).path);
  echo = readFileSync((await buildKernel(kernelOf("echo", ECHO))).path);
  host = await startHost({ cpus: 2, env: { HALLELUJAH_TOKEN: "a-long-token" } });
  wire = new Wire(host.url);
  client = connect({ url: `${await wire.open()}/`, token: "a-long-token" });
});
test.after(async () => {
  wire.close();
  assert.is(await host.stop(), 0);
});

/** A server that is no host. */
async function served(
  answer: Parameters<typeof createServer>[1] & {},
  use: (client: Hallelujah) => Promise<void>,
): Promise<void> {
  const server: HttpServer = createServer(answer);
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  try {
    await use(connect({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }));
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

/** What a call rejects with. */
async function thrown(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => assert.unreachable("it did not fail"),
    (error: unknown) => error,
  );
}

async function failure(work: Promise<unknown>): Promise<HallelujahError> {
  const error = await thrown(work);
  assert.instance(error, HallelujahError);
  return error as HallelujahError;
}

async function all<T>(items: AsyncIterable<T>, count = Infinity): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) {
    found.push(item);
    if (found.length >= count) break;
  }
  return found;
}

const readings = (count: number, temperature: number): Reading[] =>
  Array.from({ length: count }, (_, i) => ({ station: `s${i % 10}`, temperature }));

test("each call gives what its type says", async () => {
  const kernel = readFileSync("examples/stations.ts", "utf8");
  const deployed = await client.deploy("weather", { kernel, file: "stations.ts", max: 2 });
  assert.equal([deployed.name, deployed.kernel, deployed.max], ["weather", "stations.ts", 2]);
  assert.equal(deployed.tables, ["stations"]);
  const progress: number[] = [];
  const { bytes, bodies, sequence, producer } = await client.push("weather", readings(100, 3), {
    onProgress: (each) => progress.push(each.bytes),
  });
  assert.equal([bodies, sequence, progress], [1, 1, [bytes]]);
  assert.match(producer, /^[\w-]{32,36}$/);
  const stream = await until(client, "weather", drained);
  assert.is(stream.records, 100);
  const rows = await client.query<{ key: string; temperature: { count: number } }>("weather", "stations", {
    order: "-key",
    limit: 2,
  });
  assert.is(rows.frame, stream.frame);
  assert.equal(
    (await rows.all()).map(({ key, temperature }) => [key, temperature.count]),
    [
      ["s9", 10],
      ["s8", 10],
    ],
  );
  assert.is((await all(await client.query("weather", "stations", { key: "s1" }))).length, 1);
  assert.equal(
    (await client.streams()).map(({ name }) => name),
    ["weather"],
  );
  assert.is((await client.host()).cpus.total, 2);
  assert.ok((await client.jahs()).every((jah) => jah.stream === "weather"));
  assert.is((await client.change("weather", { max: 1 })).max, 1);
  assert.is((await client.stream("weather")).retain, "applied");
  assert.is((await client.change("weather", { retain: "7d" })).retain, "7d");
  assert.ok((await all(client.logs({ stream: "weather" }))).every((line) => line.stream === "weather"));
  await client.remove("weather");
  assert.equal(await client.streams(), []);
});

test("records may be text, bytes, objects, or a stream of them", async () => {
  await client.deploy("kinds", { kernel: stations });
  const line = '{"station":"a","temperature":1}\n';
  async function* later() {
    yield { station: "a", temperature: 1 };
    yield line;
    yield Buffer.from(line);
  }
  await client.push("kinds", line);
  await client.push("kinds", Buffer.from(line));
  await client.push("kinds", new Blob([line, line]).stream() as ReadableStream<Uint8Array>);
  await client.push("kinds", later());
  await client.push("kinds", "a;1\na;1\n", {
    format: "csv",
    delimiter: ";",
    columns: ["station", "temperature"],
  });
  const { records } = await until(client, "kinds", drained);
  assert.is(records, 9);
  await client.remove("kinds");
});

test("an output goes on behind the last row when its connection is cut", async () => {
  await client.deploy("echo", { kernel: echo });
  await client.push("echo", readings(2000, 1));
  const sequences: number[] = [];
  for await (const { sequence, row } of client.output<Reading>("echo", { from: 10 })) {
    sequences.push(sequence);
    assert.is(row.temperature, sequence < 2000 ? 1 : 2);
    if (sequence % 500 === 0) wire.cut();
    if (sequence === 1999) await client.push("echo", readings(500, 2));
    if (sequence === 2499) break;
  }
  assert.equal(
    sequences,
    Array.from({ length: 2490 }, (_, i) => 10 + i),
  );
  await client.remove("echo");
});

test("an output ends with its stream", async () => {
  await client.deploy("short", { kernel: echo });
  await client.push("short", readings(1, 1));
  const rows = client.output("short", { from: 0 });
  await rows.next();
  const next = failure(rows.next());
  await client.remove("short");
  assert.is((await next).code, "stream-unknown");
});

test("a body whose answer is lost is sent again, and stored once", async () => {
  await client.deploy("once", { kernel: stations });
  const lines = Array.from({ length: 60_000 }, (_, i) => `{"station":"s${i % 10}","temperature":${i}}\n`);
  const { bodies } = await client.push("once", lines.join(""), {
    onProgress: () => {
      wire.loseAnswer = true;
    },
  });
  wire.loseAnswer = false;
  assert.ok(bodies >= 3);
  assert.is(wire.lost, bodies - 1);
  const { records } = await until(client, "once", drained);
  assert.is(records, lines.length);
  await client.remove("once");
});

test("a push that was given up goes on under its producer's name", async () => {
  await client.deploy("resumed", { kernel: stations });
  const lines = Array.from({ length: 120_000 }, (_, i) => `{"station":"s${i % 10}","temperature":${i}}\n`);
  const stop = new AbortController();
  const reason = new Error("enough");
  const given = client.push("resumed", lines, {
    producer: "loader",
    signal: stop.signal,
    onProgress: ({ sequence }) => sequence === 2 && stop.abort(reason),
  });
  assert.is(await thrown(given), reason);
  // Other chunks, the same bytes: the bodies are the same, and the first two are passed over.
  const { bodies } = await client.push("resumed", lines.join(""), { producer: "loader" });
  assert.ok(bodies > 3);
  const { records } = await until(client, "resumed", drained);
  assert.is(records, lines.length);
  await client.remove("resumed");
});

test("every call ends with its signal, before and while it runs", async () => {
  await client.deploy("waiting", { kernel: echo });
  const reason = new Error("enough");
  const calls: ((signal: AbortSignal) => Promise<unknown>)[] = [
    (signal) => client.deploy("other", { kernel: stations, signal }),
    (signal) => client.streams({ signal }),
    (signal) => client.stream("waiting", { signal }),
    (signal) => client.host({ signal }),
    (signal) => client.jahs({ signal }),
    (signal) => client.change("waiting", { max: 1 }, { signal }),
    (signal) => client.remove("waiting", { signal }),
    (signal) => client.push("waiting", readings(1, 1), { signal }),
    (signal) => client.query("waiting", "none", { signal }),
    (signal) => client.output("waiting", { signal }).next(),
    (signal) => client.output("waiting", { from: 0, signal }).next(),
    (signal) => all(client.logs({ signal })),
    (signal) => all(client.tableBytes("waiting", "none", new URLSearchParams(), "text/csv", signal)),
  ];
  for (const call of calls) assert.is(await thrown(call(AbortSignal.abort(reason))), reason);

  async function* never(): AsyncGenerator<string> {
    yield '{"station":"a","temperature":1}\n';
    await new Promise(() => {});
  }
  const waiting: ((signal: AbortSignal) => Promise<unknown>)[] = [
    (signal) => client.push("waiting", never(), { signal }),
    (signal) => all(client.output("waiting", { signal })),
    (signal) => all(client.logs({ follow: true, signal })),
  ];
  for (const call of waiting) {
    const stop = new AbortController();
    const called = call(stop.signal);
    setTimeout(() => stop.abort(reason), 200);
    assert.is(await thrown(called), reason);
  }
  // A host that never answers, and one that is full.
  await served(
    () => {},
    async (silent) => {
      for (const call of [
        (signal: AbortSignal) => silent.host({ signal }),
        (signal: AbortSignal) => silent.push("weather", "{}\n", { signal }),
      ])
        assert.is(((await thrown(call(AbortSignal.timeout(50)))) as Error).name, "TimeoutError");
    },
  );
  await served(
    (request, response) => {
      request.resume();
      response.writeHead(429, { "retry-after": "60", "content-type": "application/problem+json" });
      response.end('{"code":"backlog-full","detail":"no room"}');
    },
    async (full) => {
      const pushed = full.push("weather", "{}\n", { signal: AbortSignal.timeout(300) });
      assert.is(((await thrown(pushed)) as Error).name, "TimeoutError");
    },
  );
  await client.remove("waiting");
});

test("errors carry the code of the problem", async () => {
  const { code, message } = await failure(client.stream("nobody"));
  assert.is(code, "stream-unknown");
  assert.match(message, /nobody/);
  await client.deploy("weather", { kernel: stations });
  const expected: [string, () => Promise<unknown>][] = [
    ["stream-unknown", () => client.push("nobody", "{}\n")],
    ["stream-unknown", () => client.output("nobody").next()],
    ["stream-unknown", () => client.output("nobody", { from: 0 }).next()],
    ["stream-exists", () => client.deploy("weather", { kernel: stations })],
    ["retain-invalid", () => client.deploy("kept", { kernel: stations, retain: "7x" })],
    ["retain-invalid", () => client.change("weather", { retain: "a while" })],
    ["table-unknown", () => client.query("weather", "station")],
    ["order-unknown", () => client.query("weather", "stations", { order: "size" })],
    ["capacity-invalid", () => client.change("weather", { min: 2, max: 1 })],
    ["bad-request", () => client.change("weather", { max: -1 })],
    ["body-invalid", () => client.push("weather", "nonsense\n")],
    ["unauthorized", () => connect({ url: host.url, token: "another-token" }).host()],
    ["host-unreachable", () => connect({ url: "http://127.0.0.1:1" }).host()],
  ];
  for (const [wanted, call] of expected) assert.is((await failure(call())).code, wanted);
  assert.equal(
    (await client.streams()).map(({ name }) => name),
    ["weather"],
  );
  await client.remove("weather");
});

test("what is no host, and an answer that breaks off, are said so", async () => {
  await served(
    (_, response) => response.writeHead(404).end("<html>"),
    async (other) => assert.is((await failure(other.host())).code, "host-unknown"),
  );
  await served(
    (_, response) => {
      response.writeHead(200, { "hallelujah-frame": "1", "content-length": "1000" });
      response.write('{"key":"a"}\n', () => setTimeout(() => response.destroy(), 50));
    },
    async (broken) => {
      assert.is((await failure(broken.host())).code, "connection-lost");
      const rows = (await broken.query("weather", "stations"))[Symbol.asyncIterator]();
      assert.equal((await rows.next()).value, { key: "a" });
      assert.is((await failure(rows.next())).code, "connection-lost");
      assert.is((await failure(all(broken.logs()))).code, "connection-lost");
    },
  );
});

test.run();
