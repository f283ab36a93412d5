/** All streams of this host: what clients ask for, handed to who carries it out on them. See host.ts for the contract. */
import { readFileSync } from "node:fs";
import { HallelujahError, isDiskFull, messageOf } from "../core/errors.ts";
import { parseRetain } from "../core/retain.ts";
import { sdkVersion } from "../core/version.ts";
import { type Journal, readJournal } from "../store/journal.ts";
import type { Registry } from "../store/registry.ts";
import type { LedEntry } from "../substrate/directory.ts";
import type { ClusterHost, StreamLoad } from "../wire/congregation.ts";
import type {
  ClusterHostInfo,
  DeadLetterInfo,
  HostInfo,
  JahInfo,
  Pushed,
  StreamChange,
  StreamInfo,
  SwapPlan,
  VersionInfo,
} from "../wire/http.ts";
import { Asking } from "./asking.ts";
import { Backups } from "./backups.ts";
import { Builder, type CheckedKernel } from "./builder.ts";
import type { ClusterHome } from "./cluster-home.ts";
import { checkName, Deploying } from "./deploying.ts";
import { Feeding } from "./feeding.ts";
import { checkOutput } from "./has-output.ts";
import type {
  Answer,
  DeployRequest,
  Host,
  OutputRows,
  PushBody,
  QueryRequest,
  ReprocessRequest,
  VisitRequest,
  VisitResult,
} from "./host.ts";
import { type Home, LocalHome } from "./home.ts";
import { aloneInfo, clusterHostInfo, hasProcess, jahInfo } from "./host-info.ts";
import type { Jahs } from "./jahs.ts";
import type { Lease } from "./lease.ts";
import type { LedStreams } from "./leading.ts";
import { readModule } from "./module.ts";
import type { Neighbours } from "./neighbours.ts";
import { Opening } from "./opening.ts";
import { isRecordOf, located, streamFolder, type StreamRecord } from "./record.ts";
import { refuseIfReprocessing, Reprocesses } from "./reprocesses.ts";
import { Roster } from "./roster.ts";
import type { Running } from "./running.ts";
import { infoOf } from "./stream-info.ts";
import type { Pace } from "./stream-parts.ts";
import { Swapping } from "./swapping.ts";

/** How often streams are looked at, ms. */
const TICK_MS = 100;
/** How often it is looked whether the processes of a stream have ended, ms. */
const ENDING_MS = 10;
/** Ticks from one look at a stream that rests to the next: there may be very many of them. */
const RESTING_EVERY = 10;
/** Every so many ticks the Congregation is told how streams stand. */
const LOADS_EVERY = 2;

export interface StreamsOptions extends Pace {
  data: string;
  cpus: number[];
  jahs: Jahs;
  registry: Registry;
  journal: Journal;
  /** Tells the Congregation how streams stand. */
  tellLoads: (streams: StreamLoad[]) => void;
  /** The hosts of the cluster; undefined where there is none. */
  clusterHosts?: () => ClusterHost[] | undefined;
  neighbours?: () => Neighbours | undefined;
  /** Where the API is served. */
  url?: () => string;
  /** Another host may lead a stream by now. */
  onMoved?: () => void;
}

/** A stream that is to be opened. */
interface Homed {
  record: StreamRecord;
  home: Home;
}

export class Streams implements Host, LedStreams {
  private readonly options: StreamsOptions;
  private readonly roster = new Roster(() => this.streamsChanged());
  private readonly opening: Opening;
  private readonly feeding: Feeding;
  private readonly deploying: Deploying;
  private readonly swapping: Swapping;
  private readonly reprocesses: Reprocesses;
  private readonly asking: Asking;
  private readonly backups: Backups;
  private readonly builder = new Builder();
  private readonly startedAt = new Date();
  /** What lets a log be trimmed that streams need which are not open. */
  private readonly holds = new Map<string, () => void>();
  private timer: NodeJS.Timeout | undefined;
  private ticks = 0;
  private isClosed = false;
  /** Whether the Congregation knows that nothing goes on. */
  private toldQuiet = false;

  constructor(options: StreamsOptions) {
    this.options = options;
    const { data, jahs, registry, journal } = options;
    const { roster } = this;
    const cpus = options.cpus.length;
    const moduleOf = (name: string, request: Pick<DeployRequest, "kernel" | "file">) =>
      this.moduleOf(name, request);
    const write = (running: Running) => this.write(running);
    this.opening = new Opening({
      data,
      cpus,
      jahs,
      journal,
      roster,
      pace: options,
      freeCpus: () => this.freeCpus,
      write,
      onMoved: () => options.onMoved?.(),
    });
    this.feeding = new Feeding({ journal, find: (name) => roster.find(name) });
    this.deploying = new Deploying({
      data,
      cpus,
      localHome: (name) => this.localHome(name),
      journal,
      roster,
      opening: this.opening,
      feeding: this.feeding,
      moduleOf,
      loads: () => this.loads(),
      neighbours: () => options.neighbours?.(),
    });
    this.swapping = new Swapping({
      roster,
      moduleOf,
      change: (name, change) => this.change(name, change),
    });
    this.backups = new Backups({ data, registry, roster });
    this.reprocesses = new Reprocesses({
      data,
      cpus,
      jahs,
      journal,
      isThere: (running) => !this.isClosed && roster.has(running),
      isBusy: () => this.backups.isBusy,
      moduleOf,
      checkOutput: (stream, kernel) => checkOutput(stream, kernel, roster.all),
      partsOf: (running, name) => this.opening.partsOf(running, name),
      write,
    });
    this.asking = new Asking(roster, this.builder);
  }

  /** Opens the streams that the registry knows. One that cannot be opened is said so in the journal, and left as it is. */
  async resume(): Promise<void> {
    this.backups.clear();
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
    const homed = records.map((record) => ({ record, home: this.localHome(record.name) }));
    await this.openAll(homed, (name, error) =>
      this.options.journal.error({ stream: name }, `it cannot be opened: ${messageOf(error)}`),
    );
  }

  private localHome(name: string): LocalHome {
    const { data, registry } = this.options;
    return new LocalHome(name, streamFolder(data, name), registry);
  }

  /** Opens streams and has them go on, each after the one that it depends on. */
  private async openAll(all: Homed[], failed: (name: string, error: unknown) => void): Promise<void> {
    const { holds } = this;
    for (const rank of ranksOf(all))
      await Promise.all(
        rank.map(async ({ record, home }) => {
          try {
            this.refuseUnlessNeededIsOpen(home, record);
            const running = await this.opening.open(home, record, readModule(record));
            // One that cannot be opened needs the log for ever.
            for (const other of all)
              if (!home.isShared && other.record.shares && other.record.from === record.name)
                holds.set(other.record.name, running.stream.frames.hold());
            if (home.isShared) this.holdFor(running);
            this.letTrim(record.name);
            await this.goOn(running);
          } catch (error) {
            failed(record.name, error);
          }
        }),
      );
  }

  /** A stream that was not open needs no more of another one's log than it says itself. */
  private letTrim(name: string): void {
    this.holds.get(name)?.();
    this.holds.delete(name);
  }

  /** One of the cluster is tried again when what it takes in is open. Throws `stream-opening`. */
  private refuseUnlessNeededIsOpen(home: Home, { from }: StreamRecord): void {
    if (!home.isShared || from === undefined || this.roster.get(from)) return;
    throw new HallelujahError("stream-opening", `${from}, which it takes in, is not open yet`);
  }

  /** A stream that was just opened goes on where it was. */
  private async goOn(running: Running): Promise<void> {
    const { stream } = running;
    this.reprocesses.dropOld(running);
    stream.recall();
    if (stream.error !== undefined) return;
    this.reprocesses.resume(running);
    if (stream.isBehind) stream.busy();
    else await stream.park();
    this.feeding.feed(running);
  }

  // --- streams of the cluster ------------------------------------------------------------------------------------

  led(): Map<string, LedEntry> {
    const led = this.roster.all.flatMap(({ stream, home }): [string, LedEntry][] =>
      "entry" in home ? [[stream.name, (home as ClusterHome).entry]] : [],
    );
    return new Map(led);
  }

  isChanging(name: string): boolean {
    return this.roster.isChanging(name);
  }

  /** See `Lease.doubted`; undefined of a stream that is this host's alone. */
  doubt(name: string, lease: Lease): Promise<number> | undefined {
    const home = this.roster.get(name)?.home;
    if (!home?.isShared || lease.isSureOf(home)) return undefined;
    const doubted = lease.doubted(home, () => (home as ClusterHome).confirm());
    doubted.catch(() => this.options.onMoved?.());
    return doubted;
  }

  awaited(name: string, why: string | undefined): void {
    this.roster.await(name, why);
  }

  async takeUp(entries: Map<string, LedEntry>, failed: (name: string, why: string) => void): Promise<void> {
    const neighbours = this.options.neighbours!()!;
    const homed: Homed[] = [];
    await Promise.all(
      [...entries].map(async ([name, entry]) => {
        try {
          const home = await neighbours.homeOf(name, entry, this.options.data);
          const record = await home.takeUp();
          if (record) homed.push({ record, home });
          else {
            await home.remove();
            await neighbours.release(name);
            this.letTrim(name);
          }
        } catch (error) {
          failed(name, messageOf(error));
        }
      }),
    );
    await this.openAll(homed, (name, error) => failed(name, messageOf(error)));
  }

  /** What takes in a stream of the cluster, and is not open yet, needs the log of that: it may be opened long after it. */
  private holdFor({ stream }: Running): void {
    const { name, frames } = stream;
    for (const [other, { from }] of this.options.neighbours?.()?.seat?.directory.all ?? [])
      if (from === name && !this.roster.get(other)) this.holds.set(other, frames.hold());
  }

  async letGo(name: string): Promise<void> {
    const running = this.roster.find(name);
    this.options.journal.warn({ stream: name }, "another host leads it now");
    this.roster.letGo(name);
    await this.end(running);
    (running.home as ClusterHome).close();
  }

  /** Nothing of a stream goes on here, nor is anything saved. */
  private async end(running: Running): Promise<void> {
    this.roster.delete(running.stream.name);
    running.stop.abort();
    await running.reprocess?.remove();
    await Promise.all([running.stream.remove(), ...running.feeding]);
    // Nobody writes to its folder any more.
    const all = [running.stream, ...(running.reprocess ? [running.reprocess.green] : [])];
    while (all.some((stream) => this.options.jahs.isEnding(stream)))
      await new Promise((done) => setTimeout(done, ENDING_MS));
  }

  private tick(): void {
    const now = performance.now();
    const all = ++this.ticks % RESTING_EVERY === 0;
    for (const { stream, reprocess } of this.roster) {
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
    if (this.roster.size) this.timer ??= setInterval(() => this.tick(), TICK_MS);
    else {
      clearInterval(this.timer);
      this.timer = undefined;
    }
    this.options.tellLoads(this.loads());
  }

  private loads(): StreamLoad[] {
    const now = performance.now();
    const all = this.roster.all.flatMap(({ stream, reprocess }) =>
      reprocess ? [stream, reprocess.green] : [stream],
    );
    return all.map((stream) => stream.load(now));
  }

  private get freeCpus(): number {
    return Math.max(0, this.options.cpus.length - this.jahsThere.length);
  }

  private get jahsThere() {
    return [...this.options.jahs.all.values()].filter(hasProcess);
  }

  /** Writes what is known of a stream to the registry. */
  private async write(running: Running): Promise<void> {
    while (running.cutting) await running.cutting;
    const { record } = running.stream;
    if (!this.roster.has(running)) return;
    const { reprocess } = record;
    const kept = reprocess ? { ...record, reprocess: { ...reprocess, sources: [] } } : record;
    await running.home.write(kept);
  }

  /** The module that a request names. */
  private moduleOf(
    name: string,
    { kernel, file }: Pick<DeployRequest, "kernel" | "file">,
  ): Promise<CheckedKernel> {
    if (kernel.kind !== "version") return this.builder.kernelOf(kernel, file);
    const { versions } = this.roster.find(name).stream;
    const bytes = readFileSync(versions.pathOf(versions.find(kernel.version)));
    return this.builder.kernelOf({ kind: "wasm", bytes }, undefined);
  }

  // --- streams that come, change and go --------------------------------------------------------------------------

  async deploy(name: string, request: DeployRequest): Promise<{ created: boolean; stream: StreamInfo }> {
    checkName(name);
    this.roster.refuseIfChanging(name);
    this.roster.refuseIfAwaited(name);
    const there = this.roster.get(name);
    return there
      ? { created: false, stream: await this.swapping.swap(there, request) }
      : { created: true, stream: await this.deploying.deploy(name, request) };
  }

  planSwap(name: string, request: DeployRequest): Promise<SwapPlan> {
    return this.swapping.planSwap(name, request);
  }

  versions(name: string): VersionInfo[] {
    return this.swapping.versions(name);
  }

  async reprocess(name: string, request: ReprocessRequest): Promise<StreamInfo> {
    const running = this.roster.find(name);
    this.roster.refuseIfChanging(name);
    return this.roster.change(name, async () => {
      await this.reprocesses.begin(running, request);
      return infoOf(running);
    });
  }

  cancelReprocess(name: string): Promise<void> {
    return this.reprocesses.cancel(this.roster.find(name));
  }

  streams(): StreamInfo[] {
    return this.roster.all.map((running) => infoOf(running)).toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Also those of other hosts of the cluster. */
  async allStreams(): Promise<StreamInfo[]> {
    const neighbours = this.options.neighbours?.();
    const own = this.streams();
    if (!neighbours) return own;
    const all = [
      ...own.map((stream) => ({ ...stream, host: neighbours.self })),
      ...(await neighbours.streams()),
    ];
    return all.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  get names(): string[] {
    return this.roster.all.map(({ stream }) => stream.name);
  }

  /** Whether this host has a stream, or is making or removing it. */
  has(name: string): boolean {
    return this.roster.get(name) !== undefined || this.roster.isChanging(name);
  }

  stream(name: string): StreamInfo {
    const running = this.roster.find(name);
    const problems = running.stream.progress.problems.all;
    return { ...infoOf(running), ...(problems.length ? { problems } : {}) };
  }

  async change(name: string, change: StreamChange): Promise<StreamInfo> {
    const running = this.roster.find(name);
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
    const running = this.roster.find(name);
    const follower = this.roster.all.find(({ stream }) => stream.record.from === name);
    if (follower) {
      const message = `${follower.stream.name} ${follower.stream.record.shares ? "shares the records" : "takes in the output"} of ${name}; remove that first`;
      throw new HallelujahError("stream-needed", message);
    }
    await this.roster.change(name, async () => {
      await running.home.forget();
      await this.end(running);
      await running.home.remove(keepData);
      await this.options.neighbours?.()?.release(name);
      this.options.journal.info({ stream: name }, "removed");
    });
  }

  // --- records and rows ------------------------------------------------------------------------------------------

  async push(name: string, body: PushBody): Promise<Pushed> {
    const running = this.roster.find(name);
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
    return this.roster.find(name).stream.bodies.list();
  }

  deadLetter(name: string, frame: number): Promise<Uint8Array> {
    return this.roster.find(name).stream.bodies.read(frame);
  }

  async retryDeadLetter(name: string, frame: number): Promise<Pushed> {
    const running = this.roster.find(name);
    refuseIfReprocessing(running, "take its dead letters once more"); // it takes them in itself
    const { bytes, frame: retried } = await running.stream.retry(frame);
    return { frame: retried, bytes };
  }

  dropDeadLetter(name: string, frame: number): Promise<void> {
    return this.roster.find(name).stream.bodies.drop(frame);
  }

  query(name: string, request: QueryRequest): Promise<Answer> {
    return this.asking.query(name, request);
  }

  visit(name: string, request: VisitRequest): Promise<Answer> {
    return this.asking.visit(name, request);
  }

  follow(name: string, request: VisitRequest): Promise<AsyncGenerator<VisitResult>> {
    return this.asking.follow(name, request);
  }

  output(
    name: string,
    { from, late = false, signal }: { from?: number; late?: boolean; signal: AbortSignal },
  ): AsyncIterable<OutputRows> {
    const { stream, stop } = this.roster.find(name);
    const outputs = late ? stream.lateOutputs : stream.outputs;
    return untilUnavailable(outputs.read(from ?? outputs.next, AbortSignal.any([signal, stop.signal])));
  }

  // --- the host --------------------------------------------------------------------------------------------------

  backup(): Promise<AsyncIterable<Uint8Array>> {
    return this.backups.make();
  }

  host(): HostInfo {
    return {
      version: sdkVersion(),
      pid: process.pid,
      startedAt: this.startedAt.toISOString(),
      data: this.options.data,
      cpus: { total: this.options.cpus.length, free: this.freeCpus },
      streams: this.roster.size,
      jahs: this.jahsThere.length,
      memoryBytes: process.memoryUsage.rss(),
    };
  }

  hosts(): ClusterHostInfo[] {
    const { clusterHosts, url, cpus } = this.options;
    return clusterHosts?.()?.map(clusterHostInfo) ?? [aloneInfo(url?.() ?? "", cpus.length)];
  }

  jahs(): JahInfo[] {
    const now = performance.now();
    return this.jahsThere.map((jah) => jahInfo(jah, now));
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
    const { all } = this.roster;
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

/** Streams by how many others each depends on, one by way of another: those of none come first. */
function ranksOf(all: Homed[]): Homed[][] {
  const byName = new Map(all.map((each) => [each.record.name, each]));
  const ranks: Homed[][] = [];
  const rankOf = ({ record: { from } }: Homed): number => {
    const needed = from === undefined ? undefined : byName.get(from);
    return needed ? 1 + rankOf(needed) : 0;
  };
  for (const each of all) (ranks[rankOf(each)] ??= []).push(each);
  return ranks;
}

/** Rows that are on their way would be lost with an error: where there are no more, who asks again is told why. */
async function* untilUnavailable(rows: AsyncIterable<OutputRows>): AsyncGenerator<OutputRows> {
  try {
    yield* rows;
  } catch (error) {
    if ((error as HallelujahError).code !== "shard-unavailable") throw error;
  }
}
