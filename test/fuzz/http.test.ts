/** The HTTP interface of a host, and its client: what a client may send, and what may answer one. */
import { createServer, type Server } from "node:http";
import { type AddressInfo, connect as dial } from "node:net";
import * as fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { request } from "undici";
import { connect } from "../../host/client/live.ts";
import { bodiesOf, linesOf } from "../../host/client/lines.ts";
import { serve, type Serving } from "../../host/hallelu/api/server.ts";
import { Problem } from "../../host/wire/http.ts";
import { fakeHost } from "../hallelu/fake-host.ts";
import { cases, damage, noise, outcomeOf } from "./mutate.ts";

const test = suite("fuzz: HTTP");

// --- what a host is asked ------------------------------------------------------------------------------------------

const complaints: string[] = [];
let server: Serving;
/** Answers with what is set. */
let odd: Server;
let answer: { status: number; headers: Record<string, string>; body: Buffer };
test.before(async () => {
  const journal = { error: (_more: object, message: string) => void complaints.push(message) };
  server = await serve(fakeHost([]), { host: "127.0.0.1", port: 0 }, { journal });
  odd = createServer((incoming, response) => {
    incoming.resume();
    response.writeHead(answer.status, answer.headers);
    response.end(answer.body);
  });
  await new Promise<void>((done) => odd.listen(0, "127.0.0.1", done));
});
test.after(() => {
  server.close();
  odd.close();
});

const PATHS = [
  "/v1/streams",
  "/v1/streams/weather",
  "/v1/streams/weather/tables/stations",
  "/v1/streams/weather/records",
];
const MORE = [
  "/v1/streams/weather/output",
  "/v1/streams/weather/dead/1",
  "/v1/host",
  "/v1/jahs",
  "/v1/logs",
  "/metrics",
];
const piece = fc.oneof(
  fc.constantFrom(
    "min",
    "max",
    "from",
    "limit",
    "key",
    "order",
    "retain",
    "end",
    "lines",
    "name",
    "delimiter",
    "columns",
  ),
  fc.string(),
);
const value = fc.oneof(
  fc.string(),
  fc.nat().map(String),
  fc.constantFrom("-1", "1e9", "NaN", "true", "%00", "../..", "[1,2", '{"a":1}'),
);
const search = fc
  .array(fc.tuple(piece, value), { maxLength: 4 })
  .map((pairs) => new URLSearchParams(pairs).toString());
const path = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...PATHS, ...MORE) },
  fc
    .array(
      fc.oneof(
        fc.constantFrom("v1", "streams", "weather", "tables", "dead", "..", "%", "%00", "%ff"),
        fc.string(),
      ),
      { maxLength: 6 },
    )
    .map(
      (parts) =>
        `/${parts.map((part) => (part.startsWith("%") ? part : encodeURIComponent(part))).join("/")}`,
    ),
);
const method = fc.constantFrom("GET", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "HEAD");
const type = fc.constantFrom(
  "application/json",
  "application/x-ndjson",
  "text/csv",
  "text/plain",
  "application/wasm",
  "text/typescript",
  "x/y",
);
const accept = fc.oneof(
  fc.constantFrom("*/*", "application/json", "text/csv;q=0.5, */*;q=", "text/event-stream"),
  fc.stringMatching(/^[ -~]*$/),
);
const json = fc.oneof(
  fc.jsonValue().map((each) => Buffer.from(JSON.stringify(each))),
  fc
    .record(
      { min: value, max: fc.integer(), paused: fc.boolean(), retain: value, shards: fc.double() },
      { requiredKeys: [] },
    )
    .map((each) => Buffer.from(JSON.stringify(each))),
  noise,
);

test("whatever is asked: an answer, or a problem that says what is wrong, and never the host's fault", async () => {
  await fc.assert(
    fc.asyncProperty(
      path,
      search,
      method,
      type,
      accept,
      json,
      async (where, query, verb, media, wanted, body) => {
        complaints.length = 0;
        const withBody = verb !== "GET" && verb !== "HEAD";
        const response = await request(`${server.url}${where}?${query}`, {
          method: verb as "GET",
          headers: { accept: wanted.trim() || "*/*", ...(withBody ? { "content-type": media } : {}) },
          ...(withBody ? { body } : {}),
        });
        const { statusCode, headers } = response;
        assert.ok(statusCode < 500, `${verb} ${where}?${query}: ${statusCode} ${complaints.join()}`);
        response.body.on("error", () => {}); // an output without end is cut off
        if (statusCode < 400 || verb === "HEAD") return void response.body.destroy();
        assert.is(headers["content-type"], "application/problem+json");
        assert.is(Problem.parse(await response.body.json()).status, statusCode);
      },
    ),
    cases(500),
  );
});

test("bytes that are no request are refused, and the host goes on", async () => {
  const raw = (bytes: Uint8Array) =>
    new Promise<string>((done) => {
      const socket = dial(Number(new URL(server.url).port), "127.0.0.1");
      let text = "";
      socket.on("data", (chunk) => {
        text += chunk.toString("latin1");
        if (text.includes("\r\n\r\n")) socket.destroy(); // it may be kept for another request
      });
      socket.on("error", () => {});
      socket.on("close", () => done(text));
      socket.end(bytes);
    });
  const good = Buffer.from(
    'POST /v1/streams/weather/records HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\ncontent-length: 8\r\nconnection: close\r\n\r\n{"a":1}\n',
  );
  assert.match(await raw(good), /^HTTP\/1.1 200/);
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        damage.map((change) => change(good)),
        noise,
      ),
      async (bytes) => {
        const text = await raw(bytes);
        assert.ok(!text || /^HTTP\/1.1 [1-4]\d\d/.test(text), text.slice(0, 100));
      },
    ),
    cases(150),
  );
  assert.match(await raw(good), /^HTTP\/1.1 200/);
});

// --- what a client is answered -------------------------------------------------------------------------------------

const urlOf = () => `http://127.0.0.1:${(odd.address() as AddressInfo).port}`;

test("a client that is answered anything: rows, or an error with a code", async () => {
  const rows = Buffer.from('{"a":1}\n{"a":"two"}\n{"b":null}\n');
  const problem = Buffer.from(
    JSON.stringify({ type: "t", title: "t", status: 404, code: "stream-unknown", detail: "there is none" }),
  );
  const body = fc.oneof(
    damage.map((change) => change(rows)),
    damage.map((change) => change(problem)),
    fc.constantFrom(rows, problem),
    noise,
    json,
  );
  const retry = fc.constantFrom("", "1", "-1", "soon", "1e99", "Wed, 21 Oct 2015 07:28:00 GMT");
  const host = connect({ url: urlOf() });
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(200, 200, 200, 404, 429, 503),
      body,
      retry,
      async (status, bytes, after) => {
        answer = { status, headers: after ? { "retry-after": after } : {}, body: bytes };
        const asked = await Promise.all([
          outcomeOf(async () => (await host.query("weather", "stations")).all()),
          outcomeOf(() => host.stream("weather")),
          outcomeOf(async () => {
            const lines: unknown[] = [];
            for await (const line of host.logs()) lines.push(line);
            return lines;
          }),
          outcomeOf(async () => (await host.visit("weather", { kernel: "" })).all()),
          outcomeOf(async () => {
            for await (const { frame, rows } of host.follow("weather", { kernel: "" })) {
              assert.ok(Number.isSafeInteger(frame));
              assert.ok(Array.isArray(rows));
            }
          }),
          outcomeOf(() => host.versions("weather")),
          outcomeOf(() => host.deadLetters("weather")),
        ]);
        for (const { error } of asked) {
          if (status !== 200) assert.ok(error);
          const { retryAfterMs = 0 } = (error ?? {}) as { retryAfterMs?: number };
          assert.ok(retryAfterMs >= 0 && retryAfterMs < 2 ** 31, `it would wait for ${retryAfterMs} ms`);
        }
        if (status !== 200 || bytes !== rows) return;
        for (const each of [0, 3]) assert.equal(asked[each].value, [{ a: 1 }, { a: "two" }, { b: null }]);
      },
    ),
    cases(250),
  );
});

test("rows that cannot be read stop a subscriber with an error that shows them", async () => {
  const host = connect({ url: urlOf() });
  for (const line of ["nonsense", '{"a":', "null", "7", "\0"]) {
    answer = { status: 200, headers: {}, body: Buffer.from(`{"a":1}\n${line}\n`) };
    const seen: unknown[] = [];
    const { error } = await outcomeOf(async () => {
      for await (const { row } of host.output("weather", { from: 0 })) seen.push(row);
    });
    assert.equal(seen, [{ a: 1 }]);
    assert.is(error?.code, "answer-invalid");
    assert.ok(error!.message.includes(JSON.stringify(line)), error!.message);
  }
});

async function* chunked(bytes: Buffer, sizes: number[]): AsyncGenerator<Buffer> {
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length];
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

test("lines and bodies are the same in whatever chunks they come", async () => {
  const bytes = fc
    .array(fc.oneof(fc.constantFrom("\n", "ä", "€", '"', "a,b"), fc.string()), { maxLength: 20 })
    .map((parts) => Buffer.from(parts.join("")));
  const sizes = fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1 });
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(bytes, noise),
      sizes,
      fc.integer({ min: 1, max: 30 }),
      fc.boolean(),
      async (all, cut, most, header) => {
        const list = async <T>(items: AsyncIterable<T>) => {
          const found: T[] = [];
          for await (const item of items) found.push(item);
          return found;
        };
        assert.equal(await list(linesOf(chunked(all, cut))), await list(linesOf(chunked(all, [1 << 20]))));
        const made = await list(bodiesOf(chunked(all, cut), most, header));
        assert.equal(
          made.map(String),
          (await list(bodiesOf(chunked(all, [1 << 20]), most, header))).map(String),
        );
        if (!header) assert.ok(Buffer.concat(made).equals(all));
      },
    ),
    cases(400),
  );
});

test.run();
