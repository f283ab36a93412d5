/** What users get wrong, and what goes wrong around them: said at once, in a sentence, and nothing is left behind. */
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { HallelujahError } from "../../host/core/errors.ts";
import { cli, parseLines, scratch, write } from "../run.ts";
import * as commands from "./commands.ts";
import { builtKernels, readings } from "./commands.ts";
import { drained, startHost, type TestHost, until } from "./host.ts";
import type { StreamInfo } from "../../host/client/live.ts";

const test = suite("flow/mistakes: what goes wrong is said");
const { stations, echo } = await builtKernels();

let host: TestHost;
test.before(async () => {
  host = await startHost({ cpus: 2 });
});
test.after.each(async () => {
  for (const { name } of await host.client.streams()) await host.client.remove(name);
});
test.after(async () => {
  assert.is(await host.stop(), 0);
});

const prints = (args: string[], stdin?: string) => commands.prints(host.url, args, stdin);

/** A server of this machine for as long as `use` takes. */
async function served(listener: RequestListener, use: (url: string, server: Server) => Promise<void>) {
  const server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, server);
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

async function refused(promise: Promise<unknown>): Promise<HallelujahError> {
  return promise.then(
    () => assert.unreachable("it was not refused"),
    (error: HallelujahError) => error,
  ) as Promise<HallelujahError>;
}

test("a folder that cannot be made ends `up` at once", async () => {
  if (!existsSync("/proc/self")) return;
  const { code, stderr } = await cli(["up", "--listen", "127.0.0.1:0", "--data", "/proc/x/y"]);
  assert.is(code, 1);
  assert.match(stderr, /^hallelujah: \/proc\/x\/y cannot be written: .*; give a --data folder that can\n$/);
});

test("a host that cannot listen leaves no folder behind, and asks for no token for a name that nobody has", async () => {
  const data = join(scratch(), "second");
  const { code, stderr } = await cli(["up", "--listen", new URL(host.url).host, "--data", data]);
  assert.match(stderr, /^hallelujah: port \d+ of 127\.0\.0\.1 is taken/);
  assert.is(code, 1);
  assert.not.ok(existsSync(data));
  const unknown = await cli(["up", "--listen", "nosuch.invalid:7747", "--data", data]);
  assert.match(unknown.stderr, /^hallelujah: the name nosuch\.invalid is not known here/);
  assert.is(unknown.code, 1);
});

test("a stopped or paused stream refuses a query at once and says what lets it go on", async () => {
  await prints(["deploy", "weather", stations]);
  assert.match(await prints(["capacity", "weather", "0"]), /^weather is stopped: .*capacity weather 1/);
  assert.match(await prints(["ps", "--format", "table"]), /weather.*stopped/);
  const query = () => host.client.query("weather", "stations").then((rows) => rows.all());
  const stopped = await refused(query());
  assert.is(stopped.code, "stream-stopped");
  assert.match(stopped.message, /hallelujah capacity weather 1/);
  await host.client.change("weather", { max: 1, paused: true });
  const paused = await refused(query());
  assert.is(paused.code, "stream-paused");
  assert.match(paused.message, /hallelujah resume weather/);
  await prints(["resume", "weather"]);
  assert.equal(await query(), []);
  const { stderr } = await cli(["capacity", "weather", "99"], { env: { HALLELUJAH_URL: host.url } });
  assert.match(stderr, /this host has 2 CPUs, so weather never has more Jahs/);
});

test("a push that the host refuses for now says so once, and tells the reason when it is ended", async () => {
  let full = 2;
  const listener: RequestListener = (request, response) => {
    request.resume();
    request.on("end", () => {
      if (request.method === "GET") return response.end("{}");
      if (full-- <= 0) return response.end('{"frame":0,"bytes":1}');
      response.writeHead(507, { "retry-after": "0" });
      response.end('{"code":"disk-full","detail":"the disk is full"}');
    });
  };
  await served(listener, async (url) => {
    const ended = await cli(["push", "a", write("a.ndjson", readings(10)), "--url", url]);
    assert.equal([ended.code, full], [0, -1]);
    assert.is(ended.stderr, "hallelujah: the disk is full; it is tried again until there is room\n");
    full = Infinity;
    const push = commands.start(url, ["push", "a"]);
    push.child.stdin.end(readings(1));
    await once(push.child.stderr, "data");
    assert.is(await push.end("SIGINT"), 130);
    assert.match(push.said.stderr, /the host still refused: the disk is full\n$/);
  });
});

test("a sink that does not take rows is shown until it does", async () => {
  let status = 503;
  await served(
    (request, response) => request.resume().on("end", () => response.writeHead(status).end()),
    async (url) => {
      await prints(["deploy", "echo", echo, "--sink", `${url}/rows`]);
      await prints(["push", "echo"], readings(1));
      const waits = ({ sinks }: StreamInfo) => sinks![0].error !== undefined;
      const { sinks } = await until(host.client, "echo", waits);
      assert.match(sinks![0].error!, /\/rows answered 503 to row 0; it is tried again/);
      assert.match(await prints(["ps"]), /"sinks":\[{"target":"[^"]+","row":0,"error":/);
      assert.match(await prints(["ps", "--format", "table"]), /(running|parked), sink waits/);
      status = 200;
      const taken = await until(host.client, "echo", (stream) => !waits(stream));
      assert.equal(taken.sinks, [{ target: `${url}/rows`, row: 1 }]);
      const logs = parseLines(await prints(["logs", "echo"]));
      const about = logs.filter(({ msg }) => /answered 503|takes rows again/.test(String(msg)));
      assert.is(about.length, 2, "each change is noted once");
    },
  );
});

test("records that a host does not take are named by their file and place, and where to go on is said", async () => {
  await prints(["deploy", "weather", stations]);
  const env = { HALLELUJAH_URL: host.url };
  const good = readings(50_000);
  const long = `{"station":"${"x".repeat(600_000)}","temperature":1}\n`;
  const file = write("long.ndjson", good + long + good);
  const { code, stderr } = await cli(["push", "weather", file], { env });
  assert.is(code, 1);
  const place = `long\\.ndjson: the record that starts at byte ${good.length} is longer than 512 KiB`;
  const tail = String.raw`tail -c \+${good.length + 1} \S+long\.ndjson \| hallelujah push weather -`;
  assert.match(stderr, new RegExp(`^\\d\\.\\d MB were stored\\. When it is mended, push the rest: ${tail}`));
  assert.match(stderr, new RegExp(`\nhallelujah: \\S+${place}`));
  const { records } = await until(host.client, "weather", drained);
  assert.is(records, 50_000);
  const other = await cli(["push", "weather", write("other.csv", "city,rain\nOslo,3\n")], { env });
  assert.match(other.stderr, /^hallelujah: \S+other\.csv has no "station"/);
  assert.is(other.code, 1);
});

test("the last records that do not fit are shown with what is wrong with them", async () => {
  await prints(["deploy", "weather", stations]);
  const bad = Array.from({ length: 12 }, (_, i) => `{"station":"s${i}","temperature":"${"x".repeat(90)}"}\n`);
  await prints(["push", "weather"], bad.join(""));
  await prints(["push", "weather"], `${readings(1)}Oslo \u001b[2J\n`);
  await until(host.client, "weather", (stream) => drained(stream) && stream.badRecords === 13);
  const { problems = [] } = await host.client.stream("weather");
  assert.is(problems.length, 10);
  assert.equal(problems.at(-1), {
    frame: problems.at(-1)!.frame,
    source: "pushed records",
    reason: "it is not a JSON object",
    record: "Oslo \u001b[2J",
  });
  assert.match(problems[0].reason, /"temperature" is not a number/);
  assert.is(problems[0].record.length, 80);
  const { stderr } = await cli(["ps", "weather", "--format", "table"], { env: { HALLELUJAH_URL: host.url } });
  assert.match(stderr, /pushed records, frame \d+: it is not a JSON object: Oslo \\u001b\[2J\n$/);
});

test("a stream that is fed by standard input and ended stays, and that is said", async () => {
  const deploy = commands.start(host.url, ["deploy", "weather", stations, "--source", "-"]);
  await deploy.prints(/weather runs/);
  deploy.child.stdin.write(readings(1));
  await until(host.client, "weather", ({ records }) => records === 1);
  assert.is(await deploy.end("SIGINT"), 130);
  assert.match(deploy.said.stderr, /weather stays; to remove it: hallelujah rm weather\n$/);
});

test.run();
