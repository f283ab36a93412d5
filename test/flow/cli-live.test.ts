import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { connect } from "../../host/client/live.ts";
import { packageRoot } from "../../host/core/package-root.ts";
import { type CliResult, cli, parseLines, scratch, write } from "../run.ts";
import { drained, startHost, type TestHost, until } from "./host.ts";

const test = suite("flow/cli-live: commands against a host");
const stations = join(packageRoot, "examples", "stations.ts");
const sessions = join(packageRoot, "examples", "sessions.ts");
const echo = write(
  "echo.ts",
  `import { Text, out } from "hallelujah";
@record class Reading { station: Text; temperature: f64 }
export function each(reading: Reading): void { out.emit(reading); }`,
);
const csv = "station,temperature\nOslo,-3.5\nAbha,31\nOslo,-1.5\n";

/** The exit code is that of the command itself. */
const HEAD = "HALLELUJAH | head -n 1; exit ${PIPESTATUS[0]}";

let host: TestHost;
test.before(async () => {
  host = await startHost({ cpus: 2 });
});
test.after(async () => {
  assert.is(await host.stop(), 0);
});

const env = () => ({ HALLELUJAH_URL: host.url });

/** A command against the host. */
function run(args: string[], stdin?: string | Buffer): Promise<CliResult> {
  return cli(args, { env: env(), ...(stdin === undefined ? {} : { stdin }) });
}

/** The same; it succeeds, says nothing else, and gives what it printed. */
async function prints(args: string[], stdin?: string | Buffer): Promise<string> {
  const { code, stdout, stderr } = await run(args, stdin);
  assert.is(stderr, "", args.join(" "));
  assert.is(code, 0, args.join(" "));
  return stdout;
}

/** It fails with one sentence and no stack. */
async function refuses(args: string[], words: RegExp, code = 1, stdin?: string | Buffer): Promise<void> {
  const ran = await run(args, stdin);
  assert.match(ran.stderr, words);
  assert.not.match(ran.stderr, /^ +at .*(node:|\.js:)/m);
  assert.is(ran.stdout, "");
  assert.is(ran.code, code, ran.stderr);
}

/** Two at a time. */
async function each<T>(items: T[], work: (item: T) => Promise<void>): Promise<void> {
  const left = items.values();
  const worker = async () => {
    for (const item of left) await work(item);
  };
  await Promise.all([worker(), worker()]);
}

/** A command that is there until it is told to go. */
function start(args: string[], url = host.url) {
  const main = join(packageRoot, "dist", "cli", "main.js");
  const child = spawn(process.execPath, [main, ...args], {
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...process.env, HALLELUJAH_URL: url },
  });
  const said = { stdout: "", stderr: "" };
  child.stdin.on("error", () => {});
  for (const name of ["stdout", "stderr"] as const)
    child[name].on("data", (chunk: Buffer) => (said[name] += chunk.toString()));
  const ended = once(child, "close") as Promise<[number | null, string | null]>;
  return {
    child,
    said,
    async prints(words: RegExp): Promise<void> {
      while (!words.test(said.stdout)) {
        assert.is(child.exitCode, null, `it ended: ${said.stdout}${said.stderr}`);
        await Promise.race([once(child.stdout, "data"), ended]);
      }
    },
    async end(signal: NodeJS.Signals): Promise<number | null> {
      child.kill(signal);
      return (await ended)[0];
    },
    ended,
  };
}

const readings = (count: number) =>
  Array.from({ length: count }, (_, i) => `{"station":"s${i % 10}","temperature":${i % 50}}\n`).join("");

test("from deploy to rm, as a user types it", async () => {
  assert.is(
    await prints(["deploy", "weather", stations, "--max", "2"]),
    "weather runs stations.ts (version 1; tables: stations; 1 to 2 Jahs)\n",
  );
  const file = write("readings.csv", csv);
  assert.is(await prints(["push", "weather", file]), "pushed 48 B to weather (up to frame 0)\n");
  assert.match(await prints(["push", "weather"], '{"station":"Abha","temperature":29}\n'), /^pushed 36 B/);
  await until(host.client, "weather", drained);

  const rows = parseLines(await prints(["query", "weather", "stations"]));
  assert.equal(
    rows.map(({ key, temperature }) => [key, temperature.count, temperature.mean]),
    [
      ["Abha", 2, 30],
      ["Oslo", 2, -2.5],
    ],
  );
  const query = (...more: string[]) => prints(["query", "weather", "stations", ...more]);
  assert.equal(JSON.parse(await query("--format", "json")), rows);
  assert.equal(JSON.parse(await query("--key", "Oslo", "--format", "json")), [rows[1]]);
  assert.equal(parseLines(await query("--order", "-temperature.max", "--limit", "1")), [rows[0]]);
  assert.match(await query("--format", "csv"), /^table,key,temperature\.count,.*\nstations,Abha,2,/);
  assert.match(await query("--format", "table"), /Abha.*\n.*Oslo/s);
  assert.is(await query("--key", "Rome"), "");

  const [stream] = parseLines(await prints(["ps"]));
  assert.equal([stream.name, stream.records, stream.badRecords], ["weather", 4, 0]);
  assert.equal(JSON.parse(await prints(["ps", "weather", "--format", "json"]))[0].name, "weather");
  assert.match(await prints(["ps", "--format", "csv"]), /^name,state,.*\nweather,/);
  assert.match(await prints(["ps", "--format", "table"]), /weather.*stations\.ts v1/);
  const top = await prints(["top"]);
  assert.match(top, /Hallelujah .* at http.*CPUs 1 of 2/);
  assert.match(top, /weather.*persistent/);
  assert.match(await prints(["watch", "weather", "--table", "stations"]), /weather.*4 records[^]*Oslo/);

  assert.is(await prints(["capacity", "weather", "1"]), "weather may have 1 to 1 Jahs\n");
  assert.is(await prints(["pause", "weather"]), "weather is paused\n");
  await prints(["push", "weather", file]);
  assert.is((await host.client.stream("weather")).backlog.records > 0, true);
  assert.match(await prints(["resume", "weather"]), /^weather is \w+\n$/);
  await until(host.client, "weather", ({ records }) => records === 7);
  assert.match(await prints(["stop", "weather"]), /^weather is stopped: .*capacity weather 1/);
  assert.is((await host.client.stream("weather")).max, 0);
  assert.match(await prints(["capacity", "weather", "2", "--min", "1"]), /1 to 2 Jahs/);

  const logs = parseLines(await prints(["logs", "weather"]));
  assert.ok(logs.some(({ msg }) => msg === "deployed stations.ts"));
  assert.is(parseLines(await prints(["logs", "--lines", "2"])).length, 2);
  assert.match(await prints(["logs", "--format", "table"]), /^\d\d:\d\d:\d\d\.\d{3} info .*weather/m);

  assert.is(await prints(["rm", "weather", "--yes"]), "weather is removed\n");
  assert.is(await prints(["ps"]), "");
  assert.match(await prints(["ps", "--format", "table"]), /no streams; deploy one/);
});

test("what is wrong is said in a sentence that helps", async () => {
  await prints(["deploy", "weather", stations]);
  const unknown = [
    ["push", "wether", write("r.csv", csv)],
    ["query", "wether", "stations"],
    ["watch", "wether"],
    ["watch", "wether", "--table", "stations"],
    ["ps", "wether"],
    ["capacity", "wether", "1"],
    ["pause", "wether"],
    ["resume", "wether"],
    ["stop", "wether"],
    ["rm", "wether", "--yes"],
  ];
  await each(unknown, (args) =>
    refuses(args, /^hallelujah: there is no stream "wether"; did you mean weather\?\n$/),
  );
  const cut = write("cut.gz", gzipSync(csv).subarray(0, 30));
  const wrong: [args: string[], words: RegExp, code: number, stdin?: string][] = [
    [["query", "weather", "station"], /did you mean stations\?/, 2],
    [["query", "weather", "stations", "--order", "size"], /size/, 2],
    [["query", "weather", "SELECT * FROM stations"], /SQL is not understood yet/, 2],
    [["capacity", "weather", "many"], /whole number/, 2],
    [["deploy", "Weather", stations], /a stream cannot be called "Weather"/, 2],
    [["deploy", "weather", stations], /weather runs already/, 1],
    [["deploy", "other", "none.ts"], /there is no kernel none\.ts/, 1],
    [["deploy", "other", stations, "--retain", "7d"], /log is kept whole; retain takes all/, 1],
    [["deploy", "other", stations, "--input-format", "csv"], /are for --source -/, 2],
    [["push", "weather", join(scratch(), "none.csv")], /there is no file .*none\.csv/, 1],
    [["rm", "weather"], /say --yes to remove weather/, 2],
    [["push", "weather", scratch()], /is a folder; name its files/, 1],
    [["push", "weather", cut], /cut\.gz cannot be read/, 1],
    [["push", "weather", write("a.parquet", "PAR1....")], /--source FILE/, 1],
    [["up", "--cpus", "0"], /^hallelujah: --cpus takes .*\n$/, 2],
    [["up", "--cpus", "two"], /^hallelujah: --cpus takes .*\n$/, 2],
    [["push", "weather"], /one JSON array/, 1, '[{"station":"a"}]'],
  ];
  await each(wrong, (call) => refuses(...call));
  assert.is((await host.client.stream("weather")).frames, 0);
  assert.equal(
    (await host.client.streams()).map(({ name }) => name),
    ["weather"],
  );
  await prints(["rm", "weather", "--yes"]);
});

test("a host that is not there is said at once", async () => {
  const gone = { HALLELUJAH_URL: "http://127.0.0.1:1" };
  const commands = [
    ["deploy", "weather", stations],
    ["push", "weather"],
    ["query", "weather", "stations"],
    ["watch", "weather"],
    ["ps"],
    ["top"],
    ["stop", "weather"],
    ["rm", "weather", "--yes"],
    ["logs", "-f"],
  ];
  await each(commands, async (args) => {
    const { code, stdout, stderr } = await cli(args, { env: gone });
    assert.is(stderr, "hallelujah: no host answers at http://127.0.0.1:1; start one with: hallelujah up\n");
    assert.equal([code, stdout], [1, ""], args.join(" "));
  });
});

test("what follows ends with the signal's exit code, and without a word", async () => {
  await prints(["deploy", "echo", echo]);
  await prints(["push", "echo"], '{"station":"a","temperature":1}\n');
  const watch = start(["watch", "echo", "--from", "0"]);
  await watch.prints(/\n/);
  await prints(["push", "echo"], '{"station":"b","temperature":2}\n');
  await watch.prints(/\n.*\n/);
  assert.equal(parseLines(watch.said.stdout), [
    { station: "a", temperature: 1 },
    { station: "b", temperature: 2 },
  ]);
  assert.is(await watch.end("SIGINT"), 130);
  assert.is(watch.said.stderr, "");
  const logs = start(["logs", "-f", "echo"]);
  await logs.prints(/deployed echo\.ts/);
  assert.is(await logs.end("SIGINT"), 130);
  assert.is(logs.said.stderr, "");
  const ended = start(["logs", "-f"]);
  await ended.prints(/\n/);
  assert.is(await ended.end("SIGTERM"), 143);
  assert.is(ended.said.stderr, "");
});

test("a reader that has gone ends a command in peace", async () => {
  await prints(["push", "echo"], readings(20_000));
  await until(host.client, "echo", drained);
  await each(["watch echo --from 0", "logs", "ps"], async (command) => {
    const { code, stdout, stderr } = await cli(command.split(" "), { env: env(), shell: HEAD });
    assert.is(stdout.split("\n").length, 2, command);
    assert.equal([code, stderr], [0, ""], command);
  });
  await prints(["deploy", "keys", stations]);
  const many = Array.from({ length: 20_000 }, (_, i) => `{"station":"s${i}","temperature":1}\n`).join("");
  await prints(["push", "keys"], many);
  await until(host.client, "keys", drained);
  const { code, stdout, stderr } = await cli(["query", "keys", "stations"], { env: env(), shell: HEAD });
  assert.is(stdout.split("\n").length, 2);
  assert.equal([code, stderr], [0, ""]);
  await prints(["rm", "keys", "--yes"]);
  await prints(["rm", "echo", "--yes"]);
});

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
  const push = start(["push", "long"]);
  push.child.stdin.write(text.slice(0, 2_500_000));
  await until(host.client, "long", ({ records }) => records > 30_000);
  assert.is(await push.end("SIGINT"), 130);
  assert.is(push.said.stdout, "");
  const found = /^\d\.\d MB were stored\. To go on with the same input: hallelujah (push long - .*)\n$/.exec(
    push.said.stderr,
  );
  assert.ok(found, push.said.stderr);
  assert.match(await prints(found![1].split(" "), text), /^pushed \d\.\d MB to long/);
  const { records } = await until(host.client, "long", drained);
  assert.is(records, 100_000);
  await prints(["rm", "long", "--yes"]);
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
  const { code, stdout, stderr } = await cli(["push", "long", "--url", url], { stdin: readings(60_000) });
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
  assert.match(said, /^visits runs sessions\.ts .*\npushed \d+ B to visits \(up to frame 1\)\n$/);
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
  const kernel = readFileSync(sessions, "utf8");
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

test("a token is asked for, and taken from the environment or the command", async () => {
  const token = "a-long-token";
  const guarded = await startHost({ cpus: 1, env: { HALLELUJAH_TOKEN: token } });
  try {
    const asked = await cli(["ps", "--url", guarded.url], { env: { HALLELUJAH_TOKEN: "" } });
    assert.is(asked.code, 1);
    assert.match(asked.stderr, /token/);
    assert.is((await cli(["ps", "--url", guarded.url, "--token", token])).code, 0);
    assert.is((await cli(["ps", "--url", guarded.url], { env: { HALLELUJAH_TOKEN: token } })).code, 0);
    assert.equal(await connect({ url: guarded.url, token }).streams(), []);
  } finally {
    assert.is(await guarded.stop(), 0);
  }
});

test.run();
