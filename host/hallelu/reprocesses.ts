/** The reprocesses of a host's streams: begun, gone on with, ended, and what it takes that one takes over (reprocess.ts). */
import { join } from "node:path";
import { crc32 } from "node:zlib";
import type { KernelDescriptor } from "../compiler/descriptor.ts";
import { HallelujahError, messageOf } from "../core/errors.ts";
import { replaceFile } from "../store/durable.ts";
import type { Journal } from "../store/journal.ts";
import type { ReprocessInfo } from "../wire/http.ts";
import type { CheckedKernel } from "./builder.ts";
import type { ReprocessRequest } from "./host.ts";
import type { Jahs } from "./jahs.ts";
import { readModule } from "./module.ts";
import { located, type StreamRecord } from "./record.ts";
import { folderOf, Reprocess, reprocessOf, succeeded } from "./reprocess.ts";
import type { Running } from "./running.ts";
import { misfitsOf } from "./shapes.ts";
import { Stream } from "./stream.ts";
import type { HostParts } from "./stream-parts.ts";

/** What this does in the folders of streams. */
export interface ReprocessFiles {
  write: (path: string, bytes: Uint8Array) => Promise<void>;
  remove: (running: Running, name: string) => Promise<void>;
  located: typeof located;
  readModule: typeof readModule;
}

const FILES: ReprocessFiles = {
  write: replaceFile,
  remove: ({ home }, name) => (name.startsWith("dead/") ? home.drop(name) : home.dropShard(name)),
  located,
  readModule,
};

/** How often it is looked whether processes have ended, ms. */
const ENDING_MS = 100;

/** The host, as far as this needs it. */
export interface ReprocessingHost {
  data: string;
  cpus: number;
  jahs: Jahs;
  journal: Journal;
  /** Whether a stream is there, and may be worked on. */
  isThere: (running: Running) => boolean;
  /** Whether none may take over for now. */
  isBusy: () => boolean;
  moduleOf: (name: string, request: ReprocessRequest) => Promise<CheckedKernel>;
  /** Throws `output-none` if a kernel would leave those without rows who take the output. */
  checkOutput: (stream: Stream, kernel: KernelDescriptor) => void;
  partsOf: (running: Running, name: string) => HostParts;
  /** Writes what is known of a stream to the registry. */
  write: (running: Running) => Promise<void>;
}

export class Reprocesses {
  private readonly host: ReprocessingHost;
  private readonly files: ReprocessFiles;

  constructor(host: ReprocessingHost, files: ReprocessFiles = FILES) {
    this.host = host;
    this.files = files;
  }

  /**
   * Resolves when it has begun. Rejects with `reprocess-running`, `reprocess-invalid`, `reprocess-misfit`, `history-trimmed`, `stream-on-trial`,
   * `stream-failed` or `output-none`.
   */
  async begin(running: Running, request: ReprocessRequest): Promise<void> {
    const { stream } = running;
    const { name } = stream;
    const { max = this.host.cpus } = request;
    const letGo = stream.frames.hold();
    try {
      checkReprocess(running, max);
      const { wasm, descriptor } = await this.host.moduleOf(name, request);
      this.host.checkOutput(stream, descriptor);
      checkHistory(stream, descriptor, request.oldest ?? false);
      await stream.rollout.untrialled(); // else its number may be another's
      if (descriptor.time) await stream.frames.beginTimed();
      const version = stream.versions.next;
      const path = join(stream.folder, `kernel-${version}.wasm`);
      await this.files.write(path, wasm);
      await this.files.remove(running, folderOf(version));
      const file = request.file ?? descriptor.file;
      const kernel = { version, path, sum: crc32(wasm), file };
      const { frames } = stream;
      const begin = frames.first;
      const record = reprocessOf(stream.record, kernel, {
        begin,
        open: frames.openAt(begin),
        max,
        isSameTime: descriptor.time?.field === stream.kernel.time?.field,
      });
      stream.record.reprocess = record;
      try {
        await this.host.write(running);
      } catch (error) {
        delete stream.record.reprocess;
        throw error;
      }
      if (!this.host.isThere(running))
        throw new HallelujahError("stream-unknown", `${name} has been removed, or its host is about to end`);
      this.open(running, record, descriptor);
      const range = `frames ${begin} to ${frames.next - 1}`;
      this.host.journal.info({ stream: name }, `${file} takes in ${range} again, as version ${version}`);
    } finally {
      letGo();
    }
  }

  /** Ends one before it takes over. Rejects with `reprocess-unknown`. */
  async cancel(running: Running): Promise<void> {
    const { record, name } = running.stream;
    if (!record.reprocess || !(await this.end(running, "its user gave it up", "info"))) {
      const message = `no reprocess of ${name} is under way; hallelujah history ${name} shows those that were`;
      throw new HallelujahError("reprocess-unknown", message);
    }
  }

  private open(running: Running, record: StreamRecord, kernel: KernelDescriptor): void {
    const { stream: blue } = running;
    const { name } = blue;
    const reprocess = new Reprocess(
      {
        blue,
        commit: (cut) => this.takeOver(running, cut),
        giveUp: (reason) => {
          this.end(running, reason).catch((error: unknown) =>
            this.host.journal.error({ stream: name }, messageOf(error)),
          );
        },
        isBusy: () => this.host.isBusy(),
      },
      (until) => {
        const { outputs, lateOutputs, folder } = blue;
        const parts = {
          kernel,
          folder,
          home: running.home,
          owner: blue,
          ...blue.shared,
          outputs,
          lateOutputs,
          until,
        };
        return new Stream(record, { ...this.host.partsOf(running, name), ...parts });
      },
    );
    running.reprocess = reprocess;
    reprocess.green.recall();
    reprocess.green.follow();
  }

  /** One that was under way when the process before ended goes on. */
  resume(running: Running): void {
    const { record } = running.stream;
    if (!record.reprocess) return;
    const green = this.files.located(record.reprocess, this.host.data, record.name);
    green.sources = record.sources;
    record.reprocess = green;
    try {
      this.open(running, green, this.files.readModule(green));
    } catch (error) {
      void this.end(running, messageOf(error)).catch(() => {}); // the next process finds the same
    }
  }

  /** Ends one that is under way. Answers whether it was: not if it has taken over meanwhile. */
  private async end(running: Running, reason: string, level: "info" | "error" = "error"): Promise<boolean> {
    const { reprocess } = running;
    if (await reprocess?.remove()) return false;
    const { stream } = running;
    const { record } = stream;
    const green = record.reprocess;
    if (!green) return false;
    running.reprocess = undefined;
    delete record.reprocess;
    record.versions!.push(...green.versions!.map((version) => ({ ...version, error: reason })));
    record.moduleSums = { ...record.moduleSums, ...green.moduleSums };
    record.dropped = [...(record.dropped ?? []), ...green.stored.map(({ folder }) => folder)];
    await this.host.write(running);
    stream.note(level, `the reprocess with ${green.file}, version ${green.version}, has ended: ${reason}`);
    this.dropOld(running, reprocess?.green);
    return true;
  }

  /** A reprocess takes over at frame `cut`: one write of the registry, and then nobody asks the stream that was there. */
  private async takeOver(running: Running, cut: number): Promise<void> {
    const { stream: blue, reprocess } = running;
    const { green } = reprocess!;
    const { name } = blue;
    let over = () => {};
    running.cutting = new Promise((done) => {
      over = done;
    });
    const record = () => succeeded(blue.record, green.record, cut);
    try {
      if (!this.host.isThere(running)) throw new TypeError(`${name} is being removed`);
      await running.home.write(record());
      running.stream = green;
      running.reprocess = undefined;
      green.succeed(blue, record());
    } finally {
      running.cutting = undefined;
      over();
    }
    this.dropOld(running, blue);
  }

  /** Removes what does not count any more of a stream's folder, when nobody has it open: the Jahs of `holder` may still. */
  dropOld(running: Running, holder?: Stream): void {
    const { record, name } = running.stream;
    const { dropped = [] } = record;
    if (!dropped.length) return;
    const drop = async () => {
      while (holder && this.host.jahs.isEnding(holder))
        await new Promise((done) => setTimeout(done, ENDING_MS));
      await Promise.all(dropped.map((each) => this.files.remove(running, each)));
      const now = running.stream.record;
      now.dropped = (now.dropped ?? []).filter((each) => !dropped.includes(each));
      await this.host.write(running);
    };
    drop().catch((error: unknown) =>
      this.host.journal.warn(
        { stream: name },
        `what a reprocess left cannot be removed yet: ${messageOf(error)}`,
      ),
    );
  }
}

/** How one stands, as users see it. */
export function reprocessInfo(green: Stream): ReprocessInfo {
  const { version, kernel, state, frame, frames, max, jahs, bytesPerSecond } = green.info();
  return { version, kernel, state, begin: green.record.begin ?? 0, frame, frames, max, jahs, bytesPerSecond };
}

/** Throws `reprocess-running`. */
export function refuseIfReprocessing({ reprocess, stream }: Running, what: string): void {
  if (!reprocess) return;
  const { name } = stream;
  const message = `a reprocess of ${name} is under way; ${what} when it has taken over, or end it: hallelujah reprocess ${name} --cancel`;
  throw new HallelujahError("reprocess-running", message);
}

/** Whether a stream can be reprocessed at all. Throws `reprocess-running`, `reprocess-invalid` or `stream-failed`. */
function checkReprocess(running: Running, max: number): void {
  const { stream } = running;
  const { name, record, error } = stream;
  refuseIfReprocessing(running, "begin another");
  const refuse = (why: string) => {
    throw new HallelujahError("reprocess-invalid", `${name} cannot be reprocessed: ${why}`);
  };
  if (error !== undefined)
    throw new HallelujahError("stream-failed", `${name} stopped: ${error}; remove it, or share its records`);
  if (record.shares)
    refuse(`its records are those of ${record.from}; deploy another that shares them instead`);
  if (max < 1) refuse("it would have no Jah (max); give it one at least");
}

/** Whether a kernel can take in what a stream has had. Throws `history-trimmed`, `reprocess-invalid` or `reprocess-misfit`. */
function checkHistory({ name, frames }: Stream, descriptor: KernelDescriptor, oldest: boolean): void {
  if (frames.first > 0 && !oldest) {
    const message = `the log of ${name} begins at frame ${frames.first}, what came before is gone; take in what there is with --from oldest, and keep all from now on: PATCH /v1/streams/${name} with retain`;
    throw new HallelujahError("history-trimmed", message);
  }
  const misfits = misfitsOf(frames.shapes.sources, descriptor);
  if (misfits.length)
    throw new HallelujahError(
      "reprocess-misfit",
      `the kernel cannot read the records of ${name}:\n${misfits.join("\n")}`,
    );
}
