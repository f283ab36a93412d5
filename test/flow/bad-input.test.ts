import { spawn } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { packageRoot } from "../../host/core/package-root.ts";
import { type CliResult, cli, kernelOf, parseLines, scratch, write } from "../run.ts";

const test = suite("bad input: hallelujah run");

const stations = join(packageRoot, "examples", "stations.ts");
/** A Jah of its own is enough where nothing is read. */
const ONE = ["--jahs", "1"];
const vega = (name: string) => join(packageRoot, "node_modules", "vega-datasets", "data", name);

const good = `station,temperature\n${Array.from({ length: 20_000 }, (_, i) => `s${i % 100},${i % 50}\n`).join("")}`;
const goodCsv = write("good.csv", good);

const KERNEL = `import { Count, Table, Text } from "hallelujah";
@record class Reading { station: Text; temperature: f64 }
@state class Tally { n: Count }
const few = new Table<bool, Tally>("few");
const many = new Table<Text, Tally>("many");
function check(x: f64): void {
  if (x == 49) CHECK;
}
export function each(reading: Reading): void {
  check(reading.temperature);
  few.at(true).n.add();
  many.at(reading.station).n.add();
}
`;
const keys = kernelOf("keys", KERNEL.replace("CHECK", "return"));

/** It failed, in so many words and without a stack. */
function refused(ran: CliResult, words: RegExp, code = 1): void {
  assert.match(ran.stderr, words);
  assert.not.match(ran.stderr, /^ +at .*(node:|\.js:)/m);
  assert.is(ran.code, code, ran.stderr);
}

async function rejects(input: string | string[], words: RegExp, code = 1): Promise<void> {
  refused(await cli(["run", stations, ...[input].flat(), ...ONE]), words, code);
}

test("inputs that are not there", async () => {
  await rejects(join(scratch(), "none.csv"), /there is no file .*none\.csv/);
  await rejects(join(goodCsv, "x"), /there is no file/);
  await rejects(join(scratch(), "*.none"), /no file matches/);
  mkdirSync(join(scratch(), "empty"));
  await rejects(join(scratch(), "empty"), /the folder .*empty has no data files/);
  symlinkSync("round", join(scratch(), "round"));
  await rejects(join(scratch(), "round"), /round cannot be read: ELOOP/);
  await rejects("x".repeat(300), /cannot be read: ENAMETOOLONG/);
});

if (process.getuid?.() !== 0) {
  test("a file that may not be read", async () => {
    const path = write("secret.csv", good);
    chmodSync(path, 0);
    await rejects(path, /secret\.csv cannot be read/);
  });
}

test("files that are cut, empty or something else", async () => {
  const parquet = readFileSync(vega("flights-3m.parquet"));
  await rejects(
    write("cut.parquet", parquet.subarray(0, 100_000)),
    /cut\.parquet: it does not end with "PAR1"/,
  );
  await rejects(
    write("cut.arrow", readFileSync(vega("flights-200k.arrow")).subarray(0, 100_000)),
    /cut\.arrow: .*truncated/,
  );
  await rejects(write("none.parquet", ""), /none\.parquet is empty, so it is no parquet file/);
  const binary = write("binary.csv", readFileSync(process.execPath).subarray(0, 300_000));
  await rejects(binary, /binary\.csv holds NUL bytes/);
  refused(
    await cli(["run", stations, "-"], { stdin: readFileSync(binary) }),
    /standard input holds NUL bytes/,
  );
  const utf16 = Buffer.from(`\uFEFF${good}`, "utf16le");
  await rejects(write("utf16.csv", utf16), /utf16\.csv is UTF-16; convert it to UTF-8/);
  refused(await cli(["run", stations, "-", ...ONE], { stdin: utf16 }), /standard input is UTF-16/);
  const array = '[\n  {"station":"a","temperature":1}\n]';
  await rejects(write("array.json", array), /array\.json is one JSON array, not NDJSON/);
  refused(await cli(["run", stations, "-", ...ONE], { stdin: array }), /standard input is one JSON array/);
});

test("gzip that is cut in the middle, damaged, or followed by something else", async () => {
  const gz = gzipSync(good);
  await rejects(write("cut.csv.gz", gz.subarray(0, gz.length >> 1)), /cut\.csv\.gz is broken gzip/);
  await rejects(write("short.csv.gz", gz.subarray(0, 5)), /short\.csv\.gz is broken gzip/);
  const damaged = Buffer.from(gz);
  damaged.fill(0xff, gz.length >> 1, (gz.length >> 1) + 100);
  await rejects(write("damaged.csv.gz", damaged), /damaged\.csv\.gz is broken gzip/);
  await rejects(
    write("behind.csv.gz", Buffer.concat([gz, Buffer.from("garbage behind")])),
    /behind\.csv\.gz is broken gzip/,
  );
  refused(
    await cli(["run", stations, "-"], { stdin: gz.subarray(0, gz.length >> 1) }),
    /standard input is broken gzip/,
  );
});

test("no records at all are no error", async () => {
  for (const [name, content] of [
    ["zero.csv", ""],
    ["zero.ndjson", ""],
    ["zero.csv.gz", gzipSync("")],
    ["header.csv", "station,temperature\n"],
    ["header2.csv", "station,temperature"],
    ["header3.csv.gz", gzipSync("station,temperature\r\n")],
    ["blank.ndjson", "\n\n"],
  ] as const) {
    const ran = await cli(["run", stations, write(name, content), ...ONE]);
    assert.equal([ran.code, ran.stdout, ran.stderr], [0, "", ""], name);
  }
  const json = await cli(["run", stations, write("zero.csv", ""), "--format", "json"]);
  assert.equal(JSON.parse(json.stdout), []);
});

test("a field that the input does not have is named, with what it has", async () => {
  const words = /has no "temperature"; did you mean "temprature"\?\nit has: station, temprature/;
  await rejects(write("typo.csv", "station,temprature\na,1\n"), words);
  await rejects(write("typo.ndjson", '{"station":"a","temprature":1}\n'), words);
  refused(await cli(["run", stations, "-", ...ONE], { stdin: '{"station":"a","temprature":1}\n' }), words);
  const long = write("long.csv", `${"x".repeat(1 << 20)}\na,1\n`);
  await rejects(long, /long\.csv has no header line: its first line is longer than 256 KiB/);
});

test("options that are wrong", async () => {
  await rejects([goodCsv, "--bogus"], /unknown option '--bogus'/, 2);
  await rejects([goodCsv, "--format", "xml"], /Allowed choices are table, ndjson, json, csv/, 2);
  await rejects(
    [goodCsv, "--table", "station"],
    /the kernel has no table station; did you mean stations\?/,
    2,
  );
  await rejects(
    [goodCsv, "--order", "temperature.means"],
    /did you mean temperature\.mean\?\nit has: key, /,
    2,
  );
  await rejects([goodCsv, "--limit", "0"], /whole number from 1/, 2);
  await rejects([], /missing required argument 'inputs'/, 2);
  refused(await cli(["bogus"]), /unknown command/, 2);
});

test("kernels that do not compile", async () => {
  const typo = kernelOf(
    "typo",
    KERNEL.replace("CHECK", "return").replace("reading.station", "reading.statin"),
  );
  refused(
    await cli(["run", typo, goodCsv]),
    /typo\.ts:12:\d+ error: .*statin.*\n.*many\.at\(reading\.statin\)/,
  );
  refused(await cli(["run", join(scratch(), "none.ts"), goodCsv]), /there is no kernel .*none\.ts/);
});

test("a kernel that stops is named with its line, and the input with its bytes", async () => {
  const kernel = kernelOf("throws", KERNEL.replace("CHECK", 'throw new Error("too warm")'));
  const words = (input: string) =>
    new RegExp(
      `the kernel stopped: too warm\nin \\w+ \\(throws\\.ts:7:\\d+\\)\nat ${input}, bytes \\d+ to \\d+`,
    );
  refused(await cli(["run", kernel, goodCsv]), words(".*good.csv"));
  refused(await cli(["run", kernel, "-"], { stdin: good }), words("standard input"));
});

test("a kernel that never returns is stopped, and named with its line", async () => {
  const kernel = kernelOf("loops", KERNEL.replace("CHECK", "while (x > 0) x += 1"));
  const words =
    /still at one frame after 1 s.*--frame-timeout.*\nin \w+ \(loops\.ts:7:\d+\)\nat .*good\.csv, bytes 0 to \d+/;
  refused(await cli(["run", kernel, goodCsv, "--frame-timeout", "1"]), words);
});

test("a kernel that stops as it starts is refused when it is built", async () => {
  const kernel = kernelOf(
    "starts",
    `import { Count, Text, Time, Window, Windows } from "hallelujah";
@record class Event { name: Text; @time at: Time }
@state class Seen { n: Count }
const seen = new Windows<Text, Seen>("seen", 1000, 300);
export function each(event: Event): void { seen.at(event.name, event.at).n.add(); }
export function close(window: Window, name: Text, seen: Seen): void {}`,
  );
  const words = /the kernel stops as it starts: the size of windows is a multiple of their step/;
  refused(await cli(["build", kernel]), words);
  refused(await cli(["run", kernel, goodCsv]), words);
});

test("a fold that never returns is stopped, too, whichever Jah it is at", async () => {
  const kernel = kernelOf(
    "folds",
    `import { Count, Table, Text } from "hallelujah";
@record class Reading { station: Text; temperature: f64 }
@state class Tally { n: Count }
const tallies = new Table<Text, Tally>("tallies");
export function key(reading: Reading): Text { return reading.station; }
export function fold(reading: Reading, tally: Tally): void {
  while (reading.temperature == 49) tally.n.add();
}`,
  );
  for (const jahs of ["1", "2", "3"]) {
    const args = ["run", kernel, goodCsv, "--frame-timeout", "1", "--jahs", jahs];
    refused(await cli(args), /still at one frame after 1 s.*--frame-timeout.*\nin fold \(folds\.ts:7:\d+\)/);
  }
});

test("a table that outgrows the memory is named, with what to do", async () => {
  const path = write(
    "keys.csv",
    `station,temperature\n${Array.from({ length: 300_000 }, (_, i) => `station number ${i},1\n`).join("")}`,
  );
  const words =
    /out of memory: the table many grew beyond the 8 MiB of a Jah \(\d+ entries there\)\n.*--memory/;
  refused(await cli(["run", keys, path, "--memory", "8M"]), words);
});

const badLines = `station,temperature\na,1\nb\nc,x\n"d\n\n",y\n${"e,1,2\n".repeat(20)}f,") `;
const badReport = (name: string) => `${name}:3: it has 1 field, too few for "temperature": b
${name}:4: "temperature" is not a number: c,x
${name}:5: "temperature" is not a number: "d
${Array.from({ length: 7 }, (_, i) => `${name}:${8 + i}: it has 3 fields, more than there are columns: e,1,2`).join("\n")}
hallelujah: 24 of 25 records did not fit and were left out; the first 10 are shown
`;

test("bad lines are counted and the first ten shown, with file, line and reason", async () => {
  const plain = write("bad.csv", badLines);
  const gz = write("bad.csv.gz", gzipSync(badLines));
  assert.is((await cli(["run", stations, plain])).stderr, badReport(plain));
  assert.is((await cli(["run", stations, gz])).stderr, badReport(gz));
  const piped = await cli(["run", stations, "-"], { stdin: badLines });
  assert.is(piped.stderr, badReport("standard input"));
  assert.is(piped.code, 0);
  assert.is(parseLines(piped.stdout).length, 1);
});

test("lines are right far behind, behind long fields, and behind a header of several lines", async () => {
  const field = `"${"line\n".repeat(50_000)}"`;
  const csv = `station,"temperature\n(C)"\n${`${field},1\n`.repeat(10)}${"a,1\n".repeat(200_000)}b,x\n`;
  const line = csv.split("\n").length - 1;
  const kernel = kernelOf(
    "header",
    `import { Count, Table, Text } from "hallelujah";
@record class Reading { station: Text; @name("temperature\\n(C)") temperature: f64 }
@state class Tally { n: Count }
const all = new Table<bool, Tally>("all");
export function each(reading: Reading): void { all.at(true).n.add(); }
`,
  );
  const words = new RegExp(
    `:${line}: "temperature\\\\n\\(C\\)" is not a number: b,x`.replace("\\\\n", "\\n"),
  );
  for (const ran of [
    await cli(["run", kernel, write("far.csv", csv)]),
    await cli(["run", kernel, "-"], { stdin: csv }),
  ]) {
    assert.match(ran.stderr, words);
    assert.is(ran.code, 0);
  }
});

test("--strict stops at the first bad line", async () => {
  await rejects(
    [write("bad.csv", badLines), "--strict"],
    /bad\.csv:3: it has 1 field.*\nstopped, as --strict asks/,
  );
});

test("if no record fits, that is an error", async () => {
  await rejects(
    write("none-fits.csv", "station,temperature\na,x\nb,y\n"),
    /no record fits the kernel's record class/,
  );
});

test("a line of 100 MB is left out, in CSV and NDJSON, from a file and from a pipe", async () => {
  const long = Buffer.alloc(100_000_000, "x");
  const csv = Buffer.concat([Buffer.from("station,temperature\na,1\n"), long, Buffer.from("\na,1\nb,z\n")]);
  const object = '{"station":"a","temperature":1}\n';
  const json = Buffer.concat([Buffer.from(`${object}{"station":"`), long, Buffer.from(`"}\n${object}{}\n`)]);
  for (const [name, bytes, line] of [
    ["line.csv", csv, 3],
    ["line.ndjson", json, 2],
  ] as const) {
    const path = write(name, bytes);
    for (const [shown, ran] of [
      [path, await cli(["run", stations, path])],
      ["standard input", await cli(["run", stations, "-"], { stdin: bytes })],
    ] as const) {
      assert.ok(ran.stderr.includes(`${shown}:${line}: it is longer than 16 MiB`), ran.stderr);
      assert.ok(ran.stderr.includes(`${shown}:${line + 2}: `), ran.stderr);
      assert.match(ran.stderr, /2 of 4 records did not fit/);
      assert.is(parseLines(ran.stdout)[0].temperature.count, 2);
    }
  }
});

test("an unclosed quote in a pipe costs one line, however much follows", async () => {
  const csv = `station,temperature\na,1\n"${"a,1\n".repeat(6_000_000)}`;
  const ran = await cli(["run", stations, "-"], { stdin: csv });
  assert.match(
    ran.stderr,
    /standard input:3: a quoted field is not closed: "a,1\nhallelujah: 1 of 6000001 records/,
  );
  assert.is(parseLines(ran.stdout)[0].temperature.count, 6_000_000);
});

const folders = () => readdirSync(tmpdir()).filter((name) => /^hallelujah-\w{6}$/.test(name));

/** Runs until the kernel loops, then sends a signal; the exit code, standard error, and the Jahs there were. */
async function interrupted(
  kernel: string,
  input: string,
  signal: NodeJS.Signals,
): Promise<[number | null, string, number[]]> {
  const main = join(packageRoot, "dist", "cli", "main.js");
  const temporary = join(scratch(), `tmp-${signal}-${input === "-"}`);
  mkdirSync(temporary);
  const child = spawn(process.execPath, [main, "run", kernel, input], {
    env: { ...process.env, TMPDIR: temporary },
  });
  let stderr = "";
  child.stderr.on("data", (chunk) => (stderr += chunk));
  // Until a Jah is in the kernel's loop: it has worked for 300 ms, which starting alone does not take.
  const children = () =>
    readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8")
      .trim()
      .split(" ")
      .filter(Boolean)
      .map(Number);
  const ticks = (pid: number) => Number(readFileSync(`/proc/${pid}/stat`, "utf8").split(" ")[13]);
  while (child.exitCode === null && !children().some((pid) => ticks(pid) > 30))
    await new Promise((done) => setTimeout(done, 20));
  const jahs = children();
  child.kill(signal);
  const code = await new Promise<number | null>((done) => child.on("close", done));
  assert.equal(readdirSync(temporary), []);
  return [code, stderr, jahs];
}

if (existsSync("/proc/self/task")) {
  test("a run that is interrupted ends at once: no process and no folder is left", async () => {
    const kernel = kernelOf("loops", KERNEL.replace("CHECK", "while (x > 0) x += 1"));
    for (const [signal, expected] of [
      ["SIGINT", 130],
      ["SIGTERM", 143],
    ] as const) {
      const [code, stderr, jahs] = await interrupted(kernel, goodCsv, signal);
      assert.equal([code, stderr], [expected, ""]);
      assert.ok(jahs.length >= 2);
      await new Promise((done) => setTimeout(done, 100));
      for (const pid of jahs)
        assert.not.ok(
          existsSync(`/proc/${pid}/exe`) && readFileSync(`/proc/${pid}/stat`, "utf8").split(" ")[2] !== "Z",
        );
    }
  });
}

test("whoever reads the rows may have enough", async () => {
  const path = write(
    "many.csv",
    `station,temperature\n${Array.from({ length: 300_000 }, (_, i) => `station number ${i},1\n`).join("")}`,
  );
  for (const format of ["ndjson", "json", "table"]) {
    const ran = await cli(["run", keys, path, "--format", format], {
      shell: 'set -o pipefail; HALLELUJAH | head -c 1; echo " ${PIPESTATUS[0]}"',
    });
    assert.match(ran.stdout, /^. 0\n$/, format);
    assert.is(ran.stderr, "", format);
  }
});

if (existsSync("/dev/full")) {
  test("a full disk is an error", async () => {
    const before = folders().length;
    for (const format of ["ndjson", "json", "table"]) {
      const ran = await cli(["run", stations, goodCsv, "--format", format], {
        shell: "HALLELUJAH > /dev/full",
      });
      refused(ran, /the rows cannot be written: no space left on device/);
    }
    assert.ok(folders().length <= before + 8); // those of runs beside this one
  });
}

test("a file may be named without a word of what it is", async () => {
  const path = join(scratch(), "without-extension");
  copyFileSync(goodCsv, path);
  assert.is((await cli(["run", stations, path])).code, 0);
});

test.run();
