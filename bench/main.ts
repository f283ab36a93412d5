import { existsSync } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import { hasGnuTime } from "./command.ts";
import { ROWS_DEFAULT } from "./data.ts";
import { figures, type Settings } from "./figures.ts";
import { machine } from "./machine.ts";
import { dataFolder, resultsFolder, root } from "./paths.ts";
import { type Result, removeResults, writeResults } from "./results.ts";
import { resultTable } from "./table.ts";

const usage = `npm run bench -- [NAME...] [--runs N] [--rows N] [--cli FILE] [--peers-only]

  NAME          ${Object.keys(figures).join(", ")}; all of them by default
  --runs N      rounds that count, after one warm-up (5)
  --rows N      rows of the generated files (${ROWS_DEFAULT}); other sizes keep their results out of bench/results
  --cli FILE    the engine under test (dist/cli/main.js); that of another checkout, to compare two commits
  --peers-only  without the engine: do the peers run, and do they agree?

Exit code 1 when an answer is wrong or a command fails; a bar that is not met is shown and is no failure.`;

const { names, help, settings } = commandLine();
if (help) console.log(usage);
else process.exitCode = await bench(names, settings);

/** Runs the figures one by one; one that fails does not keep the others from being measured. */
async function bench(chosen: string[], settings: Settings): Promise<number> {
  if (!settings.peersOnly && !existsSync(settings.cli)) {
    log(`${settings.cli} does not exist: npm run build, then try again`);
    return 1;
  }
  const folder = resultsFolder(settings.rows, ROWS_DEFAULT);
  if (!hasGnuTime) settings.log("no GNU time at /usr/bin/time: wall times only");
  const all: Result[] = [];
  const failures: string[] = [];
  for (const name of chosen) {
    try {
      const results = await figures[name](settings);
      if (!settings.peersOnly) writeResults(folder, name, results);
      all.push(...results);
    } catch (error) {
      // What an earlier run left there would pass for the result of this one.
      if (!settings.peersOnly) removeResults(folder, name);
      failures.push(`${name} failed: ${(error as Error).message}`);
      settings.log(failures.at(-1)!);
    }
  }
  const { cpu, cores, node, date } = settings.machine;
  console.log(`\n${cpu}, ${cores} cores, Node ${node}, ${date}\n`);
  if (all.length > 0) console.log(resultTable(all));
  for (const failure of failures) log(`\n${failure}`);
  return failures.length > 0 ? 1 : 0;
}

function commandLine() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        runs: { type: "string", default: "5" },
        rows: { type: "string", default: String(ROWS_DEFAULT) },
        cli: { type: "string", default: path.join(root, "dist/cli/main.js") },
        "peers-only": { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    });
    const unknown = positionals.find((name) => !(name in figures));
    if (unknown !== undefined) throw new TypeError(`no figure is named ${unknown}`);
    const rows = positiveInteger("rows", values.rows);
    const settings: Settings = {
      cli: path.resolve(values.cli),
      runs: positiveInteger("runs", values.runs),
      rows,
      peersOnly: values["peers-only"],
      machine: machine(),
      outFolder: path.join(dataFolder(rows, ROWS_DEFAULT), "out"),
      log,
    };
    return {
      names: positionals.length > 0 ? positionals : Object.keys(figures),
      help: values.help,
      settings,
    };
  } catch (error) {
    log(`${(error as Error).message}\n\n${usage}`);
    process.exit(2);
  }
}

function positiveInteger(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1)
    throw new TypeError(`--${name} ${text}: not a positive integer`);
  return value;
}

/** Progress and complaints; standard output is the table's. */
function log(line: string): void {
  process.stderr.write(`${line}\n`);
}
