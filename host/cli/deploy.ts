/** `hallelujah deploy`: a kernel becomes a stream of a host. */
import { existsSync, readFileSync } from "node:fs";
import { basename, resolve } from "node:path";
import { colors } from "./colors.ts";
import type { Offer, StreamInfo } from "../client/live.ts";
import { HallelujahError, messageOf } from "../core/errors.ts";
import type { PushFlags } from "./push.ts";
import { hostOf, print } from "./remote.ts";

/** Those of `push` are for `--source -`. */
export interface DeployFlags extends PushFlags {
  min?: number;
  max?: number;
  source?: string[];
  from?: string;
  share?: boolean;
  host?: string;
  sink?: string[];
  retain?: string;
  strict?: boolean;
}

export async function deployCommand(name: string, kernel: string, flags: DeployFlags): Promise<void> {
  const module = readKernel(kernel);
  const { min, max, from, share, host, retain, strict, source = [], sink } = flags;
  const { inputFormat, delimiter, columns } = flags;
  if (!source.includes("-") && (inputFormat ?? delimiter ?? columns) !== undefined) {
    const message =
      "--input-format, --delimiter and --columns are for --source -; files say it by themselves";
    throw new HallelujahError("usage", message);
  }
  const files = source.filter((each) => each !== "-").map((each) => (isUrl(each) ? each : resolve(each)));
  try {
    const stream = await hostOf(flags).deploy(name, {
      kernel: module,
      file: basename(kernel),
      source: files,
      ...(min === undefined ? {} : { min }),
      ...(max === undefined ? {} : { max }),
      ...(from === undefined ? {} : { from }),
      ...(share === undefined ? {} : { share }),
      ...(host === undefined ? {} : { host }),
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
  try {
    await pushCommand(name, ["-"], { ...flags, end: true });
  } catch (error) {
    process.stderr.write(`${name} stays; to remove it: hallelujah rm ${name}\n`);
    throw error;
  }
}

/** A kernel's source, or a built module. */
export function readKernel(path: string): string | Uint8Array {
  if (!existsSync(path)) throw new HallelujahError("kernel-missing", `there is no kernel ${path}`);
  if (!/\.(ts|wasm)$/.test(path)) {
    const message = `${path} is no kernel: a kernel is a .ts file, or a .wasm that hallelujah build made`;
    throw new HallelujahError("usage", message);
  }
  try {
    return path.endsWith(".wasm") ? readFileSync(path) : readFileSync(path, "utf8");
  } catch (cause) {
    throw new HallelujahError("kernel-unreadable", `${path} cannot be read: ${messageOf(cause)}`, { cause });
  }
}

/** Of whatever scheme: the host says which it knows. */
function isUrl(text: string): boolean {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(text);
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
    return `  ${colors.bold(`hallelujah capacity ${stream} ${Math.max(0, min - 1)}`)}   ${stream} has ${jahs} of at least ${min}; ${cost}`;
  });
  return ["these could give a CPU:", ...lines].join("\n");
}
