/** `hallelujah dev` in real processes: files that editors write in their ways, over inputs, into a stream, over rows that stay. */
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { cli } from "../run.ts";
import { start } from "./commands.ts";
import { drained, startHost, until } from "./host.ts";

const test = suite("flow/dev");
const folder = mkdtempSync(join(tmpdir(), "hallelujah-dev-"));
test.after(() => rmSync(folder, { recursive: true, force: true }));

const PATIENCE_MS = 60_000;
const KERNEL = (body: string, imports = "") => `import { Sum, Table, Text } from "hallelujah";
${imports}
@record class Reading { station: Text; temperature: f64 }
@state class Weather { total: Sum }
const stations = new Table<Text, Weather>("stations");
export function each(reading: Reading): void {
  ${body}
}`;
const ADD = "stations.at(reading.station).total.add(reading.temperature);";
/** Never returns, which is not known when it is built. */
const ENDLESS = `${ADD} for (let i = 0; i >= 0; i = (i + 1) & 7) stations.at(reading.station).total.add(1);`;
const READINGS = "station,temperature\nOslo,1\nAbha,2\nLima,3\n";

const childrenOf = (pid: number): number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number);
const isThere = (pid: number) => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};
async function eventually(what: string, holds: () => boolean, seen = () => ""): Promise<void> {
  for (const deadline = Date.now() + PATIENCE_MS; !holds(); await sleep(20))
    assert.ok(Date.now() < deadline, `${what}\n${seen()}`);
}
/** The command, whose output is waited for as long as is sensible. */
function startDev(url: string, args: string[]) {
  const dev = start(url, ["dev", ...args]);
  return {
    ...dev,
    prints: (words: RegExp) =>
      eventually(
        `${words} in:`,
        () => words.test(dev.said.stdout),
        () => dev.said.stdout + dev.said.stderr,
      ),
  };
}
/** As editors do that never write into a file. */
function saveByRename(path: string, text: string): void {
  writeFileSync(`${path}~`, text);
  renameSync(`${path}~`, path);
}

test("saves are run over files, by whatever way they are written; Ctrl-C ends all of it", async () => {
  const kernel = join(folder, "kernel.ts");
  const input = join(folder, "readings.csv");
  mkdirSync(join(folder, "parts"));
  writeFileSync(join(folder, "parts", "factor.ts"), "export const factor = 10.0;\n");
  writeFileSync(input, READINGS);
  writeFileSync(kernel, KERNEL(ADD));
  const dev = startDev("http://127.0.0.1:1", [kernel, input, "--order", "key"]);
  try {
    await dev.prints(/#1 kernel\.ts \d+ ms\nstations \(3 rows\)\n[^]*Lima/);
    saveByRename(kernel, KERNEL(`if (reading.temperature < 3) ${ADD}`));
    await dev.prints(/#2 kernel\.ts \d+ ms: 1 gone\n[^]*│ - │ Lima │ +3 │/);
    writeFileSync(kernel, KERNEL("stations.of(reading.station);"));
    await dev.prints(
      /#3 kernel\.ts failed after \d+ ms\nkernel\.ts:7:\d+ error: [^]*\n +7 \| [^]*#2 is the last good/,
    );
    saveByRename(kernel, KERNEL(ENDLESS));
    await eventually("it runs", () => childrenOf(dev.child.pid!).length > 1);
    const times = 'import { factor } from "./parts/factor";';
    saveByRename(
      kernel,
      KERNEL(`stations.at(reading.station).total.add(reading.temperature * factor);`, times),
    );
    await dev.prints(/#5 kernel\.ts \d+ ms: 1 added, 2 changed\n[^]*10 \(was 1\)/);
    writeFileSync(join(folder, "parts", "factor.ts"), "export const factor = 100.0;\n");
    await dev.prints(/#6 kernel\.ts \d+ ms: 3 changed\n[^]*100 \(was 10\)/);
    const processes = childrenOf(dev.child.pid!);
    assert.is(await dev.end("SIGINT"), 130, dev.said.stderr);
    assert.is(dev.said.stderr, "");
    await eventually("all processes are gone", () => !processes.some(isThere));
  } finally {
    dev.child.kill("SIGKILL");
  }
});

test("what it cannot do is refused before anything is started", async () => {
  const kernel = join(folder, "refused.ts");
  writeFileSync(kernel, KERNEL(ADD));
  for (const [args, words] of [
    [[kernel], /name inputs, or a stream/],
    [[kernel, "x.csv", "--from", "weather"], /name inputs, or a stream/],
    [[kernel, "-"], /standard input/],
    [["kernel.wasm", "x.csv"], /is no source/],
    [[kernel, "x.csv", "--dataset", "d"], /--dataset is for --from/],
    [[kernel, "x.csv", "--url", "http://127.0.0.1:1"], /--url and --token are for/],
    [[kernel, "--from", "weather", "--jahs", "1"], /--jahs is for inputs/],
  ] as const) {
    const { code, stderr, stdout } = await cli(["dev", ...args]);
    assert.match(stderr, words);
    assert.is(stdout, "");
    assert.is(code, 2, stderr);
  }
});

test("saves are swapped into a stream, and visit the rows that it keeps", async () => {
  const host = await startHost();
  const kernel = join(folder, "kept.ts");
  const visitor = join(folder, "visitor.ts");
  const kept = (body: string) =>
    KERNEL(`rows.add(reading); ${body}`)
      .replace("{ Sum", "{ Dataset, Sum")
      .replace("const stations", 'const rows = new Dataset<Reading>("rows");\nconst stations');
  writeFileSync(kernel, kept(ADD));
  writeFileSync(visitor, KERNEL(ADD));
  const into = startDev(host.url, [kernel, "--stream", "weather"]);
  let from: ReturnType<typeof startDev> | undefined;
  try {
    await into.prints(/#1 kept\.ts \d+ ms\nno rows/);
    await host.client.push("weather", READINGS, { format: "csv" });
    await until(host.client, "weather", drained);
    saveByRename(kernel, kept(`if (reading.temperature > 0) ${ADD}`));
    await into.prints(/#2 kept\.ts \d+ ms: 3 added\n/);
    assert.is((await host.client.stream("weather")).version, 2);
    assert.is(await into.end("SIGINT"), 130, into.said.stderr);

    from = startDev(host.url, [visitor, "--from", "weather"]);
    await from.prints(/#1 visitor\.ts \d+ ms\nstations \(3 rows\)/);
    saveByRename(visitor, KERNEL("stations.of(1);"));
    await from.prints(/#2 visitor\.ts failed after \d+ ms\n[^]*visitor\.ts:7:\d+ error: /);
    saveByRename(visitor, KERNEL(`${ADD} stations.at(reading.station).total.add(1);`));
    await from.prints(/#3 visitor\.ts \d+ ms: 3 changed\n[^]*2 \(was 1\)/);
    assert.is(await from.end("SIGTERM"), 143, from.said.stderr);
  } finally {
    into.child.kill("SIGKILL");
    from?.child.kill("SIGKILL");
    await host.stop();
  }
});

test.run();
