/** `hallelujah deploy`: a kernel becomes a stream of a host. */
import { existsSync, readFileSync } from "node:fs";
import { basename, resolve } from "node:path";
import pc from "picocolors";
import type { Offer, StreamInfo } from "../client/live.ts";
import { HallelujahError } from "../core/errors.ts";
import type { PushFlags } from "./push.ts";
import { hostOf, print } from "./remote.ts";

/** Those of `push` are for `--source -`. */
export interface DeployFlags extends PushFlags {
  min?: number;
  max?: number;
  source?: string[];
  from?: string;
  sink?: string[];
  retain?: string;
  strict?: boolean;
}

export async function deployCommand(name: string, kernel: string, flags: DeployFlags): Promise<void> {
  if (!existsSync(kernel)) throw new HallelujahError("kernel-missing", `there is no kernel ${kernel}`);
  const { min, max, from, retain, strict, source = [], sink } = flags;
  const { inputFormat, delimiter, columns } = flags;
  if (!source.includes("-") && (inputFormat ?? delimiter ?? columns) !== undefined) {
    const message =
      "--input-format, --delimiter and --columns are for --source -; files say it by themselves";
    throw new HallelujahError("usage", message);
  }
  const files = source.filter((each) => each !== "-").map((each) => (isUrl(each) ? each : resolve(each)));
  try {
    const stream = await hostOf(flags).deploy(name, {
      kernel: kernel.endsWith(".wasm") ? readFileSync(kernel) : readFileSync(kernel, "utf8"),
      file: basename(kernel),
      source: files,
      ...(min === undefined ? {} : { min }),
      ...(max === undefined ? {} : { max }),
      ...(from === undefined ? {} : { from }),
      ...(retain === undefined ? {} : { retain }),
      ...(strict === undefined ? {} : { strict }),
      ...(sink === undefined ? {} : { sink: sink.map((each) => (isUrl(each) ? each : resolve(each))) }),
    });
    await print(describe(stream));
  } catch (error) {
    const { offers } = error as { offers?: Offer[] };
    if (offers?.length) process.stderr.write(`${describeOffers(offers)}\n`);
    throw error;
  }
  if (!source.includes("-")) return;
  const { pushCommand } = await import("./push.ts");
  await pushCommand(name, ["-"], { ...flags, end: true });
}

function isUrl(text: string): boolean {
  return /^https?:\/\//.test(text);
}

function describe({ name, kernel, version, tables, min, max }: StreamInfo): string {
  const has = tables.length ? `tables: ${tables.join(", ")}` : "no tables";
  return `${name} runs ${kernel} (version ${version}; ${has}; ${min} to ${max} Jahs)\n`;
}

/** What could be done about a refusal, as commands. */
function describeOffers(offers: Offer[]): string {
  const lines = offers.map(({ stream, jahs, min, backlogSeconds }) => {
    const cost =
      backlogSeconds === null
        ? "its backlog would never be done"
        : backlogSeconds
          ? `its backlog would take ${backlogSeconds.toFixed(1)} s`
          : "it has no backlog";
    return `  ${pc.bold(`hallelujah capacity ${stream} ${Math.max(0, min - 1)}`)}   ${stream} has ${jahs} of at least ${min}; ${cost}`;
  });
  return ["these could give a CPU:", ...lines].join("\n");
}
