/** Clients that mean no good, or know no better, at a real host: each is refused or cut off, and nobody else notices. */
import { readdirSync, readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { TableRow } from "../../host/client/rows.ts";
import { buildKernel } from "../../host/compiler/cache.ts";
import { withSections } from "../../host/compiler/descriptor.ts";
import { Problem } from "../../host/wire/http.ts";
import { drained, startHost, type TestHost, until } from "./host.ts";

const test = suite("flow/hostile: clients that do harm");
const stations = readFileSync("examples/stations.ts", "utf8");
const MiB = 2 ** 20;
/** Half of its files are for connections. */
const OPEN_FILES = 400;
const CONNECTIONS = OPEN_FILES / 2;

let host: TestHost;
/** What the well-behaved stream was sent, by station. */
const sent = new Map<string, number>();
test.before(async () => {
  host = await startHost({ cpus: 2, openFiles: OPEN_FILES });
  await host.client.deploy("calm", { kernel: stations });
});
test.after(async () => {
  assert.is(await host.stop(), 0);
});

/** After each of these things the host answers as before. */
function rule(name: string, work: () => Promise<void>): void {
  test(name, async () => {
    await work();
    await behaves();
  });
}

const call = (path: string, options: RequestInit = {}) => fetch(host.url + path, options);

/** Status and code of a refusal. */
async function refused(response: Response): Promise<[number, string]> {
  assert.not.ok(response.ok, `${response.url} was answered`);
  assert.is(response.headers.get("content-type"), "application/problem+json");
  const { status, code, detail } = Problem.parse(await response.json());
  assert.is(status, response.status);
  assert.not.match(detail, "/tmp/");
  return [status, code];
}

const records = (headers: Record<string, string>, body: BodyInit) => ({
  method: "POST",
  headers: { "content-type": "application/x-ndjson", ...headers },
  body,
});

/** A connection, and what came over it. */
class Raw {
  readonly socket: Socket;
  answer = "";
  readonly ended: Promise<string>;

  constructor(text: string | Uint8Array) {
    this.socket = connect(Number(new URL(host.url).port), "127.0.0.1");
    this.socket.on("data", (chunk) => (this.answer += chunk));
    this.socket.on("error", () => {});
    this.ended = new Promise((done) => this.socket.on("close", () => done(this.answer)));
    if (text.length) this.socket.write(text);
  }

  /** Writes a text again and again, slowly, until it is cut off. */
  async drip(text: string): Promise<string> {
    while (!this.socket.destroyed) {
      this.socket.write(text, "latin1");
      await sleep(200);
    }
    return this.ended;
  }

  get problem(): [number, string] {
    const found = /^HTTP\/1\.1 (\d+)[^]*application\/problem\+json[^]*"code":"([\w-]+)"/.exec(this.answer);
    assert.ok(found, `no problem: ${this.answer.slice(0, 300)}`);
    return [Number(found[1]), found[2]];
  }
}

async function answerOf(text: string | Uint8Array): Promise<Raw> {
  const raw = new Raw(text);
  await raw.ended;
  return raw;
}

const head = (line: string, ...headers: string[]) =>
  [`${line} HTTP/1.1`, "host: localhost", ...headers, "", ""].join("\r\n");
const post = (...headers: string[]) =>
  head("POST /v1/streams/calm/records", "content-type: application/x-ndjson", ...headers);

/** A push and a query as anybody makes them; the answer is right. */
async function behaves(): Promise<void> {
  const rows = Array.from({ length: 50 }, (_, i) => ({ station: `s${i % 5}`, temperature: i }));
  for (const { station } of rows) sent.set(station, (sent.get(station) ?? 0) + 1);
  await host.client.push("calm", rows);
  await until(host.client, "calm", drained);
  const all = await (await host.client.query<TableRow>("calm", "stations")).all();
  const counts = all.map(({ key, temperature }) => [key, (temperature as { count: number }).count]);
  assert.equal(new Map(counts as [string, number][]), sent);
}

async function residentBytes(): Promise<number> {
  return (await host.client.host()).memoryBytes;
}

rule("slow clients are cut off, each with its reason, and others are served meanwhile", async () => {
  await host.client.deploy("large", { kernel: stations });
  const names = Array.from({ length: 150_000 }, (_, i) => `{"station":"station ${i}","temperature":1}\n`);
  await host.client.push("large", names.join(""));
  await until(host.client, "large", drained);

  const get = new Raw(head("GET /v1/streams/large/tables/stations"));
  get.socket.pause(); // never takes its rows
  const silent = new Raw("");
  const header = new Raw("GET /v1/streams HTTP/1.1\r\nhost: localhost\r\n");
  const stalled = new Raw(`${post("content-length: 1000")}{"station"`);
  const body = new Raw(post("content-length: 10000"));
  const change = new Raw(
    head("PATCH /v1/streams/calm", "content-type: application/json", "content-length: 10000"),
  );
  // Empty blocks (RFC 1951, 3.2.4), which come to nothing.
  const start = gzipSync("").subarray(0, 10);
  const empty = new Raw(post("content-encoding: gzip", "transfer-encoding: chunked"));
  empty.socket.write(Buffer.concat([Buffer.from("a\r\n"), start, Buffer.from("\r\n")]));
  const cut = Promise.all([
    silent.ended,
    header.drip("x: y\r\n"),
    stalled.ended,
    body.drip(" "),
    change.drip(" "),
    empty.drip("5\r\n\0\0\0\xff\xff\r\n"),
  ]);
  let over = false;
  void cut.finally(() => {
    over = true;
  });
  for (let i = 0; i < 1000 && !over; i++) {
    await behaves();
    await sleep(100);
  }
  await cut;
  for (const each of [header, stalled, body, change, empty])
    assert.equal(each.problem, [408, "request-timeout"]);

  // Whoever waited behind the one that did not read goes on.
  await host.client.push("large", [{ station: "one more", temperature: 1 }]);
  await until(host.client, "large", drained);
  const { frame } = await host.client.query("large", "stations", { key: "one more" });
  assert.is(frame, (await host.client.stream("large")).frames);
  get.socket.resume();
  assert.not.match((await get.ended).slice(-10), /\r\n0\r\n\r\n$/); // it breaks off
  await host.client.remove("large");
});

rule("asking for the headers of an answer keeps nothing from others", async () => {
  for (const path of ["/tables/stations", "/output?from=0", ""]) {
    for (let i = 0; i < 3; i++)
      assert.is((await call(`/v1/streams/calm${path}`, { method: "HEAD" })).status, 200);
  }
});

rule("more connections than the host takes: those that are idle for longest give way", async () => {
  const stop = new AbortController();
  const logs = host.client.logs({ follow: true, lines: 1, signal: stop.signal })[Symbol.asyncIterator]();
  assert.ok((await logs.next()).value);
  const idle = Array.from({ length: CONNECTIONS * 2 }, () => new Raw(""));
  const isOpen = ({ socket }: Raw) => !socket.destroyed;
  for (let i = 0; i < 500 && idle.filter(isOpen).length >= CONNECTIONS; i++) await sleep(20);
  const open = idle.filter(isOpen).length;
  assert.ok(open > 0 && open < CONNECTIONS, String(open));
  await behaves();
  // The one that is at work is still there.
  for (const paused of [true, false]) await host.client.change("calm", { paused });
  while (!/calm is paused/.test(String((await logs.next()).value!.msg)));
  stop.abort();
  for (const { socket } of idle) socket.destroy();
});

rule("subscribers that never read take no memory, and stop nothing", async () => {
  const kernel = `import { Text, out } from "hallelujah";
@record class Line { word: Text }
@record class Word { word: Text }
export function each(line: Line): void {
  const word = new Word();
  word.word = line.word;
  out.emit(word);
}`;
  await host.client.deploy("words", { kernel });
  const subscribers = Array.from({ length: 40 }, (_, i) => {
    const raw = new Raw(
      head("GET /v1/streams/words/output?from=0", ...(i % 2 ? ["accept: text/event-stream"] : [])),
    );
    raw.socket.pause();
    return raw;
  });
  const before = await residentBytes();
  const line = `{"word":"${"x".repeat(990)}"}\n`;
  const count = 20_000;
  for (let i = 0; i < 10; i++) await host.client.push("words", line.repeat(count / 10));
  await until(host.client, "words", drained);
  let rows = 0;
  for await (const { sequence } of host.client.output("words", { from: 0 })) {
    assert.is(sequence, rows++);
    if (rows === count) break;
  }
  const grown = (await residentBytes()) - before;
  assert.ok(grown < 300 * MiB, `${Math.round(grown / MiB)} MiB`); // all of it for each would be 800 MiB
  for (const { socket } of subscribers) socket.destroy();
  await host.client.remove("words");
});

rule("bodies that are too large are refused, however they come, and take no memory", async () => {
  const before = await residentBytes();
  const path = "/v1/streams/calm/records";
  const bomb = gzipSync(Buffer.alloc(256 * MiB), { level: 1 });
  const gzip = { "content-encoding": "gzip" };
  const typescript = { method: "PUT", headers: { "content-type": "text/typescript", ...gzip }, body: bomb };
  for (let i = 0; i < 3; i++) {
    const answers = await Promise.all([
      call(path, records(gzip, bomb)),
      call(path, records(gzip, bomb)),
      call("/v1/streams/bomb", typescript),
      call("/v1/streams/calm", {
        method: "PATCH",
        headers: { "content-type": "application/json", ...gzip },
        body: bomb,
      }),
    ]);
    for (const answer of answers) assert.equal(await refused(answer), [413, "body-too-large"]);
  }
  // Refused while it is on its way, and the client learns why.
  for (let i = 0; i < 5; i++) {
    const large = new Uint8Array(20 * MiB).fill(0x20);
    assert.equal(await refused(await call(path, records({}, large))), [413, "body-too-large"]);
    const chunked = new Blob([large]).stream();
    const options = { ...records({}, chunked), duplex: "half" };
    assert.equal(await refused(await call(path, options)), [413, "body-too-large"]);
  }
  assert.equal(await refused(await call(path, records({ "content-encoding": "br" }, "x"))), [
    415,
    "media-type",
  ]);
  assert.equal(await refused(await call(path, records({ "content-encoding": "zstd" }, "x"))), [
    415,
    "media-type",
  ]);
  const grown = (await residentBytes()) - before;
  assert.ok(grown < 400 * MiB, `${Math.round(grown / MiB)} MiB`);
});

rule("all bodies together take no more memory than is set aside for them", async () => {
  const chunk = Buffer.alloc(15 * MiB, " ");
  const open = Array.from({ length: 60 }, () => {
    const raw = new Raw(post("transfer-encoding: chunked"));
    raw.socket.write(`${chunk.length.toString(16)}\r\n`);
    raw.socket.write(chunk); // 900 MiB, and none is whole
    return raw;
  });
  for (let i = 0; i < 1000 && !open.some(({ answer }) => answer); i++) await sleep(20);
  const busy = open.find(({ answer }) => answer)!;
  assert.equal(busy.problem, [503, "busy"]);
  assert.match(busy.answer, /retry-after: 1/i);
  assert.ok((await residentBytes()) < 800 * MiB);
  for (const { socket } of open) socket.destroy();
});

rule("bodies that are not what they say are refused, or their records left out", async () => {
  const push = async (body: string | Uint8Array, type: string, more: Record<string, string> = {}) =>
    refused(
      await call("/v1/streams/calm/records", records({ "content-type": type, ...more }, body as string)),
    );
  const ndjson = "application/x-ndjson";
  const noise = Buffer.from(Array.from({ length: 50_000 }, (_, i) => (i * 7919 + (i >> 3)) & 0xff));
  const gzipped = gzipSync('{"station":"a","temperature":1}\n');
  for (const [body, type, code] of [
    [noise, ndjson, "body-invalid"],
    [noise, "text/csv", "body-invalid"],
    [gzipped, ndjson, "body-invalid"],
    ['[{"station":"a","temperature":1}]', ndjson, "body-invalid"],
    [Buffer.from('\ufeff{"station":"a"}\n', "utf16le"), ndjson, "body-invalid"],
    ["station;temp\n1;2\n", "text/csv", "body-invalid"],
    ["a line\n", "text/plain", "body-invalid"],
    ["<xml/>", "application/xml", "media-type"],
    [`station,temperature\n"${"x\n".repeat(500_000)}",1\n`, "text/csv", "record-too-large"],
    [`{"station":"${"x".repeat(600_000)}"}\n`, ndjson, "record-too-large"],
  ] as const) {
    const [, found] = await push(body, type).catch((error: unknown) => [0, String(error)]);
    assert.is(found, code, String(body.slice(0, 40)));
  }
  assert.equal(await push(gzipped.subarray(0, 20), ndjson, { "content-encoding": "gzip" }), [
    400,
    "bad-request",
  ]);
  await host.client.deploy("odd", { kernel: stations });
  const odd = [
    `{"station":${"[".repeat(200_000)}\n`,
    `{"station":"a","x":${'{"a":'.repeat(50_000)}1${"}".repeat(50_000)}}\n`,
    '{"station":"a","temperature":1e999999}\n{"temperature":-}\n{"station":"\\ud800","temperature":"\\u0000"}\n',
    `${"{}\n".repeat(100_000)}${"\0".repeat(300_000)}\n`,
    `{\n${"}\n".repeat(1000)}`,
  ];
  for (const body of odd) await host.client.push("odd", body);
  await host.client.push("odd", `station,temperature\n"${"x\n".repeat(500_000)}`, { format: "csv" });
  await host.client.push("odd", [{ station: "good", temperature: 1 }]);
  const { deadLetters, badRecords } = await until(host.client, "odd", drained);
  assert.is(deadLetters, 0);
  assert.ok(badRecords > 1000);
  assert.is((await (await host.client.query("odd", "stations", { key: "good" })).all()).length, 1);
  await host.client.remove("odd");
});

/** A module by hand: the types of one function, and sections behind them (WebAssembly core spec, 5.5). */
function moduleOf(...sections: [number, number[]][]): Uint8Array {
  const types: [number, number[]] = [1, [1, 0x60, 0, 0]];
  const bytes = [types, ...sections].flatMap(([id, body]) => [id, body.length, ...body]);
  return Buffer.concat([Buffer.from("\0asm\x01\0\0\0"), Buffer.from(bytes)]);
}
const text = (value: string) => [value.length, ...Buffer.from(value)];
const importOf = (from: string, name: string, ...kind: number[]): [number, number[]] => [
  2,
  [1, ...text(from), ...text(name), ...kind],
];
/** A function that does nothing, exported as `start`. */
const START: [number, number[]][] = [
  [3, [1, 0]],
  [7, [1, ...text("start"), 0, 0]],
  [10, [1, 2, 0, 0x0b]],
];

rule(
  "modules that are no kernels of this host are refused with a code, and leave nothing behind",
  async () => {
    const { path, descriptor } = await buildKernel("examples/stations.ts");
    const wasm = readFileSync(path);
    const described = (module: Uint8Array, more: unknown) =>
      withSections(module, { hallelujah: JSON.stringify(more) });
    const noise = Buffer.from(Array.from({ length: 5000 }, (_, i) => (i * 31 + (i >> 2)) & 0xff));
    const magic = wasm.subarray(0, 8);
    const good = moduleOf(...START);
    const invalid: Record<string, Uint8Array> = {
      empty: new Uint8Array(0),
      noise,
      "noise behind the magic number": Buffer.concat([magic, noise]),
      "no kernel": good,
      "a section that is no JSON": withSections(good, { hallelujah: "{" }),
      "a section that says nothing": described(good, null),
      "a section that is a list": described(good, []),
      "only the version": described(good, { abi: descriptor.abi }),
      "tables that are none": described(good, { ...descriptor, tables: [{ name: 1 }] }),
      "broken code": described(Buffer.concat([good.slice(0, 20), noise]), descriptor),
      "files of WASI": described(
        moduleOf(importOf("wasi_snapshot_preview1", "fd_write", 0, 0), ...START),
        descriptor,
      ),
      "another function of env": described(moduleOf(importOf("env", "seed", 0, 0), ...START), descriptor),
      "a name that every object has": described(
        moduleOf(importOf("env", "toString", 0, 0), ...START),
        descriptor,
      ),
      "a memory that is a function": described(
        moduleOf(importOf("env", "memory", 0, 0), ...START),
        descriptor,
      ),
      "no function": described(moduleOf(), descriptor),
    };
    for (const part of [0.1, 0.5, 0.9, 0.999])
      invalid[`${part} of a kernel`] = wasm.subarray(0, Math.floor(wasm.length * part));
    const deploy = (body: Uint8Array) =>
      call("/v1/streams/foreign", {
        method: "PUT",
        headers: { "content-type": "application/wasm" },
        body: new Uint8Array(body),
      });
    for (const [what, module] of Object.entries(invalid)) {
      const [status, code] = await refused(await deploy(module));
      assert.equal([status, code], [400, "kernel-invalid"], what);
    }
    for (const abi of [0, descriptor.abi + 1, 1e9]) {
      const foreign = described(good, { ...descriptor, abi });
      assert.equal(await refused(await deploy(foreign)), [400, "kernel-version"]);
    }
    assert.equal(
      (await host.client.streams()).map(({ name }) => name),
      ["calm"],
    );
    assert.equal(readdirSync(`${host.data}/streams`), ["calm"]);

    // One that lies about what it holds is its own stream's trouble.
    assert.is((await deploy(described(good, descriptor))).status, 201);
    const { error } = await until(host.client, "foreign", ({ state }) => state === "failed");
    assert.ok(error);
    await host.client.remove("foreign");
    // The one that it was made from is taken.
    assert.is((await deploy(wasm)).status, 201);
    await host.client.remove("foreign");
  },
);

rule("sources that do not compile, or have no end, are refused with a code", async () => {
  const deploy = async (kernel: string, i: number) =>
    refused(
      await call(`/v1/streams/source-${i}?file=mine.ts`, {
        method: "PUT",
        headers: { "content-type": "text/typescript" },
        body: kernel,
      }),
    );
  const each = "export function each(line: Line): void";
  const record = 'import { Text } from "hallelujah";\n@record class Line { word: Text }\n';
  const endless = `${record}function f<T>(): void { f<Array<T>>(); }\n${each} { f<u8>(); }`;
  const sources = [
    "",
    "(".repeat(100_000),
    `${record}import * as fs from "fs";\n${each} {}`,
    `${record}@external("env", "seed") declare function seed(): f64;\n${each} { seed(); }`,
    `${record}${each} { load<u8>(0); }`,
    endless,
  ];
  const answers = await Promise.all(sources.map(deploy));
  for (const [i, [status, code]] of answers.entries()) {
    assert.is(status, 400, sources[i].slice(0, 80));
    assert.ok(["kernel-invalid", "compiler-failed"].includes(code), code);
  }
});

rule("names that are none, and streams and tables that are not there", async () => {
  const wasm = { method: "PUT", headers: { "content-type": "application/wasm" }, body: "x" };
  for (const name of [
    "A",
    "a_b",
    "a.b",
    "x".repeat(64),
    "a%2Fb",
    "%2e%2e%2fregistry",
    "%00",
    "%C3%A9",
    "a%0A",
    "%20",
  ]) {
    const path = `/v1/streams/${name}`;
    const [status, code] = await refused(await call(path, wasm));
    assert.is(status, 400, name);
    assert.ok(["stream-name-invalid", "bad-request"].includes(code), code);
    for (const [suffix, options] of [
      ["", {}],
      ["", { method: "DELETE" }],
      ["/records", records({}, "{}\n")],
      ["/tables/stations", {}],
      ["/output", {}],
    ] as const)
      assert.equal(await refused(await call(path + suffix, options)), [404, "stream-unknown"], name + suffix);
  }
  for (const name of ["..", "%2e%2e", "", "__proto__", "constructor"]) {
    const { problem } = await answerOf(head(`DELETE /v1/streams/${name}`, "connection: close"));
    assert.ok(problem[0] === 404 || problem[0] === 405, name);
  }
  for (const table of ["none", "__proto__", "constructor", "%00", "x".repeat(5000)])
    assert.equal(await refused(await call(`/v1/streams/calm/tables/${table}`)), [404, "table-unknown"]);
  assert.equal(
    await refused(
      await call("/v1/streams/next?from=nobody", {
        ...wasm,
        body: readFileSync((await buildKernel("examples/stations.ts")).path),
      }),
    ),
    [404, "stream-unknown"],
  );
  assert.equal(readdirSync(`${host.data}/streams`), ["calm"]);
});

rule("requests that are hardly HTTP get a problem, and the next one is served", async () => {
  const close = "connection: close";
  for (const [request, code] of [
    [head("GET /v1/../v1/nothing", close), "not-found"],
    [head("GET //", close), "not-found"],
    [head("GET /\\v1", close), "bad-request"],
    [head("FROB /v1/streams", close), "bad-request"],
    [head("OPTIONS /v1/streams", close), "method-not-allowed"],
    [head("OPTIONS *", close), "bad-request"],
    [head("GET /v1/streams", "transfer-encoding: nonsense", close), "bad-request"],
    [`${post("transfer-encoding: chunked", close)}zz\r\n`, "bad-request"],
    [`${post("content-length: 1", "content-length: 2", close)}x`, "bad-request"],
    [`${post("content-length: -1", close)}x`, "bad-request"],
    [head("GET /v1/streams?\0", close), "bad-request"],
    [`GET /v1/streams HTTP/1.1\r\nhost: localhost:x@y\r\n${close}\r\n\r\n`, "misdirected"],
    [`GET /v1/streams HTTP/1.0\r\n\r\n`, "misdirected"],
    [`GET ${host.url}/v1/nothing HTTP/1.1\r\nhost: localhost\r\n${close}\r\n\r\n`, "not-found"],
    [Buffer.from(Array.from({ length: 1000 }, (_, i) => (i * 131) & 0xff)), "bad-request"],
  ] as const)
    assert.is((await answerOf(request)).problem[1], code, String(request).slice(0, 60));
});

test.run();
