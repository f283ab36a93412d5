/**
 * A whole host on virtual time, from a seed: the real admission, streams with their scaling, dispatch, parking, recovery, swaps and
 * reprocesses (reprocessing.ts), over processes (processes.ts) and disks that fail, and whose batches are delayed, doubled and overtake one
 * another. What must hold is in rules.ts.
 */
import type { KernelDescriptor } from "../../host/compiler/descriptor.ts";
import { HallelujahError } from "../../host/core/errors.ts";
import { STOP_GRACE_MS } from "../../host/core/limits.ts";
import { admit } from "../../host/hallelu/admission.ts";
import { PARTITIONS } from "../../host/hallelu/dispatch.ts";
import type { StreamRecord } from "../../host/hallelu/record.ts";
import type { Running as Opened } from "../../host/hallelu/running.ts";
import { Stream } from "../../host/hallelu/stream.ts";
import type { StreamParts } from "../../host/hallelu/stream-parts.ts";
import { Tally } from "../../host/hallelu/tally.ts";
import { restoreShards } from "../../host/jah/restore.ts";
import type { Home } from "../../host/hallelu/home.ts";
import { Log } from "../../host/store/log.ts";
import type { StreamLoad } from "../../host/wire/congregation.ts";
import type { FromLiveJah } from "../../host/wire/live.ts";
import { random } from "../run.ts";
import { VirtualClock } from "./clock.ts";
import { closeAll } from "./closing.ts";
import { SimulatedDisk } from "./disk.ts";
import { type Circumstances, SimulatedFiles } from "./files.ts";
import { FrameLog } from "./frame-log.ts";
import type { Costs, Poison, World } from "./jah.ts";
import { numberOf, SimulatedKernels } from "./kernels.ts";
import { NO_OUTPUT, type Row, rowOf, SimulatedOutput } from "./outputs.ts";
import { Processes, type Stopwatch } from "./processes.ts";
import { SimulatedRegistry, UNWRITTEN } from "./registry.ts";
import { SimulatedReprocesses } from "./reprocessing.ts";
import { Broken, type Process, Rules, type Watched } from "./rules.ts";
import { borrowMemory, State } from "./state.ts";
import type { Scenario } from "./scenario.ts";
import { Verdicts } from "./verdicts.ts";
import { descriptorOf, FRAME_BYTES, type Load, NO_COSTS, rateOf, recordOf, workloadOf } from "./workload.ts";

export type { Stopwatch } from "./processes.ts";

const TICK_MS = 100;
const LOADS_MS = 200;
const HAPPEN_MS = 50;
const REST_MS_MAX = 600_000;
/** Bytes of a segment of a log: some dozens of frames. */
const SEGMENT_BYTES = 4096;
/** Bytes of a backlog beyond which nobody pushes. */
const BACKLOG_BYTES = 200e6;

interface Running extends Watched, Opened {
  stream: Stream;
  log: FrameLog;
  output: SimulatedOutput;
  costs: Costs;
  load: Load;
}

export class HostSimulation {
  /** What happened, a line each. */
  readonly story: string[] = [];
  readonly counts = {
    events: 0,
    frames: 0,
    starts: 0,
    moves: 0,
    deaths: 0,
    crashes: 0,
    closes: 0,
    answers: 0,
    refusals: 0,
    swaps: 0,
    rollBacks: 0,
    reprocesses: 0,
    cancels: 0,
    cuts: 0,
  };
  private readonly scenario: Scenario;
  private readonly stopwatch: Stopwatch;
  private readonly clock = new VirtualClock();
  private readonly chance: () => number;
  /** Of all disks but the registry's, and of power. */
  private readonly fate: () => number;
  /** Of whoever swaps kernels, and of whoever reprocesses. */
  private readonly whim: () => number;
  private readonly zeal: () => number;
  /** Of whoever ends the host in order. */
  private readonly calm: () => number;
  private readonly kernels: SimulatedKernels;
  private readonly descriptor: KernelDescriptor;
  /** Streams whose kernels are being swapped, or that a reprocess is begun or ended of. */
  private readonly changing = new Set<string>();
  /** Streams that are being asked, as they have a reprocess or are behind. */
  private readonly asking = new Set<Running>();
  private readonly rules: Rules;
  private readonly processes: Processes;
  private readonly reprocesses: SimulatedReprocesses;
  private readonly verdicts = new Verdicts();
  /** How often the host was started; whatever began before is dead. */
  private boot = 0;
  private readonly streams = new Map<string, Running>();
  private readonly disk: SimulatedDisk;
  private readonly files: SimulatedFiles;
  private readonly registry: SimulatedRegistry;
  private deployed = 0;
  /** Frames that were pushed. */
  private pushed = 0;
  private eventful = true;
  /** While the host ends in order: settles when it has ended. */
  private closing: Promise<void> | undefined;
  /** What was begun and went wrong. */
  private error: unknown;

  constructor(scenario: Scenario, stopwatch: Stopwatch = (_kind, decide) => decide()) {
    const { seed } = scenario;
    this.scenario = scenario;
    this.stopwatch = stopwatch;
    this.chance = random(seed);
    this.fate = random(seed + 2_000_000);
    this.whim = random(seed + 3_000_000);
    this.zeal = random(seed + 4_000_000);
    this.calm = random(seed + 5_000_000);
    this.disk = new SimulatedDisk(this.fate);
    this.files = new SimulatedFiles(this.fate);
    this.kernels = new SimulatedKernels(seed);
    this.descriptor = descriptorOf(scenario);
    const say = (what: string) => this.say(what);
    this.registry = new SimulatedRegistry({
      luck: random(seed + 1_000_000),
      later: (ms, what) => this.later(ms, what),
      isSlow: scenario.kind === "storm",
      mayFail: () => this.eventful,
      cutting: (ms) => this.cutting(ms),
      cut: (record, before) => this.cut(record, before),
    });
    this.rules = new Rules(scenario, this.kernels);
    this.processes = new Processes({
      scenario,
      stopwatch,
      say,
      clock: this.clock,
      chance: this.chance,
      rules: this.rules,
      isEventful: () => this.eventful,
      costsOf: (stream) => this.runningOf(stream)?.costs ?? NO_COSTS,
      worldOf: (id, stream) => this.worldOf(id, stream),
      starts: ({ stream, claim }) => {
        this.counts.starts++;
        const running = this.runningOf(stream);
        if (running && !claim.waits) this.rules.added(running, this.now);
      },
      ended: ({ stream }) => {
        const running = this.runningOf(stream);
        if (running) running.grows = false;
      },
      claims: (stream) => this.reprocesses.claims(stream),
      says: (stream, message) => this.reprocesses.says(stream, message),
    });
    this.reprocesses = new SimulatedReprocesses({
      cpus: scenario.cpus,
      zeal: this.zeal,
      kernels: this.kernels,
      descriptor: this.descriptor,
      disk: this.disk,
      say,
      isThere: (running) => !this.closing && this.isThere(running),
      jahs: () => this.processes.jahs,
      writes: () => {
        const { boot } = this;
        return (running) => this.write(running, boot);
      },
      partsOf: (running) => this.partsOf(running),
      registered: (name) => (this.streams.has(name) ? this.registry.streams.get(name) : undefined),
      broken: (rule) => this.broken(rule),
      needs: (running, frame) => (running as Running).log.needs(frame),
      succeeded: (stream) => this.watch(stream),
    });
  }

  /** Virtual time, ms. */
  get now(): number {
    return this.clock.now;
  }

  /** Runs to the end; rejects with `Broken`. */
  async run(): Promise<void> {
    const { streams, ms, steps } = this.scenario;
    const restore = this.clock.rule();
    try {
      for (let i = 0; i < streams; i++) await this.deploy(this.chance() < 0.5 ? 0 : 1);
      this.clock.every(TICK_MS, () => this.tick());
      this.clock.every(LOADS_MS, () => this.processes.tellLoads(this.loads()));
      this.clock.every(HAPPEN_MS, () => this.happen());
      await this.until(() => this.now >= ms || this.counts.events >= steps);
      this.eventful = false;
      this.say("nothing more happens");
      for (const running of this.streams.values())
        this.change(running, { min: 0, max: this.scenario.cpus, paused: false });
      await this.until(() => this.isAtRest, REST_MS_MAX);
      const read = (folder: string) => this.read(folder);
      await this.rules.rest(this.processes.ledger, this.streams.values(), read, this.registry.streams);
      for (const running of this.streams.values()) this.reprocesses.rest(running);
      this.say("all is done and parked");
    } finally {
      Object.assign(this.counts, this.reprocesses.counts);
      restore();
    }
  }

  private say(what: string): void {
    this.story.push(`${(this.now / 1000).toFixed(3).padStart(9)} s  ${what}`);
    if (this.story.length > 20_000) this.story.splice(0, 10_000);
  }

  private later(ms: number, what: () => void): void {
    this.clock.later(ms, what);
  }

  /** What nobody waits for; it must not fail all the same. */
  private begin(doing: Promise<unknown>): void {
    const { boot } = this;
    doing.catch((error: unknown) => {
      if (boot === this.boot) this.error ??= error;
    });
  }

  /** A rule is broken, as is found where nobody would hear of an error. */
  private broken(rule: string): void {
    this.error ??= new Broken(rule);
  }

  private async until(condition: () => boolean, patienceMs = Infinity): Promise<void> {
    const deadline = this.now + patienceMs;
    let begun = false;
    await this.clock.run(() => {
      if (begun) this.checkStep(deadline);
      begun = true;
      return condition();
    });
  }

  /** Something has happened. */
  private checkStep(deadline: number): void {
    this.reprocesses.look(this.streams.values());
    if (this.error) throw this.error;
    if (++this.counts.events % 64 === 0)
      this.rules.check(this.now, [...this.streams.values()], [...this.processes.all.values()]);
    if (this.now > deadline) throw new Broken(`it does not come to rest: ${this.standing()}`);
  }

  // --- what happens ----------------------------------------------------------------------------------------------

  private pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.chance() * list.length)];
  }

  private happen(): void {
    if (this.closing) return; // nobody is served
    if (!this.eventful) return this.prove();
    for (const { stream, log, load } of this.streams.values()) {
      const rate = rateOf(this.scenario, load, this.now) * (HAPPEN_MS / 1000);
      const frames = Math.floor(rate + this.chance());
      if (frames && log.bytesFrom(stream.lowest) < BACKLOG_BYTES) this.push(stream, frames);
    }
    const { kind, cpus } = this.scenario;
    if (kind === "waves" || kind === "vain") return;
    if (this.calm() < { storm: 0, moves: 0.002, crowd: 0.002 }[kind]) return this.close();
    if (this.whim() < { storm: 0.008, moves: 0.02, crowd: 0.004 }[kind]) this.begin(this.swap());
    this.ask();
    if (this.zeal() < { storm: 0.01, moves: 0.01, crowd: 0.003 }[kind]) this.begin(this.reprocess());
    const roll = this.chance();
    const running = this.pick([...this.streams.values()]) as Running | undefined;
    if (!running) return; // the last one is being removed
    if (kind === "moves") {
      if (roll < 0.08) this.change(running, { shards: 1 + Math.floor(this.chance() * cpus) });
      else if (roll < 0.1) this.begin(this.query(running));
      if (this.fate() < 0.001) this.begin(this.crash(this.fate() < 0.5));
      return;
    }
    const max = Math.floor(this.chance() * (cpus + 1));
    if (kind === "storm" && this.fate() < 0.001) this.begin(this.crash(this.fate() < 0.5));
    else if (roll < (kind === "storm" ? 0.012 : 0.004))
      this.kill(this.pick([...this.processes.all.values()]));
    else if (roll < 0.016) this.change(running, { max });
    else if (roll < 0.018) this.change(running, { max: cpus, paused: false });
    else if (roll < 0.019) this.change(running, { paused: this.chance() < 0.5 });
    else if (roll < 0.022) this.change(running, { shards: Math.floor(this.chance() * 4) });
    else if (roll < 0.023) this.begin(this.replace(running));
    else if (roll < 0.043) this.begin(this.query(running));
  }

  /** A kernel that has taken no frame is on trial until it has: nobody parks before. */
  private prove(): void {
    for (const { stream } of this.streams.values())
      if (stream.versions.trial && !stream.isBehind) this.push(stream, 1);
  }

  private push(stream: Stream, frames: number): void {
    this.counts.frames += frames;
    const bodies = Array.from({ length: frames }, () => this.pushed++);
    const log = this.streams.get(stream.name)!.log;
    const appended = stream.frames.append(
      bodies.map((which, i) => {
        const body = Buffer.from(Uint32Array.of(which, frames - 1 - i).buffer);
        return { source: 0, body: [body], producers: [] };
      }),
    );
    this.begin(
      appended.then(
        (last) => bodies.forEach((which, i) => (log.acknowledged[last - frames + 1 + i] = which)),
        (error: unknown) => {
          const code = error instanceof HallelujahError ? error.code : "";
          if (!this.hasFaults || !["disk-full", "log-unwritable"].includes(code)) throw error;
        },
      ),
    );
  }

  /** The host ends in order, and is started again; it is killed if that takes too long. Power may go as soon as it has ended. */
  private close(): void {
    const { boot, registry, hasFaults } = this;
    this.say("the host is to end");
    const isStill = () => boot === this.boot;
    const parts = { said: (name: string) => registry.said(name), isCalm: !hasFaults };
    this.closing = (async () => {
      await closeAll([...this.streams.values()], parts);
      if (!isStill()) return;
      this.counts.closes++;
      this.begin(this.startAgain(this.calm() < 0.3));
    })();
    this.begin(this.closing);
    this.later(STOP_GRACE_MS, () => {
      if (isStill()) this.begin(this.crash(false));
    });
  }

  /** The whole host ends where it stands, and with it maybe what was not on disk; then it is started again. */
  private crash(power: boolean): Promise<void> {
    this.say(power ? "power goes" : "the host is killed");
    this.counts.crashes++;
    return this.startAgain(power);
  }

  private async startAgain(power: boolean): Promise<void> {
    this.boot++;
    this.closing = undefined;
    this.processes.crash();
    this.registry.crash();
    this.changing.clear();
    this.rules.restarted();
    this.verdicts.restarted();
    this.reprocesses.restarted();
    this.disk.crash(power);
    this.files.crash(power);
    for (const [name, running] of this.streams) {
      running.output.crash(power);
      const opened = await this.open(structuredClone(this.registry.streams.get(name)!), running);
      await opened.log.holds(running.log);
      const { stream } = opened;
      // As Streams.resume does it.
      this.reprocesses.resume(opened);
      if (stream.error !== undefined) throw new Broken(`${name} failed: ${stream.error}`);
      if (stream.isBehind) stream.busy();
      else this.begin(stream.park());
    }
  }

  /** A reprocess is about to be told to have taken over, within so many ms: a moment at which nobody wants to be killed. */
  private cutting(ms: number): void {
    const { boot } = this;
    if (!this.eventful || !this.hasFaults || this.zeal() < 0.6) return;
    this.later(this.zeal() * (ms + 5) * 1.5, () => {
      if (boot === this.boot) this.begin(this.crash(this.zeal() < 0.5));
    });
  }

  /** The registry has it. */
  private cut({ name, version, cut }: StreamRecord, { dead }: StreamRecord): void {
    this.counts.cuts++;
    const silent = new Set(dead.filter(({ stage }) => stage === "map").map(({ frame }) => frame));
    const running = this.streams.get(name);
    running?.cuts.push({ version, frame: cut!, silent });
    this.say(`${name}: version ${version} has frame ${cut} and what comes then, says the registry`);
    if (running && this.eventful) this.doubt(running);
  }

  /** Just when a reprocess takes over, its stream is asked, and a Jah of it may die. */
  private doubt(running: Running): void {
    const { boot } = this;
    const soon = (what: () => void, ms = 1500) =>
      this.later(this.zeal() * ms, () => {
        if (boot === this.boot && this.eventful && this.isThere(running)) what();
      });
    if (!this.hasFaults || this.zeal() < 0.5)
      for (let i = 0; i < 3; i++) soon(() => this.begin(this.query(running)));
    else {
      const { green } = running.reprocess!;
      soon(() => this.kill([...this.processes.all.values()].find(({ stream }) => stream === green)), 300);
    }
  }

  /** Whoever has a reprocess, or has to do again what it has answered, is asked more often. */
  private ask(): void {
    for (const running of this.streams.values()) {
      const isBehind = running.stream.lowest < running.answered;
      if (this.asking.has(running) || (!isBehind && !running.reprocess)) continue;
      if (this.zeal() > (isBehind ? 0.6 : 0.15)) continue;
      this.asking.add(running);
      this.begin(this.query(running).finally(() => this.asking.delete(running)));
    }
  }

  /** As `Streams.change` does it. */
  private change(running: Running, change: object): void {
    const { name } = running.stream;
    this.say(`${name}: ${JSON.stringify(change)}`);
    const changed = running.stream.change(change).then(() => {
      const { paused, max } = running.stream.record;
      return running.reprocess?.green.change({ paused: paused || max === 0 });
    });
    this.begin(changed);
  }

  private kill(process: Process | undefined): void {
    if (!process?.jah.alive) return;
    this.counts.deaths++;
    this.processes.kill(process);
  }

  /** State has moved: one side may die before it is saved. */
  private moved(donor: number, receiver: number): void {
    this.counts.moves++;
    if (!this.eventful || this.scenario.kind !== "moves" || this.chance() < 0.5) return;
    const party = this.chance() < 0.5 ? donor : receiver;
    this.later(this.chance() * 2000, () => {
      const process = this.processes.all.get(party);
      this.kill(process);
    });
  }

  /** A stream is removed, and another one deployed. */
  private async replace(running: Running): Promise<void> {
    const { name } = running.stream;
    this.say(`${name} is removed`);
    this.streams.delete(name);
    await running.reprocess?.remove();
    await running.stream.remove();
    await this.closing;
    await this.admit(1 + Math.floor(this.chance() * 2));
  }

  /** A user swaps a kernel, or goes back to one of before, as `Streams` does it: one at a time. */
  private async swap(): Promise<void> {
    const all = [...this.streams.values()];
    const running = all[Math.floor(this.whim() * all.length)];
    if (!running || this.changing.has(running.stream.name) || this.reprocesses.refuses(running)) return;
    const { stream } = running;
    const { name } = stream;
    const { boot } = this;
    this.changing.add(name);
    const versions = stream.versions.all;
    const before = this.whim() < 0.2 ? versions[Math.floor(this.whim() * versions.length)] : undefined;
    const module = before?.module ?? this.kernels.next();
    const how = before
      ? ({ how: "went back", sameAs: before.version } as const)
      : { how: "swapped" as const };
    this.counts.swaps++;
    this.say(`${name}: swap to ${module}, ${this.kernels.describe(module)}`);
    try {
      await stream.rollout.swap({ module, file: module, ...how }, this.descriptor);
    } catch (error) {
      const { code } = error as HallelujahError;
      const isUnwritten = this.hasFaults && (error as Error).message === UNWRITTEN;
      if (!["swap-rolled-back", "shard-lost"].includes(code) && !isUnwritten) throw error;
    } finally {
      if (boot === this.boot) this.changing.delete(name);
    }
  }

  /** A user has the history of a stream taken in by another kernel; or does not want that any more. */
  private async reprocess(): Promise<void> {
    const { cpus } = this.scenario;
    const all = [...this.streams.values()];
    const running = all[Math.floor(this.zeal() * all.length)];
    if (!running) return;
    const { name } = running.stream;
    if (running.reprocess && this.zeal() < 0.3) return this.reprocesses.cancel(running);
    if (this.changing.has(name)) return;
    const { boot } = this;
    this.changing.add(name);
    await this.reprocesses.start(running, this.zeal() < 0.3 ? 1 + Math.floor(this.zeal() * cpus) : 0);
    if (boot === this.boot) this.changing.delete(name);
  }

  /** A deploy as a user does it: if there is no CPU, what was offered is lowered, until there is one. */
  private async admit(wanted: number): Promise<void> {
    const { cpus } = this.scenario;
    const min = Math.min(cpus, wanted);
    for (;;) {
      const { admitted, offers } = this.stopwatch("admission", () => admit(this.loads(), cpus, min));
      if (admitted) return this.deploy(min);
      this.counts.refusals++;
      const [offer] = offers;
      const giver = offer && this.streams.get(offer.stream);
      if (!giver || giver.stream.record.min < 1)
        throw new Broken("a deploy is refused, and nobody could give a CPU");
      this.say(`no CPU for another stream; ${offer.stream} could give one`);
      this.change(giver, { min: giver.stream.record.min - 1 });
    }
  }

  private async query(running: Running): Promise<void> {
    const { stream } = running;
    const { state, shards } = stream.info();
    // The others wait for a stream to be woken.
    if (state !== "running" || shards.some(({ jah }) => jah === null)) return;
    const { deaths } = this.counts;
    const before = { ...running.spent };
    const least = running.answered;
    try {
      const { frame } = await stream.query({ table: "t", limit: 0, format: "ndjson" });
      if (frame < least) throw new Broken(`an answer of ${stream.name} is of frame ${frame}, after ${least}`);
      running.answered = Math.max(running.answered, frame);
      if (deaths !== this.counts.deaths) return;
      this.counts.answers++;
      // Those that were let go may not have heard of it.
      const owners = new Set(stream.info().shards.map(({ jah }) => jah));
      const asked = this.processes.of(stream).filter(({ id }) => owners.has(id));
      this.rules.answer(stream, frame, asked);
    } catch (error) {
      if (running.stream !== stream) return this.query(running); // as Streams.asked does it
      // One that was parked meanwhile is woken, which may take longer than a query waits.
      const code = error instanceof HallelujahError ? error.code : "";
      if (code === "no-capacity" && this.isThere(running)) this.rules.refused(running, before);
      if (!["jah-lost", "shard-lost", "no-capacity"].includes(code)) throw error;
    }
  }

  private async deploy(min: number): Promise<void> {
    const name = `s${this.deployed++}`;
    const retain = this.zeal() < 0.3 ? "all" : "applied";
    const record = { ...recordOf(name, min, this.scenario.cpus), retain };
    this.registry.streams.set(name, structuredClone(record));
    const { stream } = await this.open(record, {
      spent: { lackingMs: 0, workingMs: 0 },
      growths: [],
      grows: false,
      ...workloadOf(this.scenario, this.chance),
      progress: { frames: 0, at: this.now },
      highest: { frame: 0, at: this.now },
      answered: 0,
      cuts: [],
      output: new SimulatedOutput(this.fate, (row) => this.puts(name, row)),
    });
    this.say(`${name} is deployed with min ${min}`);
    stream.wake();
  }

  /** How disks fare. */
  private get circumstances(): Circumstances {
    return {
      later: (ms, what) => this.later(ms, what),
      writing: () => (this.hasFaults ? this.fate() * (this.fate() < 0.05 ? 200 : 2) : 0),
      fails: () => this.eventful && this.hasFaults && this.fate() < 0.01,
    };
  }

  private async open(
    record: StreamRecord,
    known: Omit<Running, "stream" | "log" | keyof Opened>,
  ): Promise<Running> {
    const { name } = record;
    const tally = new Tally();
    const files = this.files.of(this.circumstances);
    const opened = await Log.open(`/nowhere/${name}/log`, {
      ...files,
      segmentBytes: SEGMENT_BYTES,
      digest: tally,
    });
    const log = new FrameLog(opened);
    const { writer } = this.registry;
    const home = {
      isShared: false,
      write: (kept: StreamRecord) => writer.put(`streams/${name}`, kept),
      replicaOf: () => undefined,
      keep: async () => {},
      drop: async () => {},
      dropShard: async () => {},
    } as unknown as Home;
    const ofHost = { home, stop: new AbortController(), feeding: [], sinks: [], diskFull: false };
    const since = { frames: -1, at: this.now };
    const more = { ...ofHost, log, grows: false, progress: since, highest: { frame: -1, at: this.now } };
    const running = { ...known, ...more, reprocess: undefined, cutting: undefined } as unknown as Running;
    running.stream = new Stream(record, {
      ...this.partsOf(running),
      log: log as unknown as Log,
      tally,
      outputs: known.output.of(this.circumstances),
      lateOutputs: NO_OUTPUT,
      kernel: this.descriptor,
      folder: `/nowhere/${name}`,
      home,
    });
    this.streams.set(name, running);
    this.watch(running.stream);
    return running;
  }

  private watch(stream: Stream): void {
    const { dispatch } = stream;
    const handOut = dispatch.handOut.bind(dispatch);
    dispatch.handOut = (fresh) => this.stopwatch("dispatch", () => handOut(fresh));
    const forgetFrom = dispatch.forgetFrom.bind(dispatch);
    dispatch.forgetFrom = (frame) => {
      forgetFrom(frame);
      this.counts.rollBacks++;
      this.verdicts.rolledBack(stream, frame);
    };
  }

  /** What a stream has of its host, and a reprocess of it. */
  private partsOf(
    running: Opened,
  ): Pick<StreamParts, "jahs" | "cpus" | "freeCpus" | "save" | "note" | "readModule"> {
    const { boot } = this;
    const { kind } = this.scenario;
    const more = {
      parkAfterMs: kind === "waves" ? 10_000 : 2000,
      ...(kind === "moves" ? { checkpointBytes: 20 * FRAME_BYTES } : {}),
    };
    return {
      jahs: this.processes.jahs,
      readModule: () => this.descriptor,
      cpus: this.scenario.cpus,
      freeCpus: () => this.processes.freeCpus,
      save: () => this.write(running, boot),
      note: (_level: string, message: string) => {
        if (boot === this.boot) this.say(`${running.stream.name}: ${message}`);
      },
      ...more,
    };
  }

  /** As `Streams` does it; of a host that was killed nobody hears any more. */
  private async write(running: Opened, boot: number): Promise<void> {
    while (boot === this.boot && running.cutting) await running.cutting;
    if (boot !== this.boot) return new Promise(() => {});
    const { record } = running.stream;
    if (!this.isThere(running)) return this.registry.wouldPut(record);
    const { reprocess } = record;
    const kept = reprocess ? { ...record, reprocess: { ...reprocess, sources: [] } } : record;
    await this.registry.writer.put(`streams/${record.name}`, kept);
  }

  private isThere(running: Opened): boolean {
    return this.streams.get(running.stream.record.name) === running;
  }

  /** What a stream, or a reprocess, is of. */
  private runningOf(stream: Stream): Running | undefined {
    return this.streams.get(stream.name.split("/")[0]);
  }

  private kernelOf(stream: Stream, version: number): string {
    const { module } = stream.versions.find(version);
    return this.kernels.inFile(stream.folder, module);
  }

  /** Some frames of a storm stop every kernel that was not made for them, always in the same place; and some kernels stop at others, too. */
  private poison(stream: Stream, frame: number, version: number): Poison {
    const kernel = this.kernelOf(stream, version);
    const own = this.kernels.poison(kernel, frame - stream.versions.find(version).from);
    if (own !== undefined || this.scenario.kind !== "storm" || this.kernels.isMended(kernel)) return own;
    const kind = ((frame + 1) * 7919 + this.scenario.seed) % 97;
    return kind === 0 ? "map" : kind === 1 ? (frame * 31) % PARTITIONS : undefined;
  }

  /** A row is put out. */
  private puts(name: string, { frame, version }: Row): void {
    if (this.registry.hasConfirmed(name, version)) return;
    this.broken(
      `${name}: version ${version} puts frame ${frame} out, and the registry does not say that it will stay`,
    );
  }

  private tick(): void {
    const { rules, processes } = this;
    rules.passed(TICK_MS, this.streams.values(), [...processes.all.values()], processes.ledger.free);
    if (this.closing) return;
    for (const running of this.streams.values()) {
      this.stopwatch("scaling", () => running.stream.tick(this.now));
      running.reprocess?.tick(this.now);
    }
  }

  private loads(): StreamLoad[] {
    const all = [...this.streams.values()].flatMap(({ stream, reprocess }) =>
      reprocess ? [stream, reprocess.green] : [stream],
    );
    return all.map((stream) => stream.load(this.now));
  }

  private worldOf(id: number, stream: Stream): World {
    const { processes, verdicts, registry } = this;
    const tell = processes.channel();
    /** What it has applied and not told of. */
    const has: [frame: number, partitions: Uint8Array][] = [];
    return {
      later: (ms, what) => this.later(ms, what),
      tell: (message: FromLiveJah) => {
        const told = message.type === "did" ? has.splice(0) : [];
        tell(() => {
          const jah = processes.jahs.all.get(id);
          if (jah && jah.state !== "gone") for (const each of told) verdicts.had(stream, ...each);
          jah?.receive(message);
        });
      },
      has: (frame, partitions) => has.push([frame, partitions]),
      peer: (other) => {
        const process = processes.all.get(other);
        return process?.called ? process.jah : undefined;
      },
      delay: () => 0.2 + (this.chance() < 0.05 ? this.chance() * 80 : this.chance() * 2),
      doubles: () => this.chance() < 0.05,
      disk: this.disk,
      writing: () => this.chance() * (this.chance() < 0.05 ? 6000 : 20),
      hasFaults: this.hasFaults,
      failsToWrite: () => this.eventful && this.hasFaults && this.chance() < 0.03,
      hindrance: () => (this.scenario.kind === "vain" ? processes.of(stream).length : 1),
      worked: (ms) => {
        const running = this.runningOf(stream);
        if (running?.stream === stream) running.spent.workingMs += ms;
      },
      moved: (donor, what) => {
        this.say(`${stream.name}: ${what}`);
        this.moved(donor, id);
      },
      poison: (frame, version) => this.poison(stream, frame, version),
      stopsAtOnce: (version) => this.kernels.stopsAtOnce(this.kernelOf(stream, version)),
      passes: (frame, version, voided) => {
        verdicts.passes(stream, frame, voided, registry.said(stream.name));
        if (this.poison(stream, frame, version) === undefined)
          throw new Broken(`${stream.name}: frame ${frame} is set aside for nothing`);
      },
      row: (frame, version) => rowOf({ frame, version, kernel: numberOf(this.kernelOf(stream, version)) }),
      saved: (version) => {
        const { name } = stream;
        // Of a reprocess, the registry knows no more than that it is there.
        if (registry.said(name) && !registry.hasConfirmed(name, version))
          this.broken(`${name}: state of version ${version} is saved, which may be rolled back`);
      },
      broken: (rule) => {
        throw new Broken(`${stream.name}: ${rule}`);
      },
      failed: (error) => {
        this.error ??= error;
      },
    };
  }

  /** The newest checkpoint in a folder, as a Jah would read it; undefined if there is none. */
  private async read(folder: string): Promise<State | undefined> {
    const nobody = { alive: () => false, later: () => {}, writing: () => 0, fails: () => false };
    const shard = { store: folder, from: 0, to: PARTITIONS };
    const [{ memory, meta }] = await restoreShards([shard], borrowMemory, 0, (name) =>
      this.disk.open(name, nobody),
    );
    return meta && new State(memory);
  }

  /** Whether disks fail, and power. */
  private get hasFaults(): boolean {
    return ["storm", "moves"].includes(this.scenario.kind);
  }

  private get isAtRest(): boolean {
    const { processes, registry } = this;
    if (processes.all.size || processes.jahs.all.size || !registry.isAtRest) return false;
    const parked = [...this.streams.values()].every(({ stream, log, reprocess }) => {
      const { frame, state } = stream.info();
      return frame === log.next && state === "parked" && !reprocess;
    });
    return parked;
  }

  private standing(): string {
    const streams = [...this.streams.values()].map(({ stream, log, reprocess }) => {
      const { state, frame, jahs, max } = stream.info();
      const green = reprocess ? `, reprocess at ${reprocess.green.lowest}` : "";
      return `${stream.name} ${state} ${frame}/${log.next} jahs ${jahs} max ${max}${green}`;
    });
    const { ledger, jahs } = this.processes;
    return [`free ${ledger.free}`, `claims ${jahs.all.size}`, ...streams].join("; ");
  }
}
