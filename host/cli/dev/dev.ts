/** `hallelujah dev`: a kernel that is built and run again whenever it is saved, with what changed. */
import { existsSync } from "node:fs";
import { basename, resolve } from "node:path";
import { HallelujahError } from "../../core/errors.ts";
import { Compilers } from "../../compiler/apart.ts";
import { print, untilInterrupted } from "../remote.ts";
import { Loop, type Shown } from "./loop.ts";
import { type DevFlags, rerunOf } from "./rerun.ts";
import { readSources, SourceWatcher } from "./sources.ts";
import { render } from "./view.ts";

const CLEAR = "\u001b[H\u001b[2J\u001b[3J";
/** Lines that are too long are cut at the edge rather than go on in the next one, and the other way round. */
const CUT = "\u001b[?7l";
const WRAP = "\u001b[?7h";

/** Runs until it is interrupted: rejects with `interrupted`, or with what is wrong with the call or with the engine. */
export async function devCommand(kernel: string, inputs: string[], flags: DevFlags): Promise<void> {
  check(kernel, inputs, flags);
  const path = resolve(kernel);
  const signal = untilInterrupted();
  const compilers = new Compilers({ max: 1, warmMs: Number.POSITIVE_INFINITY });
  const rerun = rerunOf(path, inputs, flags, compilers);
  const screen = new Screen(basename(kernel), flags.limit);
  const loop = new Loop({
    read: () => readSources(path),
    ...rerun,
    show: (shown) => screen.show(shown),
    after: (ms, call) => {
      const timer = setTimeout(call, ms);
      return () => clearTimeout(timer);
    },
    now: () => performance.now(),
  });
  const watcher = new SourceWatcher(path, () => loop.touched());
  loop.start();
  try {
    await Promise.race([loop.failure, untilAborted(signal)]);
  } finally {
    watcher.close();
    await loop.stop();
    compilers.end();
    await screen.close();
  }
}

/** What is for files alone: a stream, and rows that are kept, say these by themselves. */
const OF_FILES = {
  delimiter: "--delimiter",
  columns: "--columns",
  inputFormat: "--input-format",
  jahs: "--jahs",
  memory: "--memory",
  frameTimeout: "--frame-timeout",
} as const;

function check(kernel: string, inputs: string[], flags: DevFlags): void {
  const { stream, from, dataset, url, token } = flags;
  const refuse = (message: string) => new HallelujahError("usage", message);
  if (!kernel.endsWith(".ts")) throw refuse(`${kernel} is no source: dev watches a kernel's .ts file`);
  const ways = [inputs.length > 0, stream !== undefined, from !== undefined].filter(Boolean).length;
  if (ways !== 1)
    throw refuse("name inputs, or a stream: --stream NAME swaps its kernel, --from NAME visits its rows");
  if (inputs.includes("-"))
    throw refuse("standard input can be read once only: name files, folders or globs");
  const misplaced = Object.entries(OF_FILES).find(
    ([name]) => flags[name as keyof typeof OF_FILES] !== undefined,
  );
  if (!inputs.length && misplaced) throw refuse(`${misplaced[1]} is for inputs, which are files`);
  if (inputs.length && (url ?? token) !== undefined)
    throw refuse("--url and --token are for --stream and --from");
  if (dataset !== undefined && from === undefined) throw refuse("--dataset is for --from");
  if (!existsSync(kernel)) throw new HallelujahError("kernel-missing", `there is no kernel ${kernel}`);
}

function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    else signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

/** Blocks one after the other in a pipe; on a terminal the last one, drawn again when its size changes. */
class Screen {
  private readonly name: string;
  private readonly limit: number | undefined;
  private readonly isTerminal = Boolean(process.stdout.isTTY);
  private printing: Promise<void> = Promise.resolve();
  private last: Shown | undefined;
  private readonly onResize = () => this.last && this.show(this.last);

  constructor(name: string, limit: number | undefined) {
    this.name = name;
    this.limit = limit;
    if (this.isTerminal) process.stdout.on("resize", this.onResize);
  }

  show(shown: Shown): void {
    this.last = shown;
    const { columns: width = 120, rows } = process.stdout;
    const text = render(shown, {
      name: this.name,
      width,
      height: this.isTerminal ? (rows ?? 24) : undefined,
      limit: this.limit,
    });
    if (!text) return;
    // While the next answer is worked out, the last one stays where it is.
    const keeps = this.isTerminal && shown.kind === "working" && shown.round > 1;
    const drawn = shown.kind === "answer" ? CUT + text + WRAP : text;
    const whole = this.isTerminal ? (keeps ? `\u001b[H\u001b[2K${drawn}` : CLEAR + drawn) : `${text}\n`;
    this.printing = this.printing.then(() => print(whole));
  }

  async close(): Promise<void> {
    process.stdout.off("resize", this.onResize);
    await this.printing;
  }
}
