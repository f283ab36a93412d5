import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { cli, scratch, write } from "../run.ts";
import * as commands from "./commands.ts";
import { builtKernels, readings } from "./commands.ts";
import { drained, startHost, type TestHost, until } from "./host.ts";

const test = suite("flow/cli-push: files and standard input into a stream");
const { stations, sessions } = await builtKernels();
const csv = "station,temperature\nOslo,-3.5\nAbha,31\nOslo,-1.5\n";

let host: TestHost;
test.before(async () => {
  host = await startHost({ cpus: 2 });
});
test.after(async () => {
  assert.is(await host.stop(), 0);
});

const prints = (args: string[], stdin?: string) => commands.prints(host.url, args, stdin);
const start = (args: string[]) => commands.start(host.url, args);

test("files and standard input are pushed, of whatever format", async () => {
  await prints(["deploy", "kinds", stations]);
  const gz = write("more.csv.gz", gzipSync(csv));
  const ndjson = write("some.ndjson", readings(10));
  const said = await prints(["push", "kinds", write("first.csv", csv), gz, ndjson]);
  assert.match(said, /^pushed \d+ B to kinds \(up to frame \d+\)\n$/);
  await prints(["push", "kinds", "-"], csv); // CSV by its content
  await prints(["push", "kinds", "-"], `\n${readings(5)}`);
  await prints(["push", "kinds", "--delimiter", ";", "--columns", "station,temperature"], "Rome;20\n");
  assert.is(await prints(["push", "kinds"], ""), "pushed 0 B to kinds\n");
  const { records, badRecords } = await until(host.client, "kinds", drained);
  assert.equal([records, badRecords], [3 + 3 + 10 + 3 + 5 + 1, 0]);
  await prints(["rm", "kinds", "--yes"]);
});

test("a push that is interrupted says how to go on, and what is stored is not stored again", async () => {
  await prints(["deploy", "long", stations]);
  const text = readings(100_000);
  const push = start(["push", "long", "--producer", "loader"]);
  push.child.stdin.write(text.slice(0, 2_500_000));
  await until(host.client, "long", ({ records }) => records > 30_000);
  assert.is(await push.end("SIGINT"), 130);
  assert.is(push.said.stdout, "");
  const found =
    /^\d\.\d MB were stored\. To go on with the same input: hallelujah (push long - --producer loader)\n$/.exec(
      push.said.stderr,
    );
  assert.ok(found, push.said.stderr);
  assert.match(await prints(found![1].split(" "), text), /^pushed \d\.\d MB to long/);
  const { records } = await until(host.client, "long", drained);
  assert.is(records, 100_000);
  await prints(["rm", "long", "--yes"]);
});

test("what comes slowly through a pipe is pushed as it comes", async () => {
  await prints(["deploy", "slow", stations]);
  const push = start(["push", "slow"]);
  for (const count of [1, 2, 3]) {
    push.child.stdin.write(readings(1));
    await until(host.client, "slow", ({ records }) => records === count);
  }
  assert.is(await push.end("SIGINT"), 130);
  // Another push of the same would have other bodies.
  assert.match(push.said.stderr, /^\d+ B were stored\.\n$/);
  await prints(["rm", "slow", "--yes"]);
});

test("a push whose host goes away says how to go on, at that host", async () => {
  let bodies = 0;
  const away = createServer((request, response) => {
    request.resume();
    request.on("end", () => {
      if (request.method === "GET") response.end("{}");
      else if (bodies++) away.close().closeAllConnections();
      else response.end('{"frame":0,"bytes":1}');
    });
  });
  away.listen(0, "127.0.0.1");
  await once(away, "listening");
  const url = `http://127.0.0.1:${(away.address() as AddressInfo).port}`;
  const { code, stdout, stderr } = await cli([
    "push",
    "long",
    write("long.ndjson", readings(60_000)),
    "--url",
    url,
  ]);
  assert.equal([code, stdout], [1, ""]);
  assert.match(
    stderr,
    /^1\.0 MB were stored\. To go on [^\n]* --url http:\S+ --producer \S+\nhallelujah: no host answers[^\n]*\n$/,
  );
});

test("deploy --source - pushes standard input, and its end closes what is open", async () => {
  const events = [
    { user: "ann", at: "2024-05-01T10:00:00Z", page: "/a" },
    { user: "ann", at: "2024-05-01T10:05:00Z", page: "/b" },
  ];
  const lines = events.map((event) => `${JSON.stringify(event)}\n`).join("");
  const said = await prints(["deploy", "visits", sessions, "--source", "-"], lines);
  assert.match(said, /^visits runs .*\npushed \d+ B to visits \(up to frame 1\)\n$/);
  const visits = await until(host.client, "visits", (stream) => drained(stream) && stream.outputs === 1);
  assert.is(visits.frames, 2);
  // The same end again says nothing new; records that come after it open it again.
  await prints(["push", "visits", "--end"], "");
  assert.is((await host.client.stream("visits")).frames, 2);
  await prints(["push", "visits"], '{"user":"bob","at":"2024-05-01T12:00:00Z","page":"/c"}\n');
  const open = await until(host.client, "visits", drained);
  assert.equal([open.outputs, open.lateRecords], [1, 0]);
  await prints(["push", "visits", "--end"], "");
  const both = await until(host.client, "visits", (stream) => drained(stream) && stream.outputs === 2);
  assert.is(both.frames, 4);
  await prints(["rm", "visits", "--yes"]);

  const fileToo = write("two.csv", csv);
  const mixed = ["deploy", "mixed", stations, "--source", fileToo, "--source", "-"];
  await prints([...mixed, "--columns", "station,temperature"], "Rome,20\n");
  await until(host.client, "mixed", (stream) => drained(stream) && stream.records === 4);
  await prints(["rm", "mixed", "--yes"]);
});

test("the end of pushes is kept over a restart, and so is what came after it", async () => {
  const data = join(scratch(), "again");
  const kernel = readFileSync(sessions);
  const at = (time: number) => new Date(time).toISOString();
  const first = await startHost({ cpus: 2, data });
  const now = Date.now();
  await first.client.deploy("visits", { kernel });
  await first.client.push("visits", [{ user: "ann", at: at(now - 9e6), page: "/a" }], { end: true });
  await until(first.client, "visits", (stream) => drained(stream) && stream.outputs === 1);
  await first.client.push("visits", [{ user: "bob", at: at(now), page: "/b" }]);
  await until(first.client, "visits", drained);
  assert.is(await first.stop(), 0);
  const second = await startHost({ cpus: 2, data });
  try {
    assert.is((await second.client.stream("visits")).outputs, 1);
    await second.client.push("visits", [], { end: true });
    await until(second.client, "visits", (stream) => drained(stream) && stream.outputs === 2);
  } finally {
    assert.is(await second.stop(), 0);
  }
});

test.run();
