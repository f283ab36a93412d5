/** The library as a page has it: `dist/browser.js` among the globals of browsers and none of Node's, with a real host. */
import { readFileSync } from "node:fs";
import { createContext, runInContext } from "node:vm";
import { transformSync } from "esbuild";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { startHost, type TestHost } from "../flow/host.ts";

const test = suite("dist/browser.js");
const KERNEL = `import { Text, Count, Table, out } from "hallelujah";
@record class Line { word: Text }
@record class Word { word: Text }
@state class Seen { count: Count }
const seen = new Table<Text, Seen>("seen");
export function each(line: Line): void {
  seen.at(line.word).count.add();
  const word = new Word();
  word.word = line.word;
  out.emit(word);
}`;

/** What a page that did not come by https has of its browser, and the library may use. */
const GLOBALS = {
  AbortController,
  AbortSignal,
  Headers,
  ReadableStream,
  Request,
  Response,
  TextDecoder,
  performance,
  TextEncoder,
  URL,
  URLSearchParams,
  clearTimeout,
  crypto: { getRandomValues: (bytes: Uint8Array<ArrayBuffer>) => crypto.getRandomValues(bytes) },
  fetch,
  setTimeout,
};

let host: TestHost;
let page: object;
test.before(async () => {
  host = await startHost({ cpus: 2 });
  page = createContext({ ...GLOBALS, url: host.url, kernel: KERNEL });
  const { code } = transformSync(readFileSync("dist/browser.js", "utf8"), {
    format: "iife",
    globalName: "hallelujah",
  });
  runInContext(code, page);
});
test.after(async () => {
  assert.is(await host.stop(), 0);
});

/** What a script of the page comes to, as JSON, as its objects are of another realm. */
async function run(script: string): Promise<unknown> {
  const json = runInContext(`(async () => JSON.stringify(await (async () => {${script}})()))()`, page);
  return JSON.parse((await json) as string);
}

test("nothing of Node is there, and nothing is asked for before a call", async () => {
  const found = await run(`
    hallelujah.connect();
    return [typeof process, typeof Buffer, typeof require, typeof global, hallelujah.connect().url];`);
  assert.equal(found, ["undefined", "undefined", "undefined", "undefined", "http://127.0.0.1:7747"]);
});

test("a page deploys, pushes and asks", async () => {
  const found = await run(`
    const host = hallelujah.connect({ url });
    const { name } = await host.deploy("words", { kernel });
    const records = Array.from({ length: 300 }, (_, i) => ({ word: "w" + (i % 3) }));
    const { sequence } = await host.push("words", records);
    const bytes = new TextEncoder().encode('{"word":"bytes"}\\n');
    await host.push("words", bytes);
    await host.push("words", new Response(bytes).body);
    for (;;) {
      const { frame, frames } = await host.stream("words");
      if (frame === frames) break;
    }
    const rows = await host.query("words", "seen", { order: "-count", limit: 2 });
    const one = await (await host.query("words", "seen", { key: "bytes" })).all();
    return { name, sequence, frame: rows.frame > 0, rows: await rows.all(), one: one[0].count };`);
  assert.equal(found, {
    name: "words",
    sequence: 1,
    frame: true,
    rows: [
      { table: "seen", key: "w0", count: 100 },
      { table: "seen", key: "w1", count: 100 },
    ],
    one: 2,
  });
});

test("a page watches an output until it has enough, or is told to stop", async () => {
  const found = await run(`
    const host = hallelujah.connect({ url });
    const words = [];
    for await (const { row } of host.output("words", { from: 298, signal: AbortSignal.timeout(20_000) })) {
      words.push(row.word);
      if (words.length === 4) break;
    }
    const stop = new AbortController();
    const came = [];
    const watching = (async () => {
      for await (const { sequence, row } of host.output("words", { from: 302, signal: stop.signal })) {
        came.push([sequence, row.word]);
        stop.abort();
      }
    })().then(() => "its end", (error) => error.name);
    await host.push("words", [{ word: "last" }]);
    return { words, came, ended: await watching };`);
  assert.equal(found, {
    words: ["w1", "w2", "bytes", "bytes"],
    came: [[302, "last"]],
    ended: "AbortError",
  });
});

test("what goes wrong has a code, and a signal ends any call", async () => {
  const found = await run(`
    const host = hallelujah.connect({ url });
    const stop = new AbortController();
    stop.abort();
    const { signal } = stop;
    const codeOf = (work) => work.then(() => "none", (error) =>
      error instanceof hallelujah.HallelujahError ? error.code : error.name);
    return Promise.all([
      codeOf(host.query("nothing", "seen")),
      codeOf(host.query("words", "nothing")),
      codeOf(hallelujah.connect({ url: "http://127.0.0.1:9" }).streams()),
      codeOf(host.query("words", "seen", { signal })),
      codeOf(host.push("words", [{ word: "never" }], { signal })),
      codeOf(host.host({ signal })),
    ]);`);
  assert.equal(found, [
    "stream-unknown",
    "table-unknown",
    "host-unreachable",
    "AbortError",
    "AbortError",
    "AbortError",
  ]);
});

test.run();
