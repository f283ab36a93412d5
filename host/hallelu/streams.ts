/** All streams of this host: what clients ask for, carried out on them. See host.ts for the contract. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir, totalmem } from "node:os";
import { basename, join } from "node:path";
import { crc32 } from "node:zlib";
import type { DatasetDescriptor, KernelDescriptor, TableDescriptor } from "../compiler/descriptor.ts";
import { KernelPlaces } from "../compiler/places.ts";
import { HallelujahError, isDiskFull, messageOf, nearest } from "../core/errors.ts";
import { BACKLOG_BYTES_MAX, SOURCE_OPEN_MS, STREAMS_MAX } from "../core/limits.ts";
import { parseRetain, RETAIN_DEFAULT } from "../core/retain.ts";
import { sdkVersion } from "../core/version.ts";
import { tableColumns } from "../kernel/table-columns.ts";
import { type Journal, readJournal } from "../store/journal.ts";
import { replaceFile } from "../store/durable.ts";
import { Log } from "../store/log.ts";
import { Outputs } from "../store/outputs.ts";
import { type Registry, registryText } from "../store/registry.ts";
import type { StreamLoad } from "../wire/congregation.ts";
import {
  type VisitableInfo,
  type DeadLetterInfo,
  type ClusterHostInfo,
  type HostInfo,
  type JahInfo,
  type Offer,
  type Pushed,
  STREAM_NAME,
  type StreamChange,
  type StreamInfo,
  type SwapPlan,
  type VersionInfo,
} from "../wire/http.ts";
import { archiveOf, inBackupOrder, snapshot, type SnapshotFile } from "./backup.ts";
import { admit } from "./admission.ts";
import { type DecodedFolder, DecodedFrames } from "./decoded.ts";
import { PARTITIONS } from "./dispatch.ts";
import { Builder, type CheckedKernel } from "./builder.ts";
import { readModule } from "./module.ts";
import type {
  VisitResult,
  Answer,
  DeployRequest,
  Host,
  OutputRows,
  PushBody,
  QueryRequest,
  ReprocessRequest,
  VisitRequest,
} from "./host.ts";
import type { Jahs } from "./jahs.ts";
import { whenRoom } from "./room.ts";
import { checkSink, runSink, type SinkStanding } from "./sinks.ts";
import { readSources } from "./sources.ts";
import { isRecordOf, located, streamFolder, type StreamRecord } from "./record.ts";
import { refuseIfReprocessing, Reprocesses, reprocessInfo } from "./reprocesses.ts";
import type { Running } from "./running.ts";
import { Stream, type StreamParts } from "./stream.ts";
import { misfitsOf, unseenColumns } from "./shapes.ts";
import { Tally } from "./tally.ts";
import { checkFollow, planVisit } from "./visit.ts";
import type { VisitingKernel } from "./visits.ts";

/** How often streams are looked at, ms. */
const TICK_MS = 100;
/** Ticks from one look at a stream that rests to the next: there may be very many of them. */
const RESTING_EVERY = 10;
/** Every so many ticks the Congregation is told how streams stand. */
const LOADS_EVERY = 2;

export interface StreamsOptions {
  data: string;
  cpus: number[];
  jahs: Jahs;
  registry: Registry;
  journal: Journal;
  /** Tells the Congregation how streams stand. */
  tellLoads: (streams: StreamLoad[]) => void;
  /** The hosts of the cluster; undefined where there is none. */
  clusterHosts?: () => ClusterHostInfo[] | undefined;
  /** Where the API is served. */
  url?: () => string;
  parkAfterMs?: number;
  frameTimeoutMs?: number;
  checkpointBytes?: number;
}

export class Streams implements Host {
  private readonly options: StreamsOptions;
  private readonly running = new Map<string, Running>();
  /** Names that are being deployed or removed. */
  private readonly changing = new Set<string>();
  private readonly builder = new Builder();
  private readonly reprocesses: Reprocesses;
  private readonly startedAt = new Date();
  private timer: NodeJS.Timeout | undefined;
  private ticks = 0;
  private backingUp = false;
  private isClosed = false;
  /** Whether the Congregation knows that nothing goes on. */
  private toldQuiet = false;

  constructor(options: StreamsOptions) {
    this.options = options;
    const { data, cpus, jahs, registry, journal } = options;
    this.reprocesses = new Reprocesses({
      data,
      cpus: cpus.length,
      jahs,
      registry,
      journal,
      isThere: (running) => !this.isClosed && this.running.get(running.stream.record.name) === running,
      isBusy: () => this.backingUp,
      moduleOf: (name, request) => this.moduleOf(name, request),
      checkOutput: (stream, kernel) => this.checkOutput(stream, kernel),
      partsOf: (running, name) => this.partsOf(running, name),
      write: (running) => this.write(running),
    });
  }

  /** Opens the streams that the registry knows. One that cannot be opened is said so in the journal, and left as it is. */
  async resume(): Promise<void> {
    rmSync(this.backupFolder, { recursive: true, force: true }); // of a process that was killed
    const { registry, data } = this.options;
    const records = registry.list("streams/").flatMap((key) => {
      const { value } = registry.get(key)!;
      const name = key.slice("streams/".length);
      if (isRecordOf(name, value)) return [located(value, data)];
      this.options.journal.error(
        { stream: name },
        "it cannot be opened: the registry has no record of a stream there",
      );
      return [];
    });
    const holds = new Map<string, () => void>();
    // The stream whose log it is comes before those that share it, which none shares in turn.
    for (const record of records.toSorted((a, b) => Number(a.shares ?? false) - Number(b.shares ?? false))) {
      try {
        const running = await this.open(record, readModule(record));
        const { stream } = running;
        // One that cannot be opened needs the log for ever.
        for (const { name } of records.filter(({ shares, from }) => shares && from === record.name))
          holds.set(name, stream.frames.hold());
        holds.get(record.name)?.();
        this.reprocesses.dropOld(running);
        stream.recall();
        if (stream.error !== undefined) continue;
        this.reprocesses.resume(running);
        if (stream.isBehind) stream.busy();
        else await stream.park();
        this.feed(running);
      } catch (error) {
        this.options.journal.error({ stream: record.name }, `it cannot be opened: ${messageOf(error)}`);
      }
    }
  }

  private tick(): void {
    const now = performance.now();
    const all = ++this.ticks % RESTING_EVERY === 0;
    for (const { stream, reprocess } of this.running.values()) {
      if (all || !stream.isResting) stream.tick(now);
      reprocess?.tick(now);
    }
    if (this.ticks % LOADS_EVERY) return;
    // Whoever has work has a Jah, or claims one.
    if (this.toldQuiet && !this.options.jahs.all.size) return;
    const loads = this.loads();
    const quiet = loads.every(({ jahs, busy }) => !jahs.length && !busy);
    if (!quiet || !this.toldQuiet) this.options.tellLoads(loads);
    this.toldQuiet = quiet;
  }

  /** A stream came or went: they are looked at as long as there are any. */
  private streamsChanged(): void {
    if (this.running.size) this.timer ??= setInterval(() => this.tick(), TICK_MS);
    else {
      clearInterval(this.timer);
      this.timer = undefined;
    }
    this.options.tellLoads(this.loads());
  }

  private loads(): StreamLoad[] {
    const now = performance.now();
    const all = [...this.running.values()].flatMap(({ stream, reprocess }) =>
      reprocess ? [stream, reprocess.green] : [stream],
    );
    return all.map((stream) => stream.load(now));
  }

  // --- deploying -------------------------------------------------------------------------------------------------

  async deploy(name: string, request: DeployRequest): Promise<{ created: boolean; stream: StreamInfo }> {
    if (!STREAM_NAME.test(name)) {
      const message = `a stream cannot be called ${JSON.stringify(name.slice(0, 80))}; use 1 to 63 of a-z, 0-9 and -`;
      throw new HallelujahError("stream-name-invalid", message);
    }
    if (this.changing.has(name)) {
      const message = `${name} is being deployed, swapped or removed right now; try again`;
      throw new HallelujahError("stream-exists", message);
    }
    const there = this.running.get(name);
    if (there) return { created: false, stream: await this.swap(there, request) };
    if (request.expect === "there" || request.kernel.kind === "version") this.find(name);
    if (this.running.size >= STREAMS_MAX)
      throw new HallelujahError("too-many-streams", `there are ${STREAMS_MAX} streams; remove one first`);
    this.changing.add(name);
    try {
      if (request.retain !== undefined) parseRetain(request.retain);
      for (const target of request.sink ?? []) checkSink(target);
      const { wasm, descriptor } = await this.moduleOf(name, request);
      if (request.sink?.length && !hasOutput(descriptor)) throw noOutput(name, "a sink would get no row");
      const shares = this.checkFrom(name, request, descriptor);
      const min = request.min ?? 1;
      const max = request.max ?? Math.max(min, this.options.cpus.length);
      if (max < min) {
        const given = request.min === undefined ? "which is 1 if not given" : `which is ${min}`;
        const message = `max (${max}) is less than min, ${given}; with both 0 the stream would be stopped`;
        throw new HallelujahError("capacity-invalid", message);
      }
      this.admit(name, Math.min(min, max));
      return {
        created: true,
        stream: await this.create(name, request, { wasm, descriptor, min, max, shares }),
      };
    } finally {
      this.changing.delete(name);
    }
  }

  /** The kernel of a running stream is replaced; its state stays. */
  private async swap(running: Running, request: DeployRequest): Promise<StreamInfo> {
    const { stream } = running;
    const { name } = stream;
    checkSwapOptions(stream, request);
    refuseIfReprocessing(running, "swap its kernel");
    this.changing.add(name);
    try {
      const { kernel, min, max, retain } = request;
      const { versions } = stream;
      const sameAs = kernel.kind === "version" ? versions.find(kernel.version) : undefined;
      const { wasm, descriptor } = await this.moduleOf(name, request);
      this.checkSwap(stream, descriptor);
      const module = sameAs?.module ?? `kernel-${versions.next}.wasm`;
      if (!sameAs) {
        await replaceFile(join(stream.folder, module), wasm);
        stream.record.moduleSums = { ...stream.record.moduleSums, [module]: crc32(wasm) };
      }
      const file = sameAs?.file ?? request.file ?? descriptor.file;
      const how = sameAs
        ? ({ how: "went back", sameAs: sameAs.version } as const)
        : ({ how: "swapped" } as const);
      await stream.rollout.swap({ module, file, ...how }, descriptor);
      if (min !== undefined || max !== undefined || retain !== undefined) {
        await this.change(name, {
          ...(min === undefined ? {} : { min }),
          ...(max === undefined ? {} : { max }),
          ...(retain === undefined ? {} : { retain }),
        });
      }
      return { ...infoOf(running), ...unseenBy(descriptor, stream) };
    } finally {
      this.changing.delete(name);
    }
  }

  /** What a swap would do. Changes nothing. */
  async planSwap(name: string, request: DeployRequest): Promise<SwapPlan> {
    const { stream } = this.find(name);
    const { descriptor } = await this.moduleOf(name, request);
    const { tables, removed, misfits } = stream.rollout.fitOf(descriptor);
    return {
      misfits,
      tables: tables.map(({ name: table, from, upgrade, added, dropped }) => ({
        table,
        kept: from !== undefined,
        upgraded: upgrade !== undefined,
        added,
        dropped,
      })),
      removed: removed.map((table) => table.name),
      ...unseenBy(descriptor, stream),
    };
  }

  versions(name: string): VersionInfo[] {
    const { versions } = this.find(name).stream;
    const { trial } = versions;
    return versions.all.map(({ version, from, file, at, how, sameAs, pauseMs, error }) => ({
      version,
      from,
      file,
      at,
      how,
      ...(sameAs === undefined ? {} : { sameAs }),
      ...(pauseMs === undefined ? {} : { pauseMs }),
      ...(error === undefined ? {} : { error }),
      trial: version === trial?.version,
    }));
  }

  private checkSwap(stream: Stream, descriptor: KernelDescriptor): void {
    this.checkOutput(stream, descriptor);
    stream.rollout.checkSwap(descriptor);
  }

  /** Throws `output-none` if another kernel would leave those without rows who take the output. */
  private checkOutput({ name, record }: Stream, descriptor: KernelDescriptor): void {
    const follower = [...this.running.values()].find(
      ({ stream: { record: other } }) => other.from === name && !other.shares,
    );
    if (!hasOutput(descriptor) && (record.sink.length || follower))
      throw noOutput(
        name,
        follower ? `${follower.stream.name} would get no record` : "its sinks would get no row",
      );
  }

  // --- reprocesses -------------------------------------------------------------------------------------------------

  async reprocess(name: string, request: ReprocessRequest): Promise<StreamInfo> {
    const running = this.find(name);
    if (this.changing.has(name)) {
      const message = `${name} is being deployed, swapped or removed right now; try again`;
      throw new HallelujahError("stream-exists", message);
    }
    this.changing.add(name);
    try {
      await this.reprocesses.begin(running, request);
      return infoOf(running);
    } finally {
      this.changing.delete(name);
    }
  }

  cancelReprocess(name: string): Promise<void> {
    return this.reprocesses.cancel(this.find(name));
  }

  /** Writes what is known of a stream to the registry. */
  private async write(running: Running): Promise<void> {
    while (running.cutting) await running.cutting;
    const { record } = running.stream;
    if (this.running.get(record.name) !== running) return;
    const { reprocess } = record;
    const kept = reprocess ? { ...record, reprocess: { ...reprocess, sources: [] } } : record;
    await this.options.registry.put(`streams/${record.name}`, kept);
  }

  /** The module that a request names. */
  private moduleOf(name: string, { kernel, file }: DeployRequest): Promise<CheckedKernel> {
    if (kernel.kind !== "version") return this.builder.kernelOf(kernel, file);
    const { versions } = this.find(name).stream;
    const bytes = readFileSync(versions.pathOf(versions.find(kernel.version)));
    return this.builder.kernelOf({ kind: "wasm", bytes }, undefined);
  }

  private admit(name: string, wanted: number): void {
    const cpus = this.options.cpus.length;
    if (wanted > cpus) {
      const message = `${name} would have ${wanted} Jahs at least (min), and this host has ${cpus} ${cpus === 1 ? "CPU" : "CPUs"}; ask for fewer`;
      throw Object.assign(new HallelujahError("no-capacity", message), { offers: [] satisfies Offer[] });
    }
    const { admitted, offers } = admit(this.loads(), cpus, wanted);
    if (admitted) return;
    const could = `lower the capacity of another stream, e.g. hallelujah capacity ${offers[0].stream} ${Math.max(0, offers[0].min - 1)}`;
    const message = `there is no CPU for ${name}: the streams that work need all ${cpus}; ${could}`;
    throw Object.assign(new HallelujahError("no-capacity", message), { offers: offers satisfies Offer[] });
  }

  /** Answers whether the records of `from` are shared, rather than that its output is taken in. */
  private checkFrom(name: string, request: DeployRequest, kernel: KernelDescriptor): boolean {
    const { from, share = false } = request;
    if (from === undefined) {
      if (share)
        throw new HallelujahError("share-invalid", "share needs from, the stream whose records are shared");
      return false;
    }
    const { stream, reprocess } = this.find(from);
    if (share || !hasOutput(stream.kernel)) {
      checkSharing(stream, name, kernel, request);
      return true;
    }
    if (reprocess && !hasOutput(reprocess.green.kernel))
      throw noOutput(`${from}, once its reprocess has taken over,`, `${name} would get no record`);
    for (let at: string | undefined = from; at !== undefined; at = this.running.get(at)?.stream.record.from) {
      if (at === name)
        throw new HallelujahError("stream-loop", `${name} would take in its own output, by way of ${from}`);
    }
    return false;
  }

  private async create(
    name: string,
    request: DeployRequest,
    kernel: { wasm: Uint8Array; descriptor: KernelDescriptor; min: number; max: number; shares: boolean },
  ): Promise<StreamInfo> {
    const { data, registry } = this.options;
    const folder = streamFolder(data, name);
    rmSync(join(folder), { recursive: true, force: true });
    streamFolder(data, name);
    // What it begins with stays there until it holds it itself.
    const shared = kernel.shares ? this.find(request.from!).stream.frames : undefined;
    const letGo = shared?.hold();
    const begin = shared?.first ?? 0;
    const path = join(folder, "kernel-1.wasm");
    await replaceFile(path, kernel.wasm);
    const record: StreamRecord = {
      name,
      version: 1,
      kernel: path,
      moduleSums: { [basename(path)]: crc32(kernel.wasm) },
      file: request.file ?? kernel.descriptor.file,
      min: kernel.min,
      max: kernel.max,
      paused: false,
      retain: request.retain ?? RETAIN_DEFAULT,
      source: request.source ?? [],
      ...(request.inputFormat === undefined ? {} : { inputFormat: request.inputFormat }),
      ...(request.from === undefined ? {} : { from: request.from }),
      ...(kernel.shares ? { shares: true, begin } : {}),
      sink: request.sink ?? [],
      ...(request.strict ? { strict: true } : {}),
      sources: [],
      dead: [],
      stored: [{ folder: "shard-0", from: 0, to: PARTITIONS, start: 0 }],
      frame: begin,
      counts: { records: 0, bad: 0, late: 0 },
    };
    try {
      await registry.put(`streams/${name}`, record, 0);
      const running = await this.open(record, kernel.descriptor);
      if (record.shares) running.stream.recall();
      if (record.max > 0) running.stream.wake();
      await this.feed(running);
      this.options.journal.info({ stream: name }, `deployed ${record.file}`);
      return infoOf(running);
    } catch (error) {
      const running = this.running.get(name);
      this.running.delete(name);
      this.streamsChanged();
      running?.stop.abort();
      if (running) await Promise.all([running.stream.remove(), ...running.feeding]);
      await registry.delete(`streams/${name}`).catch(() => {});
      rmSync(folder, { recursive: true, force: true });
      throw error;
    } finally {
      letGo?.();
    }
  }

  private async open(record: StreamRecord, kernel: KernelDescriptor): Promise<Running> {
    const folder = streamFolder(this.options.data, record.name);
    const owner = record.shares ? this.find(record.from!).stream : undefined;
    if (owner) record.sources = owner.record.sources; // one list, which grows with it
    const own = owner ? undefined : new Tally();
    const running: Omit<Running, "stream"> = {
      stop: new AbortController(),
      feeding: [],
      sinks: record.sink.map(() => ({ row: 0 })),
      diskFull: false,
    };
    const stream = new Stream(record, {
      kernel,
      folder,
      ...(owner
        ? { owner, ...owner.shared }
        : {
            log: await Log.open(join(folder, "log"), { digest: own! }),
            tally: own!,
            decoded: new DecodedFrames(decodedFolder(folder), () => performance.now()),
          }),
      outputs: await Outputs.open(join(folder, "output")),
      lateOutputs: await Outputs.open(join(folder, "late")),
      ...this.partsOf(running as Running, record.name),
    });
    const opened: Running = Object.assign(running, { stream });
    this.running.set(record.name, opened);
    this.streamsChanged();
    return opened;
  }

  /** What a stream has of its host; `running` will have it, and `name` is known to users. */
  private partsOf(
    running: Running,
    name: string,
  ): Pick<StreamParts, "jahs" | "cpus" | "freeCpus" | "save" | "note"> {
    const { jahs, journal, parkAfterMs, frameTimeoutMs, checkpointBytes } = this.options;
    const more = {
      ...(parkAfterMs === undefined ? {} : { parkAfterMs }),
      ...(frameTimeoutMs === undefined ? {} : { frameTimeoutMs }),
      ...(checkpointBytes === undefined ? {} : { checkpointBytes }),
    };
    return {
      jahs,
      cpus: this.options.cpus.length,
      freeCpus: () => this.freeCpus,
      save: () => this.write(running),
      note: (level, message, details) => journal[level]({ stream: name, ...details }, message),
      ...more,
    };
  }

  // --- what goes in and out by itself ----------------------------------------------------------------------------

  /** Resolves when its first input is open, or may yet take long; rejects if it cannot be opened, and then the stream has failed. */
  private feed(running: Running): Promise<void> {
    const { stream, stop, feeding } = running;
    const { record, name } = stream;
    const watched = (work: Promise<unknown>) => {
      feeding.push(
        work.catch((error: unknown) => {
          if (!stop.signal.aborted) running.stream.fail(messageOf(error));
        }),
      );
    };
    const opened = record.source.length
      ? new Promise<void>((done, fail) => {
          setTimeout(done, SOURCE_OPEN_MS).unref();
          const reading = this.readSource(running, done);
          reading.then(done, fail);
          watched(reading);
        })
      : Promise.resolve();
    opened.catch(() => {}); // told by `watched`
    if (record.from !== undefined && !record.shares)
      watched(this.followStream(running, record.from).catch((error) => this.followed(stream, error)));
    for (const [i, target] of record.sink.entries()) {
      const position = join(streamFolder(this.options.data, name), `sink-${i}.json`);
      const read = (from: number) => stream.outputs.read(from, stop.signal);
      const stands = (standing: SinkStanding) => this.sinkStands(running, i, standing);
      feeding.push(runSink(target, name, position, read, stop.signal, stands));
    }
    return opened;
  }

  /** A sink stopped taking rows, and why; or takes them again. */
  private sinkStands({ stream: { name }, sinks }: Running, sink: number, standing: SinkStanding): void {
    const { journal } = this.options;
    const { error } = sinks[sink];
    if (error === undefined && standing.error !== undefined) journal.error({ stream: name }, standing.error);
    if (error !== undefined && standing.error === undefined)
      journal.info({ stream: name }, "its sink takes rows again");
    sinks[sink] = standing;
  }

  /** Has something logged of what a stream reads by itself; while the disk is full, that waits, and users see it. */
  private logged<T>(running: Running, work: () => Promise<T>): Promise<T> {
    const { stream, stop } = running;
    return whenRoom(work, stop.signal, (why) => {
      const { journal } = this.options;
      if (why === undefined) journal.info({ stream: stream.name }, "there is room again");
      else if (running.waits === undefined) journal.error({ stream: stream.name }, messageOf(why));
      running.waits = why === undefined ? undefined : `${messageOf(why)}; it goes on when there is room`;
    });
  }

  /** Logs the frames of `--source`, those that are not logged yet; `onOpen` hears that an input is open. */
  private async readSource(running: Running, onOpen: () => void): Promise<void> {
    const { signal } = running.stop;
    const { record, kernel } = running.stream;
    const { sources } = record;
    const numbers = sources.flatMap(({ origin }, number) => (origin === "source" ? [number] : []));
    let left = 0;
    for await (const event of readSources(record, kernel, record.read ?? 0, signal)) {
      const { stream } = running;
      switch (event.type) {
        case "inputs":
          await this.logged(running, () => stream.frames.openClocks(event.count));
          break;
        case "begins":
          onOpen();
          if (numbers.length <= event.input) numbers.push(stream.frames.shapes.add(event.source));
          left = stream.frames.countOf(numbers[event.input]);
          break;
        case "frame": {
          if (left-- > 0) break;
          await this.room(running, signal);
          if (signal.aborted) return;
          const source = numbers[event.input];
          const body = "bytes" in event ? [Buffer.from(event.bytes)] : [];
          const head = "index" in event ? { index: event.index } : undefined;
          await this.logged(running, () =>
            running.stream.frames.append([{ source, body, producers: [] }], [head]),
          );
          break;
        }
        case "ended":
          await this.logged(running, () => stream.frames.endClock(event.input));
          running.stream.record.read = event.input + 1;
          await running.stream.save();
          break;
      }
    }
  }

  /** Takes in the output of another stream, from the row behind the last that is logged. */
  private async followStream(running: Running, from: string): Promise<void> {
    const { stream } = running;
    const { signal } = running.stop;
    const { outputs } = this.find(from).stream;
    let source = stream.frames.shapes.sources.findIndex(({ origin }) => origin === "stream");
    if (source < 0) {
      source = stream.frames.shapes.add({
        origin: "stream",
        kind: "slice",
        name: `the output of ${from}`,
        format: "ndjson",
        size: 0,
        dataStart: 0,
        delimiter: 0,
        plan: [],
      });
    }
    const start = stream.frames.nextRowOf(source) ?? outputs.first;
    for await (const { from: row, count, bytes } of outputs.read(start, signal)) {
      await this.room(running, signal);
      const frame = { source, body: [bytes], producers: [] };
      await this.logged(running, () => running.stream.frames.append([frame], [{ rows: row + count }]));
    }
  }

  /** What another stream takes in ends where a shard of it is unavailable: it keeps what it has, and goes on with that. */
  private followed(stream: Stream, error: Error): void {
    if ((error as HallelujahError).code !== "shard-unavailable") throw error;
    this.options.journal.error({ stream: stream.name }, `nothing more comes in: ${error.message}`);
  }

  /** Waits while the stream has all the backlog that it may have. */
  private async room(running: Running, signal: AbortSignal): Promise<void> {
    while (running.stream.backlogBytes > BACKLOG_BYTES_MAX / 4 && !signal.aborted)
      await new Promise((done) => setTimeout(done, TICK_MS));
  }

  // --- the other calls -------------------------------------------------------------------------------------------

  private find(name: string): Running {
    const found = this.running.get(name);
    if (found) return found;
    const meant = nearest(name, this.running.keys());
    const hint = meant ? `; did you mean ${meant}?` : "; hallelujah ps lists them";
    throw new HallelujahError(
      "stream-unknown",
      `there is no stream ${JSON.stringify(name.slice(0, 80))}${hint}`,
    );
  }

  streams(): StreamInfo[] {
    return [...this.running.values()]
      .map((running) => infoOf(running))
      .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  stream(name: string): StreamInfo {
    const running = this.find(name);
    const problems = running.stream.progress.problems.all;
    return { ...infoOf(running), ...(problems.length ? { problems } : {}) };
  }

  async change(name: string, change: StreamChange): Promise<StreamInfo> {
    const running = this.find(name);
    const { stream } = running;
    const { min, max, retain } = change;
    if (retain !== undefined) parseRetain(retain);
    if (retain !== undefined && stream.record.shares) {
      const { from } = stream.record;
      const message = `${name} has no log of its own; say how much of that of ${from} is kept: PATCH /v1/streams/${from} with retain`;
      throw new HallelujahError("records-shared", message);
    }
    if (min !== undefined && max !== undefined && max < min)
      throw new HallelujahError("capacity-invalid", `max (${max}) is less than min (${min})`);
    await stream.change(change);
    const { paused, max: most } = running.stream.record;
    await running.reprocess?.green.change({ paused: paused || most === 0 });
    this.options.tellLoads(this.loads());
    return infoOf(running);
  }

  async remove(name: string, { keepData }: { keepData: boolean }): Promise<void> {
    const running = this.find(name);
    const follower = [...this.running.values()].find(({ stream }) => stream.record.from === name);
    if (follower) {
      const message = `${follower.stream.name} ${follower.stream.record.shares ? "shares the records" : "takes in the output"} of ${name}; remove that first`;
      throw new HallelujahError("stream-needed", message);
    }
    this.changing.add(name);
    try {
      this.running.delete(name);
      this.streamsChanged();
      running.stop.abort();
      await running.reprocess?.remove();
      await Promise.all([running.stream.remove(), ...running.feeding]);
      await this.options.registry.delete(`streams/${name}`);
      if (!keepData) rmSync(streamFolder(this.options.data, name), { recursive: true, force: true });
      this.options.journal.info({ stream: name }, "removed");
    } finally {
      this.changing.delete(name);
    }
  }

  async push(name: string, body: PushBody): Promise<Pushed> {
    const running = this.find(name);
    try {
      const frame = await running.stream.push(body);
      running.diskFull = false;
      return { frame, bytes: body.bytes };
    } catch (error) {
      if (isDiskFull(error)) {
        if (!running.diskFull) this.options.journal.error({ stream: name }, messageOf(error));
        running.diskFull = true;
      }
      throw error;
    }
  }

  deadLetters(name: string): DeadLetterInfo[] {
    return this.find(name).stream.bodies.list();
  }

  deadLetter(name: string, frame: number): Promise<Uint8Array> {
    return this.find(name).stream.bodies.read(frame);
  }

  async retryDeadLetter(name: string, frame: number): Promise<Pushed> {
    const running = this.find(name);
    refuseIfReprocessing(running, "take its dead letters once more"); // it takes them in itself
    const { bytes, frame: retried } = await running.stream.retry(frame);
    return { frame: retried, bytes };
  }

  dropDeadLetter(name: string, frame: number): Promise<void> {
    return this.find(name).stream.bodies.drop(frame);
  }

  query(name: string, request: QueryRequest): Promise<Answer> {
    return this.asked(name, (stream) => stream.query(request));
  }

  /** Asks a stream; once more where a reprocess has taken its place meanwhile. */
  private async asked(name: string, ask: (stream: Stream) => Promise<Answer>): Promise<Answer> {
    for (;;) {
      const stream = this.findAwake(name);
      try {
        return await ask(stream);
      } catch (error) {
        const now = this.running.get(name);
        if (!now || now.stream === stream) throw error;
      }
    }
  }

  async visit(name: string, request: VisitRequest): Promise<Answer> {
    this.findAwake(name);
    const visiting = await this.visiting(name, request);
    return this.asked(name, ({ visits }) => visits.visit(visiting));
  }

  async follow(name: string, request: VisitRequest): Promise<AsyncGenerator<VisitResult>> {
    this.findAwake(name);
    const running = this.find(name);
    const signal = AbortSignal.any([running.stop.signal, ...(request.signal ? [request.signal] : [])]);
    return following(running, await this.visiting(name, request, checkFollow), signal);
  }

  /** Throws what the kernel is refused for. */
  private async visiting(
    name: string,
    request: VisitRequest,
    check?: (kernel: KernelDescriptor) => void,
  ): Promise<VisitingKernel> {
    const kernel = await this.builder.kernelOf(request.kernel, request.file, request.target);
    check?.(kernel.descriptor);
    const plan = () => {
      const { versions } = this.findAwake(name);
      const resident = { version: versions.current.version, resident: versions.kernel };
      return planVisit(name, resident, kernel, request, check !== undefined);
    };
    plan();
    return { plan, placeOf: (stack) => placeIn(kernel, stack) };
  }

  /** A stream that may have Jahs. Throws `stream-unknown`, `stream-stopped` or `stream-paused`. */
  private findAwake(name: string): Stream {
    const { stream } = this.find(name);
    const { max, paused } = stream.record;
    if (stream.error === undefined && max === 0) {
      const message = `${name} is stopped; let it go on first: hallelujah capacity ${name} 1`;
      throw new HallelujahError("stream-stopped", message);
    }
    if (stream.error === undefined && paused) {
      const message = `${name} is paused; let it go on first: hallelujah resume ${name}`;
      throw new HallelujahError("stream-paused", message);
    }
    return stream;
  }

  output(
    name: string,
    { from, late = false, signal }: { from?: number; late?: boolean; signal: AbortSignal },
  ): AsyncIterable<OutputRows> {
    const { stream, stop } = this.find(name);
    const outputs = late ? stream.lateOutputs : stream.outputs;
    return untilUnavailable(outputs.read(from ?? outputs.next, AbortSignal.any([signal, stop.signal])));
  }

  async backup(): Promise<AsyncIterable<Uint8Array>> {
    if (this.backingUp)
      throw new HallelujahError(
        "busy",
        "another backup of this host is being made; try again when it is done",
      );
    this.backingUp = true;
    const folder = this.backupFolder;
    const end = () => {
      rmSync(folder, { recursive: true, force: true });
      this.backingUp = false;
    };
    const holds: (() => void)[] = [];
    const letGo = () => {
      for (const each of holds.splice(0)) each();
    };
    try {
      await Promise.all([...this.running.values()].map(({ reprocess }) => reprocess?.settled));
      const files: SnapshotFile[] = [];
      const entries: [string, unknown][] = [
        ["generation", this.options.registry.get("generation")?.value ?? 0],
      ];
      const streams = [...this.running.values()].map(({ stream }) => stream);
      // What shares a log is copied before it, and needs all of it that there is then.
      holds.push(...streams.map(({ frames }) => frames.hold()));
      for (const stream of inBackupOrder(streams)) {
        if (!this.running.has(stream.name)) continue; // removed meanwhile
        const made = await snapshot(stream, join(folder, stream.name));
        entries.push([`streams/${stream.name}`, made.record]);
        files.push(...made.files);
      }
      letGo();
      return archiveOf([["registry.json", registryText(entries)]], files, end);
    } catch (error) {
      letGo();
      end();
      throw error;
    }
  }

  /** Where the snapshots of a backup are until it is read; on the file system of what they are links to. */
  private get backupFolder(): string {
    return join(this.options.data, "backup");
  }

  private get freeCpus(): number {
    const taken = [...this.options.jahs.all.values()].filter(({ state }) => state !== "claimed").length;
    return Math.max(0, this.options.cpus.length - taken);
  }

  host(): HostInfo {
    return {
      version: sdkVersion(),
      pid: process.pid,
      startedAt: this.startedAt.toISOString(),
      data: this.options.data,
      cpus: { total: this.options.cpus.length, free: this.freeCpus },
      streams: this.running.size,
      jahs: [...this.options.jahs.all.values()].filter(({ state }) => state !== "claimed").length,
      memoryBytes: process.memoryUsage.rss(),
    };
  }

  hosts(): ClusterHostInfo[] {
    const alone = () => ({
      name: hostname(),
      url: this.options.url?.() ?? "",
      state: "up" as const,
      cpus: this.options.cpus.length,
      memoryBytes: totalmem(),
      version: sdkVersion(),
      epoch: 1,
      isSelf: true,
    });
    return this.options.clusterHosts?.() ?? [alone()];
  }

  jahs(): JahInfo[] {
    const now = performance.now();
    return [...this.options.jahs.all.values()]
      .filter(({ state }) => state !== "claimed")
      .map((jah) => {
        const { work, workMs } = jah;
        const recent = work && now - jah.workAt < 1000 ? work : undefined;
        return {
          jah: jah.id,
          pid: jah.pid,
          cpu: jah.cpu,
          stream: jah.owner.name,
          kind: jah.kind,
          state:
            jah.state === "working"
              ? recent
                ? "working"
                : "idle"
              : jah.state === "leaving"
                ? "leaving"
                : "starting",
          busy: recent ? Math.min(1, (recent.mapMs + recent.applyMs) / Math.max(1, workMs)) : 0,
          bytesPerSecond: recent ? Math.round((recent.mappedBytes * 1000) / Math.max(1, workMs)) : 0,
          memoryBytes: work?.residentBytes ?? 0,
        };
      });
  }

  logs(options: {
    stream?: string;
    lines: number;
    follow: boolean;
    signal: AbortSignal;
  }): AsyncIterable<Uint8Array> {
    return readJournal(this.options.data, options);
  }

  /** Parks every stream; what is logged and not applied is gone on with when the host starts again. */
  async close(): Promise<void> {
    this.isClosed = true;
    clearInterval(this.timer);
    const all = [...this.running.values()];
    await Promise.all(all.map(({ reprocess }) => reprocess?.close()));
    const close = async ({ stream, stop, feeding }: Running) => {
      stop.abort();
      await Promise.all(feeding);
      await stream.close();
    };
    // A log is closed when nobody shares it any more.
    await Promise.all(all.filter(({ stream }) => stream.record.shares).map(close));
    await Promise.all(all.filter(({ stream }) => !stream.record.shares).map(close));
  }
}

/** How a stream stands, its sinks included. */
function infoOf({ stream, sinks, waits, reprocess }: Running): StreamInfo {
  const { kernel, record } = stream;
  return {
    ...stream.info(),
    hasOutput: hasOutput(kernel),
    hasLateOutput: kernel.late,
    ...(kernel.datasets?.length ? { datasets: kernel.datasets.map(datasetInfo) } : {}),
    ...(kernel.tables.length ? { tableColumns: kernel.tables.map(tableInfo) } : {}),
    ...(sinks.length ? { sinks: sinks.map((sink, i) => ({ target: record.sink[i], ...sink })) } : {}),
    ...(reprocess ? { reprocess: reprocessInfo(reprocess.green) } : {}),
    ...(waits === undefined ? {} : { waits }),
  };
}

/** The results of a visit that stays, also where a reprocess takes the place of what it visits. */
async function* following(
  running: Running,
  kernel: VisitingKernel,
  signal: AbortSignal,
): AsyncGenerator<VisitResult> {
  for (;;) {
    const { stream } = running;
    try {
      yield* stream.visits.follow(kernel, signal);
      return;
    } catch (error) {
      if (running.stream === stream) throw error;
    }
  }
}

function datasetInfo({ name, fields }: DatasetDescriptor): VisitableInfo {
  return { name, fields: fields.map(({ name: field, type, optional }) => ({ name: field, type, optional })) };
}

function tableInfo(table: TableDescriptor): VisitableInfo {
  const fields = tableColumns(table).map(({ name, type, optional, unsupported }) => ({
    name,
    type,
    optional,
    ...(unsupported === undefined ? {} : { unsupported }),
  }));
  return { name: table.name, fields };
}

/** Rows that are on their way would be lost with an error: where there are no more, who asks again is told why. */
async function* untilUnavailable(rows: AsyncIterable<OutputRows>): AsyncGenerator<OutputRows> {
  try {
    yield* rows;
  } catch (error) {
    if ((error as HallelujahError).code !== "shard-unavailable") throw error;
  }
}

/** A swap replaces the kernel alone. Throws `stream-exists` or `stream-failed`. */
function checkSwapOptions(
  { name, error }: Stream,
  { expect, source, inputFormat, sink, from, share, strict }: DeployRequest,
): void {
  const remove = `remove the stream first (hallelujah rm ${name})`;
  if (expect === "new") {
    const message = `${name} is there already; for another kernel: hallelujah swap ${name} KERNEL; else ${remove}`;
    throw new HallelujahError("stream-exists", message);
  }
  if (error !== undefined) throw new HallelujahError("stream-failed", `${name} stopped: ${error}; ${remove}`);
  const isOther = [inputFormat, from].some((given) => given !== undefined) || share || strict;
  if (source?.length || sink?.length || isOther)
    throw new HallelujahError(
      "stream-exists",
      `a swap replaces the kernel alone: ${name} keeps its sources, their format, its sinks and strictness; for others, ${remove}`,
    );
}

/** What is said of columns that a kernel wants of a stream, and none of its records has had. */
function unseenBy(kernel: KernelDescriptor, { frames }: Stream): { unseen?: string[] } {
  const unseen = unseenColumns(frames.shapes.sources, kernel);
  return unseen.length ? { unseen } : {};
}

/** Where in its source a kernel stopped that is in no stream's folder. */
function placeIn({ wasm, descriptor }: CheckedKernel, stack: string): string | undefined {
  const folder = mkdtempSync(join(tmpdir(), "hallelujah-"));
  try {
    const path = join(folder, "kernel.wasm");
    writeFileSync(path, wasm);
    return new KernelPlaces(path, descriptor.file).of(stack);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Where what is decoded of a stream's log lies; what the process before left there is of no use. */
function decodedFolder(streamFolder: string): DecodedFolder {
  const path = join(streamFolder, "decoded");
  rmSync(path, { recursive: true, force: true });
  return {
    path,
    make: () => mkdirSync(path, { recursive: true }),
    remove: (file) => rmSync(file, { force: true }),
  };
}

/** Whether `kernel` can share the records of a stream. Throws `share-invalid` or `share-misfit`. */
function checkSharing(
  stream: Stream,
  name: string,
  kernel: KernelDescriptor,
  { source, retain }: Pick<DeployRequest, "source" | "retain">,
): void {
  const refuse = (why: string) => {
    throw new HallelujahError("share-invalid", `${name} cannot share the records of ${stream.name}: ${why}`);
  };
  const { from } = stream.record;
  if (stream.record.shares) refuse(`those are shared with ${from} already; deploy it with from ${from}`);
  if (source?.length) refuse("it would read a source of its own, too; leave out one of them");
  if (retain !== undefined)
    refuse(`how long they are kept is said there: PATCH /v1/streams/${stream.name} with retain`);
  const misfits = misfitsOf(stream.frames.shapes.sources, kernel);
  if (misfits.length)
    throw new HallelujahError(
      "share-misfit",
      `the kernel cannot read the records of ${stream.name}:\n${misfits.join("\n")}`,
    );
}

function hasOutput({ emits = true }: KernelDescriptor): boolean {
  return emits;
}

function noOutput(name: string, so: string): HallelujahError {
  return new HallelujahError(
    "output-none",
    `${name} has no output, as its kernel never calls out.emit; ${so}`,
  );
}
