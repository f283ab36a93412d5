/**
 * Runs for tests: a kernel over bytes in this process (`Decoder`), a whole job with real Jahs (`runRows`), and the command
 * line (`cli`). Files live in a folder that is removed at the end.
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buildKernel } from "../host/compiler/cache.ts";
import type { KernelDescriptor } from "../host/compiler/descriptor.ts";
import { packageRoot } from "../host/core/package-root.ts";
import { bomLength, csvShape } from "../host/input/csv-header.ts";
import { Mapper } from "../host/jah/mapper.ts";
import { createMemory, KernelInstance } from "../host/kernel/instance.ts";
import { CSV, JSON_ARRAY, NDJSON } from "../host/kernel/memory-map.ts";
import { type JobOptions, runJob, type Summary } from "../host/run/job.ts";
import { reasonOf } from "../host/input/reasons.ts";
import type { SourceSpec } from "../host/wire/jah.ts";

// biome-ignore lint/suspicious/noExplicitAny: rows are whatever the kernel makes
export type Row = any;

let folder: string | undefined;

/** A folder for this process's files. */
export function scratch(): string {
  if (!folder) {
    folder = mkdtempSync(join(tmpdir(), "hj-test-"));
    process.on("exit", () => rmSync(folder!, { recursive: true, force: true }));
  }
  return folder;
}

export function write(name: string, content: string | Uint8Array): string {
  const path = join(scratch(), name);
  writeFileSync(path, content);
  return path;
}

export function kernelFile(name: string): string {
  return join(packageRoot, "test", "kernels", `${name}.ts`);
}

/** A kernel of its source alone. Its file's path follows from the source, so that it is built once. */
export function kernelOf(name: string, source: string): string {
  const hash = createHash("sha256").update(source).digest("hex").slice(0, 16);
  const folder = join(tmpdir(), "hj-test-kernels", hash);
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${name}.ts`);
  writeFileSync(path, source);
  return path;
}

export interface Ran {
  bytes: Buffer;
  text: string;
  rows: Row[];
  summary: Summary;
}

export type RunOptions = Omit<JobOptions, "kernel" | "inputs" | "stdin"> & {
  format?: "ndjson" | "csv" | "json";
  stdin?: Buffer | Readable;
};

/** A whole job, with Jahs of their own; two if not said otherwise. `kernel` is a file, or the name of one of test/kernels. */
export async function runRows(
  kernel: string,
  inputs: string | string[],
  options: RunOptions = {},
): Promise<Ran> {
  const { format = "ndjson", stdin, ...rest } = options;
  const chunks: Uint8Array[] = [];
  const summary = await runJob(
    {
      jahs: 2,
      ...rest,
      kernel: kernel.endsWith(".ts") ? kernel : kernelFile(kernel),
      inputs: [inputs].flat(),
      ...(stdin ? { stdin: stdin instanceof Readable ? stdin : Readable.from(chunked(stdin, 65_536)) } : {}),
    },
    {
      format: { ndjson: NDJSON, csv: CSV, json: JSON_ARRAY }[format] as typeof NDJSON,
      delimiter: 0x2c,
      shared: false,
      write: async (bytes) => {
        chunks.push(Uint8Array.from(bytes));
      },
    },
  );
  const bytes = Buffer.concat(chunks);
  const text = bytes.toString();
  const rows = format === "ndjson" ? parseLines(text) : format === "json" ? (JSON.parse(text) as Row[]) : [];
  return { bytes, text, rows, summary };
}

export function parseLines(text: string): Row[] {
  return text
    .split("\n")
    .filter((line) => line)
    .map((line) => JSON.parse(line) as Row);
}

export function* chunked(bytes: Buffer, size: number): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

export interface CliResult {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

/** `hallelujah ARGS`, as a process of its own. */
export async function cli(
  args: string[],
  { stdin, env = {}, shell }: { stdin?: Buffer | string; env?: Record<string, string>; shell?: string } = {},
): Promise<CliResult> {
  const main = [process.execPath, join(packageRoot, "dist", "cli", "main.js"), ...args];
  const command = main.map((part) => `'${part.replaceAll("'", "'\\''")}'`).join(" ");
  const child = shell
    ? spawn("bash", ["-c", shell.replace("HALLELUJAH", () => command)], { env: { ...process.env, ...env } })
    : spawn(main[0], main.slice(1), { env: { ...process.env, ...env } });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => stderr.push(chunk));
  child.stdin.on("error", () => {}); // it may end before it has read all
  child.stdin.end(stdin ?? "");
  return new Promise((done) => {
    child.on("close", (code, signal) => {
      done({
        code,
        signal,
        stdout: Buffer.concat(stdout).toString(),
        stderr: Buffer.concat(stderr).toString(),
      });
    });
  });
}

export interface Decoded {
  rows: Row[];
  bad: number;
  /** Offset and reason of the bad records. */
  problems: { offset: number; reason: string }[];
  quoted: boolean;
}

/** One kernel in this process: what it emits of the bytes of one frame. */
export class Decoder {
  readonly descriptor: KernelDescriptor;
  private readonly kernel: KernelInstance;

  private constructor(kernel: KernelInstance, descriptor: KernelDescriptor) {
    this.kernel = kernel;
    this.descriptor = descriptor;
  }

  static async of(name: string): Promise<Decoder> {
    const { path, descriptor } = await buildKernel(name.endsWith(".ts") ? name : kernelFile(name));
    const kernel = new KernelInstance(new WebAssembly.Module(readFileSync(path)), createMemory(64 << 20));
    kernel.exports.start(NDJSON, 0x2c);
    return new Decoder(kernel, descriptor);
  }

  csv(bytes: Buffer, given: { delimiter?: number; columns?: string[] } = {}): Promise<Decoded> {
    const { delimiter, dataStart, plan } = csvShape("test.csv", bytes, this.descriptor.input.fields, given);
    return this.map(bytes, { format: "csv", size: 0, dataStart, delimiter, plan });
  }

  ndjson(bytes: Buffer): Promise<Decoded> {
    return this.map(bytes, {
      format: "ndjson",
      size: 0,
      dataStart: bomLength(bytes),
      delimiter: 0,
      plan: [],
    });
  }

  /** What the rows were rendered as, byte for byte. */
  async raw(bytes: Buffer, format: "csv" | "ndjson"): Promise<Buffer> {
    const { emitted } = (await this.done(bytes, { format, size: 0, dataStart: 0, delimiter: 0x2c, plan: [] }))
      .done;
    return Buffer.from(emitted ?? []);
  }

  private done(bytes: Buffer, source: SourceSpec) {
    const mapper = new Mapper(this.kernel, [source], 1, [], 512 * 1024);
    const offset = source.dataStart;
    return mapper.map(
      { kind: "bytes", frame: 0, source: 0, bytes: bytes.subarray(offset), offset },
      undefined,
    );
  }

  private async map(bytes: Buffer, source: SourceSpec): Promise<Decoded> {
    const { done } = await this.done(bytes, source);
    const { fields } = this.descriptor.input;
    return {
      rows: done.emitted ? parseLines(new TextDecoder("utf-8", { fatal: true }).decode(done.emitted)) : [],
      bad: done.bad,
      problems: done.problems.map((problem) => ({
        offset: problem.offset,
        reason: reasonOf(problem, fields),
      })),
      quoted: done.quoted,
    };
  }
}

/** Parameters for fast-check; the seed shows in the report of a failure and can be given as FC_SEED. */
export function seeded(numRuns: number): { numRuns: number; seed: number } {
  const seed = process.env.FC_SEED ? Number(process.env.FC_SEED) : Date.now() ^ (process.pid << 8);
  return { numRuns, seed };
}

/** A generator of numbers in [0, 1) that follow from a seed (mulberry32). */
export function random(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The seed of a test's own random numbers, printed so that a failure can be had again. */
export function seedOf(test: string): number {
  const seed = process.env.FC_SEED ? Number(process.env.FC_SEED) : Date.now() & 0x7fffffff;
  console.log(`${test}: FC_SEED=${seed}`);
  return seed;
}
