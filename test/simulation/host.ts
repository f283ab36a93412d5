/**
 * A whole host on virtual time, from a seed: the real ledger and admission, streams with their scaling, dispatch, parking
 * and recovery, and the real record of Jahs; instead of processes, Jahs that are slow, start late, never call or die, and
 * whose batches are delayed, doubled and overtake one another. What must hold is in rules.ts.
 */
import { Ledger, type LedgerCommand } from "../../host/congregation/ledger.ts";
import type { KernelDescriptor } from "../../host/compiler/descriptor.ts";
import { HallelujahError } from "../../host/core/errors.ts";
import { admit } from "../../host/hallelu/admission.ts";
import { PARTITIONS } from "../../host/hallelu/dispatch.ts";
import { Jahs } from "../../host/hallelu/jahs.ts";
import type { StreamRecord } from "../../host/hallelu/record.ts";
import { Stream, type StreamParts } from "../../host/hallelu/stream.ts";
import { Tally } from "../../host/hallelu/tally.ts";
import { damagedError, Log, type LogEntry } from "../../host/store/log.ts";
import type { FromHallelu } from "../../host/wire/congregation.ts";
import type { FromLiveJah, ToLiveJah } from "../../host/wire/live.ts";
import { random } from "../run.ts";
import { VirtualClock } from "./clock.ts";
import { SimulatedDisk } from "./disk.ts";
import { SimulatedFiles } from "./files.ts";
import { type Costs, type Poison, SimulatedJah, type World } from "./jah.ts";
import { SimulatedKernels } from "./kernels.ts";
import { restoreShards } from "../../host/jah/restore.ts";
import { Broken, type Process, Rules, type Watched } from "./rules.ts";
import { borrowMemory, State } from "./state.ts";
import type { Scenario } from "./scenario.ts";

const TICK_MS = 100;
const LOADS_MS = 200;
const HAPPEN_MS = 50;
const REST_MS_MAX = 600_000;
const FRAME_BYTES = 400_000;
/** Time before more comes than can be done, where that is so, ms. */
const GENTLE_MS = 10_000;
/** Bytes of a segment of a log: some dozens of frames. */
const SEGMENT_BYTES = 4096;
/** Bytes of a backlog beyond which nobody pushes. */
const BACKLOG_BYTES = 200e6;

/** Is asked how long a kind of decision took: what it does, timed. */
export type Stopwatch = <T>(kind: string, decide: () => T) => T;

/** The product's log, over files of the simulated host; its frames count for more bytes than they have. */
class FrameLog {
  /** What was acknowledged: for each frame, which one it was. */
  readonly acknowledged: number[] = [];
  private readonly log: Log;
  /** Frames below may be trimmed away, and are not needed. */
  private floor = 0;

  constructor(log: Log) {
    this.log = log;
  }
  get first(): number {
    return this.log.first;
  }
  get next(): number {
    return this.log.next;
  }
  place(frame: number) {
    if (frame < this.floor) throw new Broken(`frame ${frame} is needed, and was trimmed below ${this.floor}`);
    return { ...this.log.place(frame), bytes: FRAME_BYTES };
  }
  bytesFrom(frame: number): number {
    return Math.max(0, this.next - Math.max(frame, this.first)) * FRAME_BYTES;
  }
  appendGroup(entries: LogEntry[]): Promise<{ number: number }> {
    return this.log.appendGroup(entries);
  }
  get extents() {
    return this.log.extents;
  }
  /** Without its bytes, which would be put aside in files. */
  async read(frame: number): ReturnType<Log["read"]> {
    return { ...(await this.log.read(frame)), body: Buffer.alloc(0) };
  }
  heads(...given: Parameters<Log["heads"]>): ReturnType<Log["heads"]> {
    return this.log.heads(...given);
  }
  trim(below: number): Promise<void> {
    this.floor = Math.max(this.floor, below);
    return this.log.trim(below);
  }
  damageFrom(frame: number): ReturnType<Log["damageFrom"]> {
    return this.log.damageFrom(frame);
  }
  close(): Promise<void> {
    return this.log.close();
  }

  /**
   * What was acknowledged before is there, and whatever else is there was written: whole groups of frames. Of what was trimmed some
   * segments may be back, the last ones, so that nothing seems to be missing.
   */
  async holds({ acknowledged, floor }: FrameLog): Promise<void> {
    if (this.next < acknowledged.length)
      throw new Broken(`${acknowledged.length} frames were acknowledged, and ${this.next} are there`);
    const damage = this.damageFrom(this.first);
    if (damage) throw new Broken(`the log is taken for damaged: ${damagedError(damage).message}`);
    let left = 0;
    this.floor = floor;
    for (let frame = Math.max(this.first, floor); frame < this.next; frame++) {
      const { body } = await this.log.read(frame);
      const [which, follow] = [body.readUInt32LE(0), body.readUInt32LE(4)];
      if ((acknowledged[frame] ?? which) !== which)
        throw new Broken(`frame ${frame} is another one than was acknowledged`);
      if (left && follow !== left - 1) throw new Broken(`frame ${frame} follows a part of a group`);
      left = follow;
    }
    if (left) throw new Broken(`the last ${left} frames of a group are not there`);
    acknowledged.forEach((which, frame) => (this.acknowledged[frame] = which));
  }
}

interface Running extends Watched {
  log: FrameLog;
  jahs: Map<number, SimulatedJah>;
  costs: Costs;
  /** Frames a second while its load is on, and how long it is on and off, ms. */
  load: { rate: number; period: number };
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
    answers: 0,
    refusals: 0,
    swaps: 0,
    rollBacks: 0,
  };
  private readonly scenario: Scenario;
  private readonly stopwatch: Stopwatch;
  private readonly clock = new VirtualClock();
  private readonly chance: () => number;
  /** Of the registry's disk. */
  private readonly luck: () => number;
  /** Of all other disks, and of power. */
  private readonly fate: () => number;
  /** Of whoever swaps kernels. */
  private readonly whim: () => number;
  private readonly kernels: SimulatedKernels;
  /** Streams whose kernels are being swapped. */
  private readonly changing = new Set<Stream>();
  private readonly rules: Rules;
  private ledger: Ledger;
  private jahs: Jahs;
  /** How often the host was started; whatever began before is dead. */
  private boot = 0;
  private readonly streams = new Map<string, Running>();
  private readonly processes = new Map<number, Process>();
  private readonly disk: SimulatedDisk;
  private readonly files: SimulatedFiles;
  /** What the registry says, by stream. */
  private readonly registered = new Map<string, StreamRecord>();
  /** Of frames that stop the kernel in one partition, those that have had them. */
  private readonly known = new Map<string, Uint8Array>();
  private revision = 0;
  private readonly revisions = new Map<string, number>();
  private deployed = 0;
  /** Frames that were pushed. */
  private pushed = 0;
  private eventful = true;
  /** What was begun and went wrong. */
  private error: unknown;

  constructor(scenario: Scenario, stopwatch: Stopwatch = (_kind, decide) => decide()) {
    this.scenario = scenario;
    this.stopwatch = stopwatch;
    this.chance = random(scenario.seed);
    this.luck = random(scenario.seed + 1_000_000);
    const fate = random(scenario.seed + 2_000_000);
    this.disk = new SimulatedDisk(fate);
    this.files = new SimulatedFiles(fate);
    this.fate = fate;
    this.whim = random(scenario.seed + 3_000_000);
    this.kernels = new SimulatedKernels(scenario.seed);
    this.rules = new Rules(scenario);
    this.ledger = this.newLedger();
    this.jahs = this.newJahs();
  }

  private newLedger(): Ledger {
    return new Ledger(Array.from({ length: this.scenario.cpus }, (_, i) => i));
  }

  /** No number of a Jah is used twice. */
  private newJahs(): Jahs {
    const { boot } = this;
    const hear = (message: FromHallelu) => {
      if (boot === this.boot) this.hear(message);
    };
    return new Jahs((message) => this.later(this.hop(), () => hear(message)), "secret", 1 + boot * 100_000);
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
      this.clock.every(LOADS_MS, () => this.tellLoads());
      this.clock.every(HAPPEN_MS, () => this.happen());
      await this.until(() => this.now >= ms || this.counts.events >= steps);
      this.eventful = false;
      this.say("nothing more happens");
      for (const { stream } of this.streams.values())
        this.begin(stream.change({ min: 0, max: this.scenario.cpus, paused: false }));
      await this.until(() => this.isAtRest, REST_MS_MAX);
      const read = (folder: string) => this.read(folder);
      await this.rules.rest(this.ledger, this.streams.values(), read, this.registered);
      this.say("all is done and parked");
    } finally {
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
    if (this.error) throw this.error;
    if (++this.counts.events % 64 === 0)
      this.rules.check(this.now, [...this.streams.values()], [...this.processes.values()]);
    if (this.now > deadline) throw new Broken(`it does not come to rest: ${this.standing()}`);
  }

  /** Time that a word between two processes is under way, ms: now and then, one of them has no CPU. */
  private hop(): number {
    return this.chance() < 0.03 ? this.chance() * 40 : 0.1 + this.chance() * 0.4;
  }

  /** Puts words off that keep their order, as those of a channel do. `lag` is what each takes more, ms. */
  private channel(lag = 0): (what: () => void) => void {
    let lastAt = 0;
    return (what) => {
      lastAt = Math.max(lastAt, this.now + this.hop() + lag * this.chance());
      this.later(lastAt - this.now, what);
    };
  }

  // --- what happens ----------------------------------------------------------------------------------------------

  private pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.chance() * list.length)];
  }

  private happen(): void {
    if (!this.eventful) return this.prove();
    for (const { stream, log, load } of this.streams.values()) {
      const rate = this.rateOf(load) * (HAPPEN_MS / 1000);
      const frames = Math.floor(rate + this.chance());
      if (frames && log.bytesFrom(stream.lowest) < BACKLOG_BYTES) this.push(stream, frames);
    }
    const { kind, cpus } = this.scenario;
    if (kind === "waves" || kind === "vain") return;
    if (this.whim() < { storm: 0.008, moves: 0.02, crowd: 0.004 }[kind]) this.begin(this.swap());
    const roll = this.chance();
    const running = this.pick([...this.streams.values()]) as Running | undefined;
    if (!running) return; // the last one is being removed
    const { stream } = running;
    if (kind === "moves") {
      if (roll < 0.08) this.change(stream, { shards: 1 + Math.floor(this.chance() * cpus) });
      else if (roll < 0.1) this.begin(this.query(running));
      if (this.fate() < 0.001) this.begin(this.crash(this.fate() < 0.5));
      return;
    }
    const max = Math.floor(this.chance() * (cpus + 1));
    if (kind === "storm" && this.fate() < 0.001) this.begin(this.crash(this.fate() < 0.5));
    else if (roll < (kind === "storm" ? 0.012 : 0.004)) this.kill();
    else if (roll < 0.016) this.change(stream, { max });
    else if (roll < 0.018) this.change(stream, { max: cpus, paused: false });
    else if (roll < 0.019) this.change(stream, { paused: this.chance() < 0.5 });
    else if (roll < 0.022) this.change(stream, { shards: Math.floor(this.chance() * 4) });
    else if (roll < 0.023) this.begin(this.replace(running));
    else if (roll < 0.043) this.begin(this.query(running));
  }

  /** A kernel that has taken no frame is on trial until it has: nobody parks before. */
  private prove(): void {
    for (const { stream } of this.streams.values())
      if (stream.versions.trial && !stream.isBehind) this.push(stream, 1);
  }

  /** Frames a second that come now. */
  private rateOf({ rate, period }: Running["load"]): number {
    const { kind } = this.scenario;
    if (kind === "vain" && this.now < GENTLE_MS) return rate / 3;
    const isOn = Math.floor(this.now / period) % 2 === 0;
    return isOn ? rate : kind === "waves" ? 0 : 0.4;
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

  /** The whole host ends where it stands, and with it maybe what was not on disk; then it is started again. */
  private async crash(power: boolean): Promise<void> {
    this.say(power ? "power goes" : "the host is killed");
    this.counts.crashes++;
    for (const { jah } of this.processes.values()) jah.die();
    this.processes.clear();
    this.boot++;
    const before = this.jahs;
    this.ledger = this.newLedger();
    this.jahs = this.newJahs();
    before.close();
    this.rules.restarted();
    this.known.clear(); // whatever is in no checkpoint is decided anew
    this.disk.crash(power);
    this.files.crash(power);
    for (const [name, running] of this.streams) {
      const opened = await this.open(structuredClone(this.registered.get(name)!));
      await opened.log.holds(running.log);
      const since = { frames: -1, at: this.now };
      const resumed = { ...running, ...opened, progress: since, highest: { frame: -1, at: this.now } };
      this.streams.set(name, { ...resumed, jahs: new Map(), grows: false });
      const { stream } = opened;
      // As Streams.resume does it.
      stream.recall();
      if (stream.error !== undefined) throw new Broken(`${name} failed: ${stream.error}`);
      if (stream.isBehind) stream.busy();
      else this.begin(stream.park());
    }
  }

  private change(stream: Stream, change: object): void {
    this.say(`${stream.name}: ${JSON.stringify(change)}`);
    this.begin(stream.change(change));
  }

  private kill(process = this.pick([...this.processes.values()])): void {
    if (!process?.jah.alive) return;
    const { jah, claim } = process;
    this.say(`Jah ${jah.id} of ${claim.stream} dies`);
    this.counts.deaths++;
    jah.die();
    // Its channel may be seen to be closed before its process is seen to have ended.
    if (this.chance() < 0.5) this.later(this.hop(), () => this.exited(jah.id, "SIGKILL"));
    this.later(this.hop() + this.chance() * 20, () => this.ended(jah.id, "SIGKILL"));
  }

  /** State has moved: one side may die before it is saved. */
  private moved(donor: number, receiver: number): void {
    this.counts.moves++;
    if (!this.eventful || this.scenario.kind !== "moves" || this.chance() < 0.5) return;
    const party = this.chance() < 0.5 ? donor : receiver;
    this.later(this.chance() * 2000, () => {
      const process = this.processes.get(party);
      if (process) this.kill(process);
    });
  }

  /** A stream is removed, and another one deployed. */
  private async replace({ stream }: Running): Promise<void> {
    this.say(`${stream.name} is removed`);
    this.streams.delete(stream.name);
    await stream.remove();
    await this.admit(1 + Math.floor(this.chance() * 2));
  }

  /** A user swaps a kernel, or goes back to one of before, as `Streams` does it: one at a time. */
  private async swap(): Promise<void> {
    const running = [...this.streams.values()];
    const stream = running[Math.floor(this.whim() * running.length)]?.stream;
    if (!stream || this.changing.has(stream)) return;
    this.changing.add(stream);
    const { all } = stream.versions;
    const before = this.whim() < 0.2 ? all[Math.floor(this.whim() * all.length)] : undefined;
    const module = before?.module ?? this.kernels.next();
    const how = before
      ? ({ how: "went back", sameAs: before.version } as const)
      : { how: "swapped" as const };
    this.counts.swaps++;
    this.say(`${stream.name}: swap to ${module}, ${this.kernels.describe(module)}`);
    try {
      await stream.rollout.swap({ module, file: module, ...how }, KERNEL);
    } catch (error) {
      const { code } = error as HallelujahError;
      const isUnwritten = this.hasFaults && (error as Error).message === UNWRITTEN;
      if (!["swap-rolled-back", "shard-lost"].includes(code) && !isUnwritten) throw error;
    } finally {
      this.changing.delete(stream);
    }
  }

  /** A deploy as a user does it: if there is no CPU, what was offered is lowered, until there is one. */
  private async admit(wanted: number): Promise<void> {
    const { cpus } = this.scenario;
    const min = Math.min(cpus, wanted);
    for (;;) {
      const loads = [...this.streams.values()].map(({ stream }) => stream.load(this.now));
      const { admitted, offers } = this.stopwatch("admission", () => admit(loads, cpus, min));
      if (admitted) return this.deploy(min);
      this.counts.refusals++;
      const [offer] = offers;
      const giver = offer && this.streams.get(offer.stream)?.stream;
      if (!giver || giver.record.min < 1)
        throw new Broken("a deploy is refused, and nobody could give a CPU");
      this.say(`no CPU for another stream; ${offer.stream} could give one`);
      this.change(giver, { min: giver.record.min - 1 });
    }
  }

  private async query(running: Running): Promise<void> {
    const { stream, jahs } = running;
    const { state, shards } = stream.info();
    // The others wait for a stream to be woken.
    if (state !== "running" || shards.some(({ jah }) => jah === null)) return;
    const { deaths } = this.counts;
    const before = { ...running.spent };
    try {
      const { frame } = await stream.query({ table: "t", limit: 0, format: "ndjson" });
      if (deaths !== this.counts.deaths) return;
      this.counts.answers++;
      // Those that were let go may not have heard of it.
      const owners = new Set(stream.info().shards.map(({ jah }) => jah));
      const asked = [...jahs.values()].filter(({ id }) => owners.has(id));
      this.rules.answer(running, frame, asked);
    } catch (error) {
      // One that was parked meanwhile is woken, which may take longer than a query waits.
      const code = error instanceof HallelujahError ? error.code : "";
      if (code === "no-capacity" && this.streams.get(stream.name) === running)
        this.rules.refused(running, before);
      if (!["jah-lost", "shard-lost", "no-capacity"].includes(code)) throw error;
    }
  }

  private async deploy(min: number): Promise<void> {
    const name = `s${this.deployed++}`;
    const record = recordOf(name, min, this.scenario.cpus);
    this.registered.set(name, structuredClone(record));
    const opened = await this.open(record);
    this.streams.set(name, {
      ...opened,
      jahs: new Map(),
      spent: { lackingMs: 0, workingMs: 0 },
      growths: [],
      grows: false,
      ...this.workload(),
      progress: { frames: 0, at: this.now },
      highest: { frame: 0, at: this.now },
    });
    this.say(`${name} is deployed with min ${min}`);
    opened.stream.wake();
  }

  private async open(record: StreamRecord): Promise<{ stream: Stream; log: FrameLog }> {
    const { boot } = this;
    const { name } = record;
    const tally = new Tally();
    const files = this.files.of({
      later: (ms, what) => this.later(ms, what),
      writing: () => (this.hasFaults ? this.fate() * (this.fate() < 0.05 ? 200 : 2) : 0),
      fails: () => this.eventful && this.hasFaults && this.fate() < 0.01,
    });
    const opened = await Log.open(`/nowhere/${name}/log`, {
      ...files,
      segmentBytes: SEGMENT_BYTES,
      digest: tally,
    });
    const log = new FrameLog(opened);
    const outputs = {
      next: 0,
      lastFrame: -1,
      append: async () => {},
      sync: async () => {},
      close: async () => {},
    };
    const stream = new Stream(record, {
      jahs: this.jahs,
      log,
      tally,
      outputs,
      lateOutputs: outputs,
      kernel: KERNEL,
      readModule: () => KERNEL,
      folder: `/nowhere/${name}`,
      cpus: this.scenario.cpus,
      freeCpus: () => this.freeCpus,
      save: (changed: StreamRecord) => this.register(changed, boot),
      note: (_level: string, message: string) => {
        if (boot === this.boot) this.say(`${name}: ${message}`);
      },
      parkAfterMs: this.scenario.kind === "waves" ? 10_000 : 2000,
      checkpointBytes: this.scenario.kind === "moves" ? 20 * FRAME_BYTES : undefined,
    } as unknown as StreamParts);
    const { dispatch } = stream;
    const handOut = dispatch.handOut.bind(dispatch);
    dispatch.handOut = (fresh) => this.stopwatch("dispatch", () => handOut(fresh));
    const forgetFrom = dispatch.forgetFrom.bind(dispatch);
    dispatch.forgetFrom = (frame) => {
      forgetFrom(frame);
      this.rolledBack(name, frame);
    };
    return { stream, log };
  }

  /** Writes a stream's record to the registry, which takes its time and may fail. */
  private async register(record: StreamRecord, boot: number): Promise<void> {
    if (boot !== this.boot) return new Promise(() => {});
    const { name } = record;
    const kept = structuredClone(record);
    const revision = ++this.revision;
    const isSlow = this.scenario.kind === "storm" && this.luck() < 0.2;
    await new Promise<void>((done) => this.later(this.luck() * (isSlow ? 1000 : 5), done));
    if (boot !== this.boot) return new Promise(() => {});
    if (this.eventful && isSlow && this.luck() < 0.3) throw new Error(UNWRITTEN);
    // One that came later holds this.
    if (revision < (this.revisions.get(name) ?? 0)) return;
    this.revisions.set(name, revision);
    this.registered.set(name, kept);
  }

  /** Some frames of a storm stop every kernel, always in the same place; and some kernels stop at others, too. */
  private poison(stream: string, frame: number, version: number): Poison {
    const own = this.kernels.poison(this.moduleOf(stream, version), frame - this.fromOf(stream, version));
    if (own !== undefined || this.scenario.kind !== "storm") return own;
    const kind = ((frame + 1) * 7919 + this.scenario.seed) % 97;
    return kind === 0 ? "map" : kind === 1 ? (frame * 31) % PARTITIONS : undefined;
  }

  private fromOf(name: string, version: number): number {
    return this.streams.get(name)?.stream.versions.find(version).from ?? 0;
  }

  private moduleOf(name: string, version: number): string {
    return this.streams.get(name)?.stream.versions.find(version).module ?? "";
  }

  /** The frames from `frame` on are applied anew, as none of them was answered. */
  private rolledBack(stream: string, frame: number): void {
    this.counts.rollBacks++;
    for (const key of this.known.keys()) {
      const [name, number] = key.split(" ");
      if (name === stream && Number(number) >= frame) this.known.delete(key);
    }
  }

  /** The Hallelu knows that these partitions have a frame, so that it may be in an answer. */
  private had(stream: string, frame: number, partitions: Uint8Array): void {
    const key = `${stream} ${frame}`;
    const before = this.known.get(key);
    this.known.set(
      key,
      partitions.map((each, p) => each | (before?.[p] ?? 0)),
    );
  }

  /** An owner passes a frame without its records in some partitions: the registry has to know. */
  private passes(stream: string, frame: number, version: number, voided: Uint8Array): void {
    const letters = (this.registered.get(stream)?.dead ?? []).filter((letter) => letter.frame === frame);
    const known = this.known.get(`${stream} ${frame}`);
    voided.forEach((each, p) => {
      if (each && known?.[p])
        throw new Broken(`${stream}: frame ${frame} is set aside for partition ${p}, which has had it`);
      if (each && !letters.some(({ from, to }) => from <= p && p < to))
        throw new Broken(`${stream}: frame ${frame} is set aside for ${p}, and the registry does not say so`);
    });
    if (this.poison(stream, frame, version) === undefined)
      throw new Broken(`${stream}: frame ${frame} is set aside for nothing`);
  }

  /** What a stream's frames cost, and how many come. */
  private workload(): Pick<Running, "costs" | "load"> {
    const { kind, cpus } = this.scenario;
    const streams = Math.max(1, this.scenario.streams);
    const map =
      { storm: 1, moves: 4, waves: 4, vain: 2.5, crowd: 2 }[kind] *
      (1 + this.chance() * (kind === "storm" ? 8 : 2));
    const apply = map * this.chance() * { storm: 3, moves: 2, waves: 1.5, vain: 1, crowd: 2 }[kind];
    const costs = { map, apply, bytes: FRAME_BYTES };
    /** Frames a second that one Jah can do. */
    const one = 1000 / (map + apply);
    const period = 1000 + Math.floor(this.chance() * 20_000);
    const load = {
      storm: { rate: this.chance() * 150, period },
      moves: { rate: one * (0.3 + this.chance()), period: Infinity },
      waves: { rate: one * (0.5 + (this.chance() * cpus) / streams), period },
      vain: { rate: one * (1.3 + this.chance()), period: Infinity },
      // Some of them never rest.
      crowd: {
        rate: (one * 1.4 * cpus * this.chance()) / streams,
        period: this.chance() < 0.5 ? Infinity : period,
      },
    }[kind];
    return { costs, load };
  }

  private get freeCpus(): number {
    const taken = [...this.jahs.all.values()].filter(({ state }) => state !== "claimed").length;
    return Math.max(0, this.scenario.cpus - taken);
  }

  private tick(): void {
    this.rules.passed(TICK_MS, this.streams.values(), [...this.processes.values()], this.ledger.free);
    for (const { stream } of this.streams.values()) this.stopwatch("scaling", () => stream.tick(this.now));
  }

  private tellLoads(): void {
    const loads = [...this.streams.values()].map(({ stream }) => stream.load(this.now));
    this.later(this.hop(), () => this.decide(() => this.ledger.told(loads, this.now)));
  }

  // --- the Congregation's side -----------------------------------------------------------------------------------

  private hear(message: FromHallelu): void {
    switch (message.type) {
      case "claim":
        this.rules.claimed(message, this.now);
        this.decide(() => this.ledger.claim(message, this.now));
        break;
      case "withdraw":
        this.rules.withdrawn(message.jah);
        this.ledger.withdraw(message.jah);
        break;
      case "end": {
        const process = this.processes.get(message.jah);
        if (!process) break;
        const end = () => {
          process.jah.die();
          this.later(1, () => this.ended(message.jah, "SIGKILL"));
        };
        if (message.graceMs) this.later(message.graceMs, end);
        else end();
        break;
      }
    }
  }

  private decide(what: () => LedgerCommand[]): void {
    for (const command of this.stopwatch("ledger", what)) {
      if (command.type === "start") this.start(command.jah, command.cpu);
      else {
        const type = command.type === "refuse" ? "refused" : "reclaim";
        if (type === "refused") this.rules.answered(command.jah);
        this.say(`Jah ${command.jah} is ${type === "refused" ? "refused" : "asked for its CPU"}`);
        this.later(this.hop(), () => this.jahs.hear({ type, jah: command.jah }));
      }
    }
  }

  private start(id: number, cpu: number): void {
    const claim = this.rules.answered(id);
    const why = claim.waits ? "" : `, to scale (${claim.kind})`;
    this.say(`Jah ${id} of ${claim.stream} starts on CPU ${cpu}${why}`);
    this.counts.starts++;
    const running = this.streams.get(claim.stream);
    const slowness = this.isUnlucky() ? 1 + this.chance() * 4 : 1;
    const jah = new SimulatedJah(id, running?.costs ?? NO_COSTS, slowness, this.worldOf(id, claim.stream));
    jah.onEnd = () => this.ended(id, null);
    // Some never call; their Hallelu gives them up.
    const calls = !(this.eventful && this.scenario.kind === "storm" && this.chance() < 0.01);
    const process = { jah, cpu, claim, since: this.now, calls, late: 0 };
    this.processes.set(id, process);
    this.rules.started(process, this.processes.values());
    if (running && !claim.waits) this.rules.added(running, this.now);
    this.later(this.hop(), () => this.jahs.hear({ type: "granted", jah: id, cpu, pid: id }));
    if (calls) this.later(20 + this.chance() * 200, () => this.call(id));
  }

  /** Whether something is the matter with a Jah. */
  private isUnlucky(): boolean {
    const { kind } = this.scenario;
    return this.chance() < { storm: 0.1, moves: 0.3, crowd: 0.1, waves: 0, vain: 0 }[kind];
  }

  /** It calls its Hallelu, if that still knows it. */
  private call(id: number): void {
    const process = this.processes.get(id);
    const jah = this.jahs.all.get(id);
    if (!process?.jah.alive) return;
    if (!jah || jah.state === "gone") {
      process.jah.die();
      return this.later(1, () => this.ended(id, null));
    }
    this.streams.get(process.claim.stream)?.jahs.set(id, process.jah);
    // Some do not get to their words for a while.
    const lag = this.isUnlucky() ? 500 : 0;
    const send = this.channel(lag);
    jah.attach({
      send: (message: ToLiveJah) => {
        if (lag) process.late++;
        send(() => {
          if (lag) process.late--;
          process.jah.hear(message);
        });
      },
      destroy: () => {},
    });
  }

  private ended(id: number, signal: string | null): void {
    const process = this.processes.get(id);
    if (!process) return;
    this.processes.delete(id);
    const running = this.streams.get(process.claim.stream);
    running?.jahs.delete(id);
    if (running) running.grows = false;
    this.later(this.hop(), () => this.exited(id, signal));
    this.decide(() => this.ledger.exited(id, this.now));
  }

  private exited(id: number, signal: string | null): void {
    this.jahs.hear({ type: "exited", jah: id, code: signal ? null : 0, signal, complaint: "" });
  }

  private worldOf(id: number, stream: string): World {
    const tell = this.channel();
    /** What it has applied and not told of. */
    const has: [frame: number, partitions: Uint8Array][] = [];
    return {
      later: (ms, what) => this.later(ms, what),
      tell: (message: FromLiveJah) => {
        const told = message.type === "did" ? has.splice(0) : [];
        tell(() => {
          const jah = this.jahs.all.get(id);
          if (jah && jah.state !== "gone") for (const each of told) this.had(stream, ...each);
          jah?.receive(message);
        });
      },
      has: (frame, partitions) => has.push([frame, partitions]),
      peer: (other) => this.streams.get(stream)?.jahs.get(other),
      delay: () => 0.2 + (this.chance() < 0.05 ? this.chance() * 80 : this.chance() * 2),
      doubles: () => this.chance() < 0.05,
      disk: this.disk,
      writing: () => this.chance() * (this.chance() < 0.05 ? 6000 : 20),
      hasFaults: this.hasFaults,
      failsToWrite: () => this.eventful && this.hasFaults && this.chance() < 0.03,
      hindrance: () => (this.scenario.kind === "vain" ? (this.streams.get(stream)?.jahs.size ?? 1) : 1),
      worked: (ms) => {
        const running = this.streams.get(stream);
        if (running) running.spent.workingMs += ms;
      },
      moved: (donor, what) => {
        this.say(`${stream}: ${what}`);
        this.moved(donor, id);
      },
      poison: (frame, version) => this.poison(stream, frame, version),
      stopsAtOnce: (version) => this.kernels.stopsAtOnce(this.moduleOf(stream, version)),
      passes: (frame, version, voided) => this.passes(stream, frame, version, voided),
      broken: (rule) => {
        throw new Broken(`${stream}: ${rule}`);
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
    if (this.processes.size || this.jahs.all.size) return false;
    const parked = [...this.streams.values()].every(({ stream, log }) => {
      const { frame, state } = stream.info();
      return frame === log.next && state === "parked";
    });
    return parked;
  }

  private standing(): string {
    const streams = [...this.streams.values()].map(({ stream, log }) => {
      const { state, frame, jahs, max } = stream.info();
      return `${stream.name} ${state} ${frame}/${log.next} jahs ${jahs} max ${max}`;
    });
    return [`free ${this.ledger.free}`, `claims ${this.jahs.all.size}`, ...streams].join("; ");
  }
}

const UNWRITTEN = "the registry cannot be written";

const NO_COSTS: Costs = { map: 1, apply: 1, bytes: FRAME_BYTES };

const KERNEL: KernelDescriptor = {
  abi: 0,
  sdk: "",
  file: "",
  outputs: [],
  ordered: false,
  late: false,
  input: { name: "", fields: [], size: 0 },
  tables: [{ name: "t", key: ["u32"], state: "", fields: [] }],
};

function recordOf(name: string, min: number, max: number): StreamRecord {
  const source = {
    origin: "push",
    kind: "slice",
    name: "",
    format: "ndjson",
    size: 0,
    dataStart: 0,
  } as const;
  return {
    name,
    version: 1,
    kernel: "",
    file: "",
    min,
    max,
    paused: false,
    retain: "applied",
    source: [],
    sink: [],
    dead: [],
    stored: [{ folder: "shard-0", from: 0, to: 256, start: 0 }],
    frame: 0,
    counts: { records: 0, bad: 0, late: 0 },
    sources: [{ ...source, delimiter: 0, plan: [] }],
  };
}
