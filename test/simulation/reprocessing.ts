/**
 * Reprocesses on a simulated host: the real `Reprocesses` and `Reprocess`, which are begun and cancelled now and then, and what must hold of them
 * all along: green gets no frame that blue has not done, nobody asks blue for anything once green has taken over, and no folder is
 * removed that counts or that somebody has open.
 */
import { basename, dirname, join } from "node:path";
import type { KernelDescriptor } from "../../host/compiler/descriptor.ts";
import { HallelujahError } from "../../host/core/errors.ts";
import type { Jahs } from "../../host/hallelu/jahs.ts";
import type { StreamRecord } from "../../host/hallelu/record.ts";
import { refuseIfReprocessing, Reprocesses, type ReprocessingHost } from "../../host/hallelu/reprocesses.ts";
import type { Running } from "../../host/hallelu/running.ts";
import type { Stream } from "../../host/hallelu/stream.ts";
import type { StreamParts } from "../../host/hallelu/stream-parts.ts";
import type { ToLiveJah } from "../../host/wire/live.ts";
import type { SimulatedDisk } from "./disk.ts";
import type { SimulatedKernels } from "./kernels.ts";
import { UNWRITTEN } from "./registry.ts";
import { Broken } from "./rules.ts";

export interface ReprocessingParts {
  cpus: number;
  /** Of whoever reprocesses. */
  zeal: () => number;
  kernels: SimulatedKernels;
  descriptor: KernelDescriptor;
  disk: SimulatedDisk;
  say(what: string): void;
  isThere(running: Running): boolean;
  jahs(): Jahs;
  /** What the host that runs now has to write records with. */
  writes(): (running: Running) => Promise<void>;
  partsOf(running: Running, name: string): Pick<StreamParts, "jahs" | "cpus" | "freeCpus" | "save" | "note">;
  registered(name: string): StreamRecord | undefined;
  /** The frames from here on are needed again. */
  needs(running: Running, frame: number): void;
  broken(rule: string): void;
  /** Another stream object has the place of the one before. */
  succeeded(stream: Stream): void;
}

export class SimulatedReprocesses {
  readonly counts = { reprocesses: 0, cancels: 0 };
  private readonly parts: ReprocessingParts;
  /** Those of the host that runs, and what tells it from those that were killed. */
  private real: Reprocesses;
  private life = {};
  /** Of each stream with a reprocess, the frame below which blue has done all once. */
  private readonly reaches = new Map<Running, number>();
  private readonly streams = new Map<Running, Stream>();
  /** Those whose place another has taken. */
  private readonly replaced = new WeakSet<Stream>();

  constructor(parts: ReprocessingParts) {
    this.parts = parts;
    this.real = this.newReprocesses();
  }

  private newReprocesses(): Reprocesses {
    const { parts } = this;
    const life = {};
    this.life = life;
    // Nothing that a host was at when it was killed comes to its end.
    const alive = () => (life === this.life ? Promise.resolve() : new Promise<void>(() => {}));
    const host = {
      data: "/nowhere",
      cpus: parts.cpus,
      jahs: parts.jahs(),
      journal: { info: () => {}, warn: () => {}, error: () => {} },
      isThere: (running: Running) => parts.isThere(running),
      isBusy: () => false,
      moduleOf: async () => ({ wasm: Buffer.from(parts.kernels.nextMended()), descriptor: parts.descriptor }),
      checkOutput: () => {},
      partsOf: (running: Running, name: string) => parts.partsOf(running, name),
      write: parts.writes(),
    };
    return new Reprocesses(host as unknown as ReprocessingHost, {
      write: async (path, bytes) => {
        await alive();
        parts.kernels.keep(path, Buffer.from(bytes).toString());
      },
      remove: async ({ stream }, name) => {
        await alive();
        this.remove(join(stream.folder, name));
      },
      located: (record) => record,
      readModule: () => parts.descriptor,
    });
  }

  /** The host was started again. */
  restarted(): void {
    this.reaches.clear();
    this.streams.clear();
    this.real = this.newReprocesses();
  }

  /** As `Streams.resume` does it. */
  resume(running: Running): void {
    this.real.dropOld(running);
    running.stream.recall();
    this.real.resume(running);
  }

  /** Resolves when one has begun, or it turned out that there can be none now. */
  async start(running: Running, shards: number): Promise<void> {
    const { parts, counts } = this;
    const { stream } = running;
    const { name } = stream;
    parts.say(`${name}: a reprocess is wanted`);
    try {
      const max = 1 + Math.floor(parts.zeal() * parts.cpus);
      await this.real.begin(running, { kernel: { kind: "wasm", bytes: Buffer.alloc(0) }, max, oldest: true });
      counts.reprocesses++;
      const { green } = running.reprocess!;
      parts.needs(running, green.record.begin!);
      parts.say(`${name}: ${green.versions.current.module} reprocesses from frame ${green.record.begin}`);
      if (shards) await green.change({ shards });
    } catch (error) {
      this.pass(error, ["reprocess-running", "stream-on-trial", "stream-unknown", "reprocess-invalid"]);
    }
  }

  /** Its user gives one up. */
  async cancel(running: Running): Promise<void> {
    const { parts, counts } = this;
    const { name } = running.stream;
    try {
      await this.real.cancel(running);
      counts.cancels++;
      parts.say(`${name}: its reprocess is cancelled`);
      if (running.stream.record.reprocess)
        throw new Broken(`${name} has a reprocess yet, which was cancelled`);
    } catch (error) {
      this.pass(error, ["reprocess-unknown"]);
    }
  }

  /** Errors that are in order. */
  pass(error: unknown, codes: string[]): void {
    const code = error instanceof HallelujahError ? error.code : "";
    if (!codes.includes(code) && (error as Error).message !== UNWRITTEN) throw error;
  }

  /** Whether kernels cannot be swapped now. */
  refuses(running: Running): boolean {
    try {
      refuseIfReprocessing(running, "swap its kernel");
      return false;
    } catch {
      return true;
    }
  }

  /** Something has happened. */
  look(all: Iterable<Running>): void {
    for (const running of all) {
      const { stream, reprocess } = running;
      const before = this.streams.get(running);
      if (before && before !== stream) {
        this.replaced.add(before);
        this.parts.succeeded(stream);
      }
      this.streams.set(running, stream);
      if (!reprocess) this.reaches.delete(running);
      else {
        const { outputs } = stream;
        const reach = Math.max(this.reaches.get(running) ?? 0, stream.lowest, outputs.lastFrame + 1);
        this.reaches.set(running, reach);
      }
    }
  }

  /** A stream says something to a Jah. */
  says(stream: Stream, message: ToLiveJah): void {
    // What it allows them to save is in folders that do not count any more.
    if (this.replaced.has(stream) && message.type !== "end" && message.type !== "commit")
      this.parts.broken(`a stream whose place ${stream.name} has taken says ${message.type}`);
    if (message.type !== "map") return;
    for (const [{ reprocess, stream: blue }, reach] of this.reaches) {
      if (reprocess?.green !== stream) continue;
      for (const { task } of message.frames)
        if (task.frame >= Math.max(reach, blue.lowest))
          this.parts.broken(
            `${stream.name} gets frame ${task.frame}, and its stream has done those below ${reach}`,
          );
    }
  }

  claims(stream: Stream): void {
    if (this.replaced.has(stream))
      this.parts.broken(`a stream whose place ${stream.name} has taken claims a Jah`);
  }

  private remove(path: string): void {
    const { disk, registered, broken } = this.parts;
    const record = registered(basename(dirname(path)));
    const stored = [...(record?.stored ?? []), ...(record?.reprocess?.stored ?? [])];
    // A reprocess that the registry could not be told of may be in it all the same, with nothing on disk.
    if (disk.has(path) && stored.some(({ folder }) => folder === basename(path)))
      broken(`${path} is removed, which the registry names`);
    if (disk.isOpen(path)) broken(`${path} is removed while it is open`);
    disk.remove(path);
  }

  /** All is done: what is left of reprocesses. */
  rest(running: Running): void {
    const { name, record } = running.stream;
    const registered = this.parts.registered(name)!;
    if (running.reprocess || record.reprocess || registered.reprocess)
      throw new Broken(`the reprocess of ${name} does not come to its end`);
    if (
      registered.versions?.some(({ version, error }) => version === registered.version && error !== undefined)
    )
      throw new Broken(`${name} has version ${registered.version}, which was given up`);
    for (const { folder } of registered.stored)
      if (!this.parts.disk.has(join(running.stream.folder, folder)) && registered.frame > 0)
        throw new Broken(`${name} is in ${folder}, where nothing is`);
  }
}
