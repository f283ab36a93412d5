import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { connect } from "../../host/client/live.ts";
import { packageRoot } from "../../host/core/package-root.ts";
import { cli, parseLines, scratch, write } from "../run.ts";
import * as commands from "./commands.ts";
import { builtKernels, each, readings } from "./commands.ts";
import { drained, startHost, type TestHost, until } from "./host.ts";

const test = suite("flow/cli-live: commands against a host");
/** The first test deploys a source. */
const { stations, echo } = await builtKernels();
const csv = "station,temperature\nOslo,-3.5\nAbha,31\nOslo,-1.5\n";

/** The exit code is that of the command itself. */
const HEAD = "HALLELUJAH | head -n 1; exit ${PIPESTATUS[0]}";

let host: TestHost;
test.before(async () => {
  // A stream that rested between two commands, on a busy machine, would have no Jah to be shown.
  host = await startHost({ cpus: 2, env: { HALLELUJAH_PARK_AFTER_MS: "3600000" } });
});
/** What one test leaves behind is not there for the next. */
test.after.each(async () => {
  for (const { name } of await host.client.streams()) await host.client.remove(name);
});
test.after(async () => {
  assert.is(await host.stop(), 0);
});

const env = () => ({ HALLELUJAH_URL: host.url });
const prints = (args: string[], stdin?: string) => commands.prints(host.url, args, stdin);
const refuses = (args: string[], words: RegExp, code = 1, stdin?: string) =>
  commands.refuses(host.url, args, words, code, stdin);
const start = (args: string[]) => commands.start(host.url, args);

test("from deploy to rm, as a user types it", async () => {
  assert.is(
    await prints(["deploy", "weather", join(packageRoot, "examples", "stations.ts"), "--max", "2"]),
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
  // So few records need no helper; one that came for them has gone.
  await until(host.client, "weather", ({ jahs }) => jahs === 1);
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

  assert.is(
    await prints(["reprocess", "weather", join(packageRoot, "examples", "stations.ts"), "--wait"]),
    "weather takes in frames 0 to 2 again with stations.ts (version 2); hallelujah ps weather shows how far it is\nweather runs stations.ts (version 2)\n",
  );
  assert.match(await prints(["history", "weather", "--format", "csv"]), /^2,stations\.ts,0,.*,reprocessed,/m);

  const logs = parseLines(await prints(["logs", "weather"]));
  assert.ok(logs.some(({ msg }) => msg === "deployed stations.ts"));
  assert.is(parseLines(await prints(["logs", "--lines", "2"])).length, 2);
  assert.match(await prints(["logs", "--format", "table"]), /^\d\d:\d\d:\d\d\.\d{3} info .*weather/m);

  assert.is(await prints(["rm", "weather"]), "weather is removed\n");
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
    ["reprocess", "wether", stations],
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
    [["query", "weather", ""], /name a table, or write a query/, 2],
    [["query", "weather", "SELECT\nkey\nFROM\nnowhere"], /weather has no dataset or table nowhere/, 1],
    [["query", "weather", "stations", "--order", "size"], /size/, 2],
    [["reprocess", "weather"], /name a kernel, or a version with --to/, 2],
    [["reprocess", "weather", "--cancel"], /no reprocess of weather is under way/, 1],
    [["reprocess", "weather", stations, "--from", "7"], /oldest/, 2],
    [["capacity", "weather", "many"], /whole number/, 2],
    [["deploy", "Weather", stations], /a stream cannot be called "Weather"/, 2],
    [
      ["deploy", "weather", stations],
      /weather is there already; for another kernel: hallelujah swap weather/,
      1,
    ],
    [["deploy", "other", "none.ts"], /there is no kernel none\.ts/, 1],
    [["deploy", "other", stations, "--retain", "7x"], /can retain applied, all, a size .*"7x"/, 2],
    [["deploy", "other", stations, "--min", "3"], /3 Jahs at least \(min\), and this host has 2 CPUs/, 1],
    [["deploy", "other", stations, "--max", "0"], /max \(0\) is less than min, which is 1 if not given/, 2],
    [["deploy", "other", stations, "--min", "3", "--max", "2"], /max \(2\) is less than min/, 2],
    [["deploy", "other", write("readme.md", "#")], /readme\.md is no kernel: a kernel is a \.ts file/, 2],
    [["deploy", "other", join(scratch(), "..", "a.ts")], /there is no kernel/, 1],
    [["deploy", "other", echo, "--sink", "s3://bucket/a"], /s3:\/\/bucket\/a cannot be a sink/, 2],
    [["deploy", "other", echo, "--sink", join(scratch(), "no", "a")], /there is no folder .*no\n/, 2],
    [["deploy", "other", stations, "--sink", join(scratch(), "a")], /never calls out\.emit/, 1],
    [["deploy", "other", stations, "--share"], /share needs from, the stream whose records are shared/, 1],
    [["watch", "weather"], /weather has no output/, 1],
    [["watch", "weather", "--late"], /no function late/, 1],
    [["capacity", "weather", "1", "--min", "2"], /max \(1\) is less than min \(2\)/, 2],
    [["push", "weather", "--delimiter", ";;"], /It is one byte/, 2],
    [["push", "weather", "--producer", "a b"], /1 to 128 letters/, 2],
    [["ps", "--url", "localhost:7747"], /no URL of a host; it would be http:\/\/localhost:7747\n/, 2],
    [["ps", "--url", "foo"], /"foo" is no URL of a host/, 2],
    [["ps", "--url", host.url.replace("http", "https")], /does not speak https; is it http:/, 2],
    [["deploy", "other", stations, "--input-format", "csv"], /are for --source -/, 2],
    [["push", "weather", join(scratch(), "none.csv")], /there is no file .*none\.csv/, 1],
    [["push", "weather", scratch()], /is a folder; name its files/, 1],
    [["push", "weather", cut], /cut\.gz cannot be read/, 1],
    [["push", "weather", write("a.parquet", "PAR1....")], /--source FILE/, 1],
    [["up", "--cpus", "0"], /^hallelujah: --cpus takes .*\n$/, 2],
    [["up", "--cpus", "two"], /^hallelujah: --cpus takes .*\n$/, 2],
    [["push", "weather"], /one JSON array/, 1, '[{"station":"a"}]'],
  ];
  // Two at a time, and a name is deployed by one at a time.
  const named = wrong.map(([args, ...more], i): (typeof wrong)[number] => [
    args.map((arg) => (arg === "other" ? `other-${i}` : arg)),
    ...more,
  ]);
  await each(named, (call) => refuses(...call));
  assert.is((await host.client.stream("weather")).frames, 0);
  assert.equal(
    (await host.client.streams()).map(({ name }) => name),
    ["weather"],
  );
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
  await logs.prints(/deployed \S+\.wasm/);
  assert.is(await logs.end("SIGINT"), 130);
  assert.is(logs.said.stderr, "");
  const ended = start(["logs", "-f"]);
  await ended.prints(/\n/);
  assert.is(await ended.end("SIGTERM"), 143);
  assert.is(ended.said.stderr, "");
  // What comes next is written to nobody.
  await prints(["pause", "echo"]);
  const after = start(["logs", "-f"]);
  await after.prints(/echo is paused/);
  await after.end("SIGTERM");
  assert.not.match(host.log(), /a call failed/);
});

test("a reader that has gone ends a command in peace", async () => {
  await prints(["deploy", "echo", echo]);
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
