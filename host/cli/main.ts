#!/usr/bin/env node
/** The command line. Each command's code is loaded only when it runs, as `run` should start in no time. */
import { Command, CommanderError, Option } from "commander";
import { HallelujahError, messageOf } from "../core/errors.ts";
import { FRAME_TIMEOUT_MS } from "../core/limits.ts";
import { RETAIN_WORDS } from "../core/retain.ts";
import { inWriting } from "../core/write.ts";
import {
  bytes,
  character,
  collect,
  list,
  milliseconds,
  positive,
  producer,
  separator,
  types,
  whole,
} from "./arguments.ts";

/** Errors of the call itself rather than of the work. */
const MISUSED = new Set([
  "usage",
  "bad-request",
  "capacity-invalid",
  "cpus-invalid",
  "sink-invalid",
  "token-missing",
  "url-invalid",
  "stream-name-invalid",
  "key-invalid",
  "order-unknown",
  "retain-invalid",
  "table-unknown",
  "csv-tables",
  "sql-invalid",
  "sql-unsupported",
  "sql-too-long",
  "sql-too-deep",
  "types-invalid",
]);

const program = new Command("hallelujah")
  .description(
    "A massively parallel analytics engine: kernels of ten lines in AssemblyScript, run on every core.",
  )
  .showHelpAfterError("(hallelujah --help lists the commands)")
  .exitOverride();

program
  .command("run")
  .description("Run a kernel, or a query, over files and print the rows.")
  .usage(
    "[options] <kernel> <inputs...>\n       hallelujah run [options] --sql <query> <inputs...>\n       hallelujah run [options] <kernel> --from <stream>",
  )
  .argument("<kernel>", "the kernel: a .ts file, or a built .wasm; with --sql, the first input")
  .argument("[inputs...]", "files, folders, globs or URLs (http, https, s3); - is standard input")
  .option("--sql <query>", "a query instead of a kernel: 'SELECT ... FROM data', where the name is any")
  .option(
    "--types <list>",
    "with --sql: types of columns, as in zip=text,price=decimal; found out if not given",
    types,
  )
  .option("--explain", "with --sql: print the kernel that the query becomes, and run nothing")
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
  .option("--from <stream>", "run over the rows that a stream keeps, on its host, instead of files")
  .option("--dataset <name>", "with --from: which rows: a dataset or a table, where the stream has several")
  .option(
    "--hold",
    "with --from: the stream applies nothing meanwhile: a large table is as of one frame, too",
  )
  .option("--follow", "with --from: stay, and print the tables again when more rows have come")
  .option("--url <url>", "with --from: of the host; HALLELUJAH_URL, or http://127.0.0.1:7747, if not given")
  .option("--token <token>", "with --from: that the host asks for; HALLELUJAH_TOKEN if not given")
  .addHelpText(
    "after",
    "\nExample:\n  hallelujah run stations.ts data/*.csv --order -temperature.mean --limit 10" +
      "\n  hallelujah run --sql 'SELECT station, avg(temperature) FROM data GROUP BY 1 ORDER BY 2' data/*.csv",
  )
  .action(async (first, others, options) => {
    if (options.from !== undefined) {
      const { runFromCommand } = await import("./visit.ts");
      return runFromCommand([first, ...others], { ...options, from: options.from });
    }
    const { runCommand } = await import("./run.ts");
    if (options.sql === undefined) await runCommand(first, others, options);
    else await runCommand(undefined, [first, ...others], options);
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

program
  .command("up")
  .description("Start a host: streams are deployed to it, and records pushed.")
  .option("--listen <address>", "host:port to serve at", "127.0.0.1:7747")
  .option("--data <folder>", "where streams are kept (default: hallelujah in the user's state folder)")
  .option(
    "--cpus <n>",
    "CPUs for Jahs: how many, or a list such as 0,2-3; all that this process may use if not given",
  )
  .option("--token <token>", "what callers must have; also HALLELUJAH_TOKEN, which other users cannot see")
  .option("--no-pin", "leave it to the system on which CPU each Jah runs")
  .option(
    "--allow-wasm-visits",
    "take visiting kernels as .wasm, too: whoever may visit a stream can then change what it keeps",
  )
  .option(
    "--cluster <url>",
    "be a host of the cluster on these NATS servers: nats://HOST:PORT, several joined by commas; also HALLELUJAH_CLUSTER",
  )
  .option("--name <name>", "of this host in the cluster; that of the machine if not given")
  .option("--cluster-name <name>", "of the cluster, where several share servers", "hallelujah")
  .option("--replicas <n>", "of the cluster: on how many servers everything is kept, 1 or 3", whole)
  .option(
    "--lost-after <seconds>",
    "of the cluster: a host is lost that is not heard of for so long (2)",
    milliseconds,
  )
  .addHelpText("after", "\nExample:\n  hallelujah up --listen 127.0.0.1:7747 --data ./data")
  .action(async (options) => {
    const { upCommand } = await import("./up.ts");
    await upCommand(options);
  });

program
  .command("doctor")
  .description("Check this machine; with --data, the data folder of a host that is down. Changes nothing.")
  .option("--data <folder>", "where streams are kept")
  .addHelpText("after", "\nExample:\n  hallelujah doctor --data ./data")
  .action(async (options) => {
    const { doctorCommand } = await import("./doctor.ts");
    await doctorCommand(options);
  });

/** A command against a host: where that is, and the token it may ask for. */
function remote(name: string, description: string, example: string): Command {
  return program
    .command(name)
    .description(description)
    .option("--url <url>", "of the host; HALLELUJAH_URL, or http://127.0.0.1:7747, if not given")
    .option("--token <token>", "that the host asks for; HALLELUJAH_TOKEN if not given")
    .addHelpText("after", `\nExample:\n  ${example}`);
}

const FORMAT = () =>
  new Option("--format <format>", "of what is printed; table on a terminal, else ndjson").choices([
    "table",
    "json",
    "ndjson",
    "csv",
  ]);

remote(
  "backup",
  "Copy the data of a running host into a file; each stream rests for a moment.",
  "hallelujah backup monday.tar",
)
  .argument("<target>", "a file, or a folder for one that is named by the time")
  .action(async (target, options) => {
    const { backupCommand } = await import("./backup.ts");
    await backupCommand(target, options);
  });

program
  .command("restore")
  .description("Make a data folder of a backup, and check it.")
  .argument("<file>", "that hallelujah backup wrote")
  .requiredOption("--data <folder>", "a new or an empty one")
  .addHelpText("after", "\nExample:\n  hallelujah restore monday.tar --data ./restored")
  .action(async (file, options) => {
    const { restoreCommand } = await import("./backup.ts");
    await restoreCommand(file, options);
  });

/** The options of what pushes records. */
function pushing(command: Command): Command {
  return command
    .addOption(
      new Option("--input-format <format>", "of what is pushed, if name and content do not tell").choices([
        "csv",
        "ndjson",
        "lines",
      ]),
    )
    .option("--delimiter <byte>", "CSV: what stands between fields; found out if not given", separator)
    .option(
      "--columns <names>",
      "CSV: names of the columns, if there is no header line, joined by commas",
      list,
    );
}

pushing(
  remote(
    "deploy",
    "Make a kernel a stream of a host.",
    "hallelujah deploy weather examples/stations.ts --max 2",
  ),
)
  .argument("<name>", "of the stream: a-z, 0-9 and -")
  .argument("<kernel>", "the kernel: a .ts file, or a built .wasm")
  .option("--min <n>", "Jahs that it has while it works (1)", whole)
  .option("--max <n>", "Jahs that it may have; as many as there are CPUs if not given", whole)
  .option(
    "--source <input>",
    "file, folder, glob or URL (http, https, s3) that the host reads; - pushes standard input, whose end closes all windows",
    collect,
  )
  .option("--from <stream>", "take in the output of another stream, or its records if it has none")
  .option("--share", "with --from: take in the records, whether there is an output or not")
  .option("--host <name>", "of the cluster, that the stream is on; the one with the most room if not given")
  .option("--sink <target>", "file of the host, or URL, for the output", collect)
  .option("--retain <what>", RETAIN_WORDS)
  .option("--strict", "stop at a frame that stops the kernel, rather than set it aside")
  .action(async (name, kernel, options) => {
    const { deployCommand } = await import("./deploy.ts");
    await deployCommand(name, kernel, options);
  });

pushing(
  remote("push", "Push records into a stream.", "hallelujah push weather data/*.csv")
    .argument("<name>", "of the stream")
    .argument("[files...]", "files, .gz too; standard input if none or -"),
)
  .option(
    "--producer <id>",
    "go on with a push that was interrupted: what is stored already is passed over",
    producer,
  )
  .option("--end", "no more records come after these: close all windows")
  .action(async (name, files, options) => {
    const { pushCommand } = await import("./push.ts");
    await pushCommand(name, files.length ? files : ["-"], options);
  });

remote(
  "load",
  "Keep the rows of files in a stream of its own, for queries and visits.",
  "hallelujah load flights data/*.parquet",
)
  .argument("<name>", "of the stream, and of its dataset: a-z, 0-9 and -")
  .argument(
    "<files...>",
    "CSV, NDJSON, Parquet or Arrow, with the same columns: files, folders or globs of the host",
  )
  .option("--types <list>", "types of columns, as in zip=text,price=decimal; found out if not given", types)
  .addOption(
    new Option("--input-format <format>", "of the files, if name and content do not tell").choices([
      "csv",
      "ndjson",
      "lines",
      "parquet",
      "arrow",
    ]),
  )
  .option("--max <n>", "Jahs that it may have; as many as there are CPUs if not given", whole)
  .option("--retain <what>", RETAIN_WORDS)
  .option("--explain", "print the kernel that keeps them, and load nothing")
  .action(async (name, files, options) => {
    const { loadCommand } = await import("./load.ts");
    await loadCommand(name, files, options);
  });

remote(
  "query",
  "Print rows of a stream's table, or the answer to a query over the rows that it keeps.",
  "hallelujah query weather stations --order -temperature.mean --limit 10",
)
  .argument("<name>", "of the stream")
  .argument(
    "<what>",
    "a table of its kernel; or a query: 'SELECT ... FROM rows', where the name is that of a dataset or a table",
  )
  .option("--key <key>", "one row: a text as it is, else JSON, such as '[\"a\",1]'")
  .option("--order <field>", "key, or a field such as temperature.mean; -field for the largest first")
  .option("--limit <n>", "print at most n rows", positive)
  .option("--explain", "of a query: print the kernel that it becomes, and run nothing")
  .addOption(FORMAT())
  .action(async (name, what, options) => {
    if (/\s/.test(what)) {
      const { querySqlCommand } = await import("./visit.ts");
      return querySqlCommand(name, what, options);
    }
    if (!what) throw new HallelujahError("usage", "name a table, or write a query: 'SELECT ... FROM rows'");
    const { queryCommand } = await import("./streams.ts");
    await queryCommand(name, what, options);
  });

remote(
  "visit",
  "Run a kernel over the rows that a stream keeps, or over those of a table.",
  "hallelujah visit flights examples/flights.ts --order -delay.mean --limit 10",
)
  .argument("<name>", "of the stream")
  .argument("<kernel>", "the kernel: a .ts file; a .wasm where the host is up with --allow-wasm-visits")
  .option("--dataset <name>", "which rows: a dataset or a table of the stream, where it has several")
  .option("--hold", "the stream applies nothing meanwhile: rows of a large table are as of one frame, too")
  .option("--table <name>", "of the kernel; without it all of them, and what it emits")
  .option("--order <field>", "of the table's rows: key, or a field; -field for the largest first")
  .option("--limit <n>", "print at most n rows of a table", positive)
  .option("--timeout <seconds>", "give up after so long (60)", positive)
  .option("--rows <n>", "refuse where there are more rows than this", positive)
  .option("--follow", "stay: print the tables again when more rows have come, until Ctrl-C")
  .addOption(FORMAT())
  .action(async (name, kernel, options) => {
    const { visitCommand } = await import("./visit.ts");
    await visitCommand(name, kernel, options);
  });

remote(
  "watch",
  "Print a stream's output as it comes, or a table as it changes.",
  "hallelujah watch weather --table stations",
)
  .argument("<name>", "of the stream")
  .option("--from <n>", "start at the row of this number; 0 is the first", whole)
  .option("--late", "what the kernel's function late emits, instead of the output")
  .option("--table <table>", "draw this table once a second")
  .option("--order <field>", "of the table's rows")
  .option("--limit <n>", "rows of the table", positive)
  .action(async (name, options) => {
    const { watchCommand } = await import("./watch.ts");
    await watchCommand(name, options);
  });

remote(
  "dev",
  "Run a kernel whenever it is saved, and show what changed in its answer.",
  "hallelujah dev stations.ts data/*.csv\n  hallelujah dev stations.ts --stream weather" +
    "\n  hallelujah dev examples/flights.ts --from flights --order -delay.mean",
)
  .argument("<kernel>", "the kernel: a .ts file, which is watched with what it imports")
  .argument("[inputs...]", "files, folders or globs that it runs over")
  .option(
    "--stream <name>",
    "swap it into this stream, or deploy it where there is none, and query its tables",
  )
  .option("--from <stream>", "run it over the rows that this stream keeps")
  .option("--dataset <name>", "with --from: which rows: a dataset or a table, where the stream has several")
  .option("--table <name>", "show only this table")
  .option(
    "--order <field>",
    "order rows by key or a field such as temperature.mean; -field for the largest first",
  )
  .option("--limit <n>", "show at most n rows of each table; as many as fit if not given", positive)
  .option("--delimiter <byte>", "CSV: what stands between fields; found out if not given", character)
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
  .option("--jahs <n>", "processes of a run; as many as there are CPUs if not given", positive)
  .option("--memory <size>", "state that each process of a run may hold, e.g. 512M or 2G", bytes)
  .option(
    "--frame-timeout <seconds>",
    "seconds after which a kernel that does not return is stopped",
    milliseconds,
  )
  .action(async (kernel, inputs, options) => {
    const { devCommand } = await import("./dev/dev.ts");
    await devCommand(kernel, inputs, options);
  });

remote("ps", "List streams.", "hallelujah ps")
  .argument("[name]", "one stream")
  .addOption(FORMAT())
  .action(async (name, options) => {
    const { psCommand } = await import("./streams.ts");
    await psCommand(name, options);
  });

remote("hosts", "List the hosts of the cluster.", "hallelujah hosts")
  .addOption(FORMAT())
  .action(async (options) => {
    const { hostsCommand } = await import("./streams.ts");
    await hostsCommand(options);
  });

remote("top", "Show CPUs, Jahs and backlogs as they change; q leaves.", "hallelujah top").action(
  async (options) => {
    const { topCommand } = await import("./watch.ts");
    await topCommand(options);
  },
);

remote(
  "swap",
  "Another kernel for a running stream, whose state stays.",
  "hallelujah swap weather stations.ts --dry-run",
)
  .argument("<name>", "of the stream")
  .argument("[kernel]", "the kernel: a .ts file, or a built .wasm")
  .option("--to <version>", "go back to a version that it has had", whole)
  .option("--dry-run", "say what would become of its tables, and do nothing")
  .action(async (name, kernel, options) => {
    const { swapCommand } = await import("./swap.ts");
    await swapCommand(name, kernel, options);
  });

remote(
  "reprocess",
  "Another kernel for a stream, over all records that its log has; it takes over when it has caught up.",
  "hallelujah reprocess weather spread.ts --wait",
)
  .argument("<name>", "of the stream")
  .argument("[kernel]", "the kernel: a .ts file, or a built .wasm")
  .option("--to <version>", "a version that it has had, in place of a kernel", whole)
  .option("--max <n>", "Jahs that it may have; as many as there are CPUs if not given", whole)
  .addOption(
    new Option("--from <frame>", "oldest: take in what the log has, though more is gone").choices(["oldest"]),
  )
  .option("--wait", "until it has taken over")
  .option("--cancel", "end the one that is under way")
  .action(async (name, kernel, options) => {
    const { reprocessCommand } = await import("./reprocess.ts");
    await reprocessCommand(name, kernel, options);
  });

remote("history", "List the versions of a stream's kernel.", "hallelujah history weather")
  .argument("<name>", "of the stream")
  .addOption(FORMAT())
  .action(async (name, options) => {
    const { historyCommand } = await import("./swap.ts");
    await historyCommand(name, options);
  });

remote("capacity", "Set how many Jahs a stream may have; 0 stops it.", "hallelujah capacity weather 1")
  .argument("<name>", "of the stream")
  .argument("<max>", "Jahs at most", whole)
  .option("--min <n>", "Jahs that it has while it works", whole)
  .action(async (name, max, options) => {
    const { capacityCommand } = await import("./streams.ts");
    await capacityCommand(name, max, options);
  });

remote(
  "pause",
  "Let a stream rest: what is pushed is kept, nothing is done with it.",
  "hallelujah pause weather",
)
  .argument("<name>", "of the stream")
  .action(async (name, options) => {
    const { pauseCommand } = await import("./streams.ts");
    await pauseCommand(name, true, options);
  });

remote("resume", "Let a paused stream go on.", "hallelujah resume weather")
  .argument("<name>", "of the stream")
  .action(async (name, options) => {
    const { pauseCommand } = await import("./streams.ts");
    await pauseCommand(name, false, options);
  });

remote("stop", "Stop a stream: the same as a capacity of 0. Its data stays.", "hallelujah stop weather")
  .argument("<name>", "of the stream")
  .action(async (name, options) => {
    const { stopCommand } = await import("./streams.ts");
    await stopCommand(name, options);
  });

remote("rm", "Remove a stream and its data.", "hallelujah rm weather --yes")
  .argument("<name>", "of the stream")
  .option("--keep-data", "leave its files where they are")
  .option("--yes", "do not ask")
  .action(async (name, options) => {
    const { rmCommand } = await import("./streams.ts");
    await rmCommand(name, options);
  });

remote(
  "dead",
  "List the frames that stopped a stream's kernel and were set aside, or print the records of one.",
  "hallelujah dead weather 17 --retry",
)
  .argument("<name>", "of the stream")
  .argument("[frame]", "one of them; with --retry or --drop also: all")
  .option("--retry", "log the records again, as a new frame")
  .option("--drop", "drop the records")
  .addOption(FORMAT())
  .action(async (name, frame, options) => {
    const { deadCommand } = await import("./dead.ts");
    await deadCommand(name, frame, options);
  });

remote("logs", "Print the host's log.", "hallelujah logs -f weather")
  .argument("[stream]", "only what is about this stream")
  .option("-f, --follow", "go on with what comes")
  .option("--lines <n>", "how many of the last lines", whole, 100)
  .addOption(FORMAT())
  .action(async (stream, options) => {
    const { logsCommand } = await import("./streams.ts");
    await logsCommand(stream, options);
  });

program.version(await version(), "-v, --version");

async function version(): Promise<string> {
  const { sdkVersion } = await import("../core/version.ts");
  return sdkVersion();
}

// A reader that has gone, as `head` has after a line, wants no more; the command goes on, and a host does.
for (const stream of [process.stdout, process.stderr])
  stream.on("error", (error) => {
    const failure = inWriting("output", error);
    if (failure.code !== "output-closed") process.exit(complain(failure));
  });

try {
  for (const command of program.commands) command.exitOverride();
  await program.parseAsync();
} catch (error) {
  process.exitCode = complain(error);
}

/** Says what went wrong; the exit code: 1 failed, 2 misused, and the signal's when interrupted. */
function complain(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  const known = error instanceof HallelujahError;
  if (known && error.code === "interrupted") return Number(process.exitCode);
  process.stderr.write(
    `hallelujah: ${known ? error.message : ((error as Error).stack ?? messageOf(error))}\n`,
  );
  return known && MISUSED.has(error.code) ? 2 : 1;
}
