import { connect, type Socket } from "node:net";
import { gzipSync } from "node:zlib";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { serve, type Serving } from "../../host/hallelu/api/server.ts";
import type { PushBody } from "../../host/hallelu/host.ts";
import { HostInfo, JahInfo, Problem, Pushed, StreamInfo } from "../../host/wire/http.ts";
import { fakeHost } from "./fake-host.ts";

const test = suite("host/hallelu/api");

/** What the host was asked for. */
const pushed: PushBody[] = [];

let reported: string[] = [];
const journal = { error: (_more: object, message: string) => void reported.push(message) };
let server: Serving;
let guarded: Serving;
let trusting: Serving;
test.before(async () => {
  server = await serve(fakeHost(pushed), { host: "127.0.0.1", port: 0 }, { journal });
  guarded = await serve(fakeHost(pushed), { host: "127.0.0.1", port: 0 }, { journal, token: "a-long-token" });
  trusting = await serve(fakeHost(pushed), { host: "127.0.0.1", port: 0 }, { journal, wasmVisits: true });
});
test.after(() => {
  server.close();
  guarded.close();
  trusting.close();
});
test.before.each(() => {
  pushed.length = 0;
  reported = [];
});

const call = (path: string, options: RequestInit = {}, base = server) => fetch(base.url + path, options);

async function refused(response: Response): Promise<[number, string]> {
  assert.is(response.headers.get("content-type"), "application/problem+json");
  const problem = Problem.parse(await response.json());
  assert.is(problem.status, response.status);
  return [response.status, problem.code];
}

/** Sends bytes as they are; what comes back until the connection ends. */
function raw(text: string): Promise<string> {
  return new Promise((done) => {
    const socket: Socket = connect(Number(new URL(server.url).port), "127.0.0.1");
    let answer = "";
    socket.on("data", (chunk) => (answer += chunk));
    socket.on("close", () => done(answer));
    socket.on("error", () => {});
    socket.end(text);
  });
}

const records = { method: "POST", headers: { "content-type": "application/x-ndjson" }, body: "{}\n" };

test("answers are what their schemas say", async () => {
  StreamInfo.array().parse(await (await call("/v1/streams")).json());
  StreamInfo.parse(await (await call("/v1/streams/weather")).json());
  HostInfo.parse(await (await call("/v1/host")).json());
  JahInfo.array().parse(await (await call("/v1/jahs")).json());
  Pushed.parse(await (await call("/v1/streams/weather/records", records)).json());
  assert.is(await (await call("/healthz")).text(), "ok\n");
  assert.match(await (await call("/metrics")).text(), 'hallelujah_stream_records_total{stream="weather"} 5');
  assert.match(await (await call("/")).text(), "<h1>Hallelujah</h1>");
  assert.is(await (await call("/v1/logs")).text(), '{"msg":"hello"}\n');
});

test("bodies come as they are, with what their headers say", async () => {
  const path = "/v1/streams/weather/records";
  const numbered = { ...records.headers, "hallelujah-producer": "p.1", "hallelujah-sequence": "17" };
  await call(path, { ...records, headers: numbered });
  await call(`${path}?columns=a,b&delimiter=;`, {
    method: "POST",
    headers: { "content-type": "text/csv; header=absent" },
    body: "1;2\n",
  });
  await call(path, {
    method: "POST",
    headers: { "content-type": "text/plain", "content-encoding": "gzip" },
    body: new Uint8Array(gzipSync("a line\n")),
  });
  await call(`${path}?end=true`, { ...records, body: "" });
  const text = (i: number) => Buffer.concat(pushed[i].chunks).toString();
  assert.equal([pushed[0].producer, pushed[0].sequence, text(0)], ["p.1", 17, "{}\n"]);
  assert.equal(
    [pushed[1].format, pushed[1].columns, pushed[1].delimiter, text(1)],
    ["csv", ["a", "b"], ";", "1;2\n"],
  );
  assert.equal([pushed[2].format, text(2)], ["lines", "a line\n"]);
  assert.equal(
    pushed.map(({ end }) => end),
    [false, false, false, true],
  );
  assert.is(pushed[3].bytes, 0);
});

test("what is wrong with a push is said with a code", async () => {
  const path = "/v1/streams/weather/records";
  const headers = (more: Record<string, string>) => ({
    ...records,
    headers: { ...records.headers, ...more },
  });
  assert.equal(await refused(await call(path, headers({ "content-type": "application/xml" }))), [
    415,
    "media-type",
  ]);
  assert.equal(await refused(await call(path, headers({ "content-encoding": "br" }))), [415, "media-type"]);
  assert.equal(await refused(await call(path, headers({ "hallelujah-producer": "p" }))), [
    400,
    "bad-request",
  ]);
  assert.equal(
    await refused(await call(path, headers({ "hallelujah-producer": "p q", "hallelujah-sequence": "1" }))),
    [400, "bad-request"],
  );
  assert.equal(await refused(await call("/v1/streams/%ff/records", records)), [400, "bad-request"]);
  assert.equal(await refused(await call(`${path}?end=soon`, records)), [400, "bad-request"]);
  assert.equal(await refused(await call(path, headers({ "content-encoding": "gzip" }))), [
    400,
    "bad-request",
  ]);
  const full = await call("/v1/streams/full/records", records);
  assert.is(full.headers.get("retry-after"), "1");
  assert.equal(await refused(full), [429, "backlog-full"]);
  assert.is(pushed.length, 0);
});

test("a body of 16 MiB is taken, one byte more is not", async () => {
  const path = "/v1/streams/weather/records";
  const body = new Uint8Array(16 << 20).fill(0x20);
  assert.is((await call(path, { ...records, body })).status, 200);
  const tooLarge = await call(path, { ...records, body: new Uint8Array((16 << 20) + 1) }).catch(
    () => undefined,
  );
  if (tooLarge) assert.equal(await refused(tooLarge), [413, "body-too-large"]);
  assert.is(pushed.length, 1);
});

test("an error that nobody foresaw tells the client nothing of the host", async () => {
  const response = await call("/v1/streams/broken/records", records);
  const text = await response.text();
  assert.is(response.status, 500);
  assert.not.match(text, "secret");
  assert.match(reported.join(), "secret");
});

test("a module visits only where the host was told to take some", async () => {
  const module = { method: "POST", headers: { "content-type": "application/wasm" }, body: "kernel" };
  for (const follow of ["", "?follow=true"]) {
    const path = `/v1/streams/weather/visit${follow}`;
    const response = await call(path, module);
    const problem = Problem.parse(await response.clone().json());
    assert.equal(await refused(response), [403, "wasm-visit-refused"]);
    assert.match(problem.detail, /--allow-wasm-visits/);
    const taken = await call(path, module, trusting);
    assert.is(taken.status, 200);
    await taken.text();
  }
});

test("paths, methods and types that are not there", async () => {
  assert.equal(await refused(await call("/v2/nothing")), [404, "not-found"]);
  assert.equal(await refused(await call("/v1/streams/nobody")), [404, "stream-unknown"]);
  const wrong = await call("/v1/streams/weather", { method: "POST" });
  assert.match(wrong.headers.get("allow")!, "GET");
  assert.equal(await refused(wrong), [405, "method-not-allowed"]);
  const table = "/v1/streams/weather/tables/stations";
  assert.equal(await refused(await call(table, { headers: { accept: "image/png" } })), [
    406,
    "not-acceptable",
  ]);
  assert.equal(await refused(await call(`${table}?limit=many`)), [400, "bad-request"]);
  const followed = await call("/v1/streams/weather/visit?follow=true", {
    method: "POST",
    headers: { "content-type": "text/typescript" },
    body: "kernel",
  });
  const lines = (await followed.text()).trimEnd().split("\n");
  const [none, two, last] = lines.map((line) => JSON.parse(line));
  assert.equal(none, { frame: 1, rows: [] });
  assert.equal(two, {
    frame: 3,
    rows: [
      { table: "t", key: "a" },
      { table: "t", key: "b" },
    ],
  });
  assert.is(Problem.parse(last.problem).code, "dataset-missing");
  const visit = (type: string) =>
    call("/v1/streams/weather/visit", { method: "POST", headers: { "content-type": type }, body: "kernel" });
  assert.is((await visit("text/typescript")).headers.get("hallelujah-frame"), "3");
  assert.equal(await refused(await visit("text/plain")), [415, "media-type"]);
  const change = { method: "PATCH", headers: { "content-type": "application/json" } };
  assert.equal(await refused(await call("/v1/streams/weather", { ...change, body: "{" })), [
    400,
    "bad-request",
  ]);
  assert.equal(await refused(await call("/v1/streams/weather", { ...change, body: '{"what":1}' })), [
    400,
    "bad-request",
  ]);
  assert.equal(await refused(await call("/v1/streams/a", { method: "PUT", body: "x" })), [415, "media-type"]);
});

test("a refused deploy brings the offers", async () => {
  const response = await call("/v1/streams/full", {
    method: "PUT",
    headers: { "content-type": "application/wasm" },
    body: "x",
  });
  assert.is(response.status, 409);
  const { code, offers } = Problem.parse(await response.json());
  assert.equal([code, offers], ["no-capacity", [{ stream: "a", jahs: 1, min: 1, backlogSeconds: null }]]);
});

test("rows come in the form that is asked for, with their frame", async () => {
  const table = "/v1/streams/weather/tables/stations";
  for (const [accept, text] of [
    ["*/*", "ndjson all"],
    ["text/csv", "csv all"],
    ["text/html, application/json;q=0.9, */*;q=0.1", "json all"],
  ]) {
    const response = await call(table, { headers: { accept } });
    assert.is(response.headers.get("hallelujah-frame"), "7");
    assert.is(await response.text(), text);
  }
  assert.is(await (await call(`${table}?key=%C3%85re%20%2F1`)).text(), "ndjson Åre /1");
});

test("subscribers get numbered events, and go on behind the last one they had", async () => {
  const stop = new AbortController();
  const response = await call("/v1/streams/weather/output", {
    headers: { accept: "text/event-stream", "last-event-id": "40" },
    signal: stop.signal,
  });
  assert.is(response.headers.get("content-type"), "text/event-stream");
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of response.body!) {
    text += decoder.decode(chunk, { stream: true });
    if (text.includes("id: 42")) break;
  }
  assert.match(text, 'id: 41\ndata: {"a":1}\n\nid: 42\ndata: {"a":2}\n\n');
  stop.abort();
});

test("with a token every call needs it, but for the one that says whether the host lives", async () => {
  assert.equal(await refused(await call("/v1/streams", {}, guarded)), [401, "unauthorized"]);
  const wrong = { headers: { authorization: "Bearer a-long-tokem" } };
  assert.equal(await refused(await call("/v1/streams", wrong, guarded)), [401, "unauthorized"]);
  assert.equal(await refused(await call("/v1/streams/weather/records", records, guarded)), [
    401,
    "unauthorized",
  ]);
  assert.is((await call("/healthz", {}, guarded)).status, 200);
  assert.is(
    (await call("/v1/streams", { headers: { authorization: "Bearer a-long-token" } }, guarded)).status,
    200,
  );
});

test("pages of other sites, and other names for this host, are refused", async () => {
  const host = new URL(server.url).host;
  assert.match(
    await raw(`GET /v1/streams HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n`),
    "421",
  );
  const origin = `origin: http://evil.example\r\ncontent-type: text/plain\r\ncontent-length: 2\r\nconnection: close`;
  assert.match(
    await raw(`POST /v1/streams/weather/records HTTP/1.1\r\nhost: ${host}\r\n${origin}\r\n\r\na\n`),
    "403",
  );
  assert.is(pushed.length, 0);
});

test("what is no HTTP is answered with a problem, and the next call is served", async () => {
  assert.match(await raw("no such thing\r\n\r\n"), "400");
  assert.match(await raw(`GET / HTTP/1.1\r\nhost: localhost\r\nx: ${"y".repeat(20_000)}\r\n\r\n`), "431");
  const length = "host: localhost\r\ncontent-type: text/plain\r\ncontent-length: 100\r\n\r\nonly this";
  await raw(`POST /v1/streams/weather/records HTTP/1.1\r\n${length}`); // leaves in the middle of its body
  assert.is(pushed.length, 0);
  assert.is((await call("/v1/streams")).status, 200);
});

test.run();
