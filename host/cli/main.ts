#!/usr/bin/env node
/** The command line. Each command's code is loaded only when it runs, as `run` should start in no time. */
import { Command, CommanderError, Option } from "commander";
import { HallelujahError, messageOf } from "../core/errors.ts";
import { FRAME_TIMEOUT_MS } from "../core/limits.ts";
import { bytes, character, list, milliseconds, positive } from "./arguments.ts";

/** Errors of the call itself rather than of the work. */
const MISUSED = new Set(["usage", "order-unknown", "table-unknown", "csv-tables"]);

const program = new Command("hallelujah")
  .description(
    "A massively parallel analytics engine: kernels of ten lines in AssemblyScript, run on every core.",
  )
  .showHelpAfterError("(hallelujah --help lists the commands)")
  .exitOverride();

program
  .command("run")
  .description("Run a kernel over files and print the rows of its tables.")
  .argument("<kernel>", "the kernel: a .ts file, or a built .wasm")
  .argument("<inputs...>", "files, folders or globs; - is standard input")
  .addOption(
    new Option("--format <format>", "of the rows; table on a terminal, else ndjson").choices([
      "table",
      "ndjson",
      "json",
      "csv",
    ]),
  )
  .option(
    "--order <field>",
    "order rows by key or a field such as temperature.mean; -field for the largest first",
  )
  .option("--limit <n>", "print at most n rows of each table", positive)
  .option("--table <name>", "print only this table")
  .option(
    "--delimiter <byte>",
    "CSV: what stands between fields (tab or \\t for a tab); found out if not given",
    character,
  )
  .option(
    "--columns <names>",
    "CSV: names of the columns, if there is no header line, joined by commas",
    list,
  )
  .addOption(
    new Option("--input-format <format>", "of the inputs, if name and content do not tell").choices([
      "csv",
      "ndjson",
      "lines",
      "parquet",
      "arrow",
    ]),
  )
  .option("--jahs <n>", "processes; as many as there are CPUs if not given", positive)
  .option("--memory <size>", "state that each process may hold, e.g. 512M or 2G", bytes)
  .option(
    "--frame-timeout <seconds>",
    `seconds after which a kernel that does not return is stopped (${FRAME_TIMEOUT_MS / 1000})`,
    milliseconds,
  )
  .option("--strict", "stop at the first record that does not fit")
  .addHelpText(
    "after",
    "\nExample:\n  hallelujah run stations.ts data/*.csv --order -temperature.mean --limit 10",
  )
  .action(async (kernel, inputs, options) => {
    const { runCommand } = await import("./run.ts");
    await runCommand(kernel, inputs, options);
  });

program
  .command("build")
  .description("Compile a kernel to a WebAssembly module.")
  .argument("<kernel>", "the kernel: a .ts file")
  .option("-o, --output <file>", "where to write the module; NAME.wasm beside the kernel if not given")
  .addHelpText("after", "\nExample:\n  hallelujah build stations.ts -o stations.wasm")
  .action(async (kernel, options) => {
    const { buildCommand } = await import("./build.ts");
    await buildCommand(kernel, options);
  });

program
  .command("new")
  .description("Make a folder with a first kernel, its data and its test.")
  .argument("<folder>", "the folder to make")
  .addHelpText("after", "\nExample:\n  hallelujah new weather && cd weather && npm install && npm test")
  .action(async (folder) => {
    const { newCommand } = await import("./new.ts");
    await newCommand(folder);
  });

program
  .command("test")
  .description(
    "Run the tests of kernels: files named *.test.js, each kernel instantiated anew for every frame.",
  )
  .argument("[paths...]", "test files or folders; the current folder if not given")
  .addHelpText("after", "\nExample:\n  hallelujah test")
  .action(async (paths) => {
    const { testCommand } = await import("./test.ts");
    await testCommand(paths);
  });

program.version(await version(), "-v, --version");

async function version(): Promise<string> {
  const { sdkVersion } = await import("../core/version.ts");
  return sdkVersion();
}

try {
  for (const command of program.commands) command.exitOverride();
  await program.parseAsync();
} catch (error) {
  process.exitCode = complain(error);
}

/** Says what went wrong; the exit code: 1 failed, 2 misused. */
function complain(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  const known = error instanceof HallelujahError;
  process.stderr.write(
    `hallelujah: ${known ? error.message : ((error as Error).stack ?? messageOf(error))}\n`,
  );
  return known && MISUSED.has(error.code) ? 2 : 1;
}
