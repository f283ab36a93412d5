/**
 * A whole host on virtual time, from a seed: the real ledger, streams with their scaling, dispatch, parking and recovery, and
 * the real record of Jahs; instead of processes, Jahs that are slow, start late, never call or die, and whose batches are
 * delayed, doubled and overtake one another. Rules are checked all the time; `Broken` says which one was broken.
 */
import { Ledger, type LedgerCommand } from "../../host/congregation/ledger.ts";
import type { KernelDescriptor } from "../../host/compiler/descriptor.ts";
import { Jahs } from "../../host/hallelu/jahs.ts";
import { Stream, type StreamParts, type StreamRecord } from "../../host/hallelu/stream.ts";
import type { FromHallelu } from "../../host/wire/congregation.ts";
import type { ToLiveJah } from "../../host/wire/live.ts";
import { random } from "../run.ts";
import { type Image, SimulatedJah } from "./jah.ts";

export class Broken extends Error {}

export interface SimulationOptions {
  seed: number;
  cpus: number;
  streams: number;
  /** Virtual time in which things happen, ms; then all of them come to rest. */
  ms: number;
  /** A clock on the wall, ms, to see how long decisions take; the simulation replaces performance.now. */
  wall?: () => number;
  /** What is put in place of the real parts, to see whether that shows. */
  ledger?: (cpus: number[]) => Ledger;
  tamper?: (stream: Stream) => void;
}

const TICK_MS = 100;
const LOADS_MS = 200;
/** Virtual time within which a stream that has work gets on, for each stream that shares a CPU with it, ms. */
const PATIENCE_MS = 40_000;
const REST_MS_MAX = 600_000;
const FRAME_BYTES = 400_000;

/** A log of frames of one size, in memory. */
class MemoryLog {
  first = 0;
  next = 0;
  place() {
    return { kind: 0, path: "", offset: 0, bytes: FRAME_BYTES, headBytes: 0, records: 10 };
  }
  bytesFrom(frame: number): number {
    return Math.max(0, this.next - frame) * FRAME_BYTES;
  }
  async appendGroup(entries: unknown[]): Promise<{ number: number }> {
    const number = this.next;
    this.next += entries.length;
    return { number };
  }
  async close(): Promise<void> {}
}

interface Running {
  stream: Stream;
  log: MemoryLog;
  jahs: Map<number, SimulatedJah>;
  costs: { map: number; apply: number; bytes: number };
  /** Frames a second while its load is on, and how long it is on and off, ms. */
  load: { rate: number; period: number };
  /** How far it had got when it last got on, and when that was. */
  progress: { frame: number; at: number };
}

export class HostSimulation {
  readonly story: string[] = [];
  readonly counts = { events: 0, frames: 0, steps: 0, deaths: 0 };
  /** How long the ledger took to decide, ms of the wall clock. */
  readonly decisions: number[] = [];
  now = 0;
  private readonly options: SimulationOptions;
  private readonly chance: () => number;
  private readonly ledger: Ledger;
  private readonly jahs: Jahs;
  private readonly streams = new Map<string, Running>();
  private readonly processes = new Map<number, { jah: SimulatedJah; stream: string }>();
  private readonly images = new Map<string, Image>();
  private queue: { at: number; order: number; what: () => void }[] = [];
  private order = 0;
  private eventful = true;

  constructor(options: SimulationOptions) {
    this.options = options;
    this.chance = random(options.seed);
    const cpus = Array.from({ length: options.cpus }, (_, i) => i);
    this.ledger = options.ledger?.(cpus) ?? new Ledger(cpus);
    this.jahs = new Jahs((message) => this.later(this.hop(), () => this.hear(message)), "secret", 1);
  }

  /** Runs to the end; rejects with `Broken`. */
  async run(): Promise<void> {
    const clocks = { performance: performance.now, date: Date.now };
    performance.now = () => this.now;
    Date.now = () => 1_700_000_000_000 + this.now;
    try {
      for (let i = 0; i < this.options.streams; i++) this.deploy(`s${i}`);
      this.every(TICK_MS, () => this.tick());
      this.every(LOADS_MS, () => this.tellLoads());
      if (this.eventful) this.every(50, () => this.happen());
      await this.until(() => this.now >= this.options.ms);
      this.eventful = false;
      this.say("no more happens");
      for (const { stream } of this.streams.values())
        await stream.change({ min: 0, max: this.options.cpus, paused: false });
      await this.until(() => this.isAtRest, REST_MS_MAX);
      this.checkRest();
    } finally {
      performance.now = clocks.performance;
      Date.now = clocks.date;
    }
  }

  private say(what: string): void {
    this.story.push(`${(this.now / 1000).toFixed(3).padStart(9)} s  ${what}`);
    if (this.story.length > 20_000) this.story.splice(0, 10_000);
  }

  private broken(rule: string): never {
    throw new Broken(rule);
  }

  // --- time ------------------------------------------------------------------------------------------------------

  private later(ms: number, what: () => void): void {
    const item = { at: this.now + ms, order: this.order++, what };
    // A binary heap by time, then by the order in which things were asked for.
    let i = this.queue.push(item) - 1;
    while (i) {
      const parent = (i - 1) >> 1;
      if (before(this.queue[parent], item)) break;
      this.queue[i] = this.queue[parent];
      i = parent;
    }
    this.queue[i] = item;
  }

  private take() {
    const [first] = this.queue;
    const last = this.queue.pop()!;
    if (!this.queue.length) return first;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= this.queue.length) break;
      if (child + 1 < this.queue.length && before(this.queue[child + 1], this.queue[child])) child++;
      if (before(last, this.queue[child])) break;
      this.queue[i] = this.queue[child];
      i = child;
    }
    this.queue[i] = last;
    return first;
  }

  private every(ms: number, what: () => void): void {
    what();
    this.later(ms, () => this.every(ms, what));
  }

  private async until(condition: () => boolean, patience = Infinity): Promise<void> {
    const deadline = this.now + patience;
    while (!condition()) {
      const { at, what } = this.take();
      this.now = at;
      what();
      this.counts.events++;
      // Promises settle between two events, and what was put off to the next turn happens.
      await new Promise((done) => setImmediate(done));
      this.check();
      if (this.now > deadline) this.broken(`it does not come to rest: ${this.standing()}`);
    }
  }

  private hop(): number {
    return this.chance() < 0.03 ? this.chance() * 40 : 0.1 + this.chance() * 0.4;
  }

  // --- what happens ----------------------------------------------------------------------------------------------

  private pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.chance() * list.length)];
  }

  private happen(): void {
    if (!this.eventful) return;
    for (const { stream, log, load } of this.streams.values()) {
      const on = Math.floor(this.now / load.period) % 2 === 0;
      const frames = on ? Math.floor(load.rate / 20 + this.chance()) : Number(this.chance() < 0.02);
      if (frames && log.bytesFrom(this.frameOf(stream)) < 200e6) void this.push(stream, frames);
    }
    const roll = this.chance();
    const { stream } = this.pick([...this.streams.values()]);
    if (roll < 0.004) this.kill();
    else if (roll < 0.008)
      void this.change(stream, { max: Math.floor(this.chance() * (this.options.cpus + 1)) });
    else if (roll < 0.01) void this.change(stream, { max: this.options.cpus, paused: false });
    else if (roll < 0.011) void this.change(stream, { paused: this.chance() < 0.5 });
    else if (roll < 0.013) void this.change(stream, { shards: Math.floor(this.chance() * 4) });
    else if (roll < 0.0135) void this.replace(stream);
  }

  private async push(stream: Stream, frames: number): Promise<void> {
    this.counts.frames += frames;
    const frame = { source: 0, body: [], producers: [] };
    await stream.append(Array.from({ length: frames }, () => frame));
  }

  private async change(stream: Stream, change: object): Promise<void> {
    this.say(`${stream.name}: ${JSON.stringify(change)}`);
    await stream.change(change);
  }

  private kill(): void {
    if (!this.processes.size) return;
    const [id, { jah }] = this.pick([...this.processes]);
    this.say(`Jah ${id} dies`);
    this.counts.deaths++;
    jah.alive = false;
    this.later(this.hop(), () => this.ended(id, "SIGKILL"));
  }

  /** A stream is removed, and another one deployed. */
  private async replace(stream: Stream): Promise<void> {
    this.say(`${stream.name} is removed`);
    this.streams.delete(stream.name);
    await stream.remove();
    this.deploy(`s${this.order}`);
  }

  private deploy(name: string): void {
    const kernel = {
      abi: 0,
      sdk: "",
      file: "",
      outputs: [],
      tables: [],
      ordered: false,
      late: false,
      input: { name: "", fields: [], size: 0 },
    } satisfies KernelDescriptor;
    const log = new MemoryLog();
    const outputs = { next: 0, lastFrame: -1, append: async () => {}, close: async () => {} };
    const record: StreamRecord = {
      name,
      version: 1,
      kernel: "",
      file: "",
      min: this.chance() < 0.5 ? 0 : 1,
      max: this.options.cpus,
      paused: false,
      source: [],
      sink: [],
      dead: [],
      counts: { records: 0, bad: 0, late: 0 },
      sources: [
        {
          origin: "push",
          kind: "slice",
          name: "",
          format: "ndjson",
          size: 0,
          dataStart: 0,
          delimiter: 0,
          plan: [],
        },
      ],
    };
    const stream = new Stream(record, {
      jahs: this.jahs,
      log,
      outputs,
      lateOutputs: outputs,
      kernel,
      folder: `/nowhere/${name}`,
      freeCpus: () => this.freeCpus,
      save: async () => {},
      note: (_level: string, message: string) => this.say(`${name}: ${message}`),
      parkAfterMs: 2000,
    } as unknown as StreamParts);
    this.options.tamper?.(stream);
    const map = 1 + this.chance() * 8;
    this.streams.set(name, {
      stream,
      log,
      jahs: new Map(),
      costs: { map, apply: map * this.chance() * 3, bytes: FRAME_BYTES },
      load: { rate: this.chance() * 150, period: 1000 + Math.floor(this.chance() * 20_000) },
      progress: { frame: 0, at: this.now },
    });
    stream.wake();
  }

  private get freeCpus(): number {
    const taken = [...this.jahs.all.values()].filter(({ state }) => state !== "claimed").length;
    return Math.max(0, this.options.cpus - taken);
  }

  private tick(): void {
    for (const { stream } of this.streams.values()) stream.tick(this.now);
  }

  private tellLoads(): void {
    const streams = [...this.streams.values()].map(({ stream }) => stream.load(this.now));
    this.later(this.hop(), () => {
      const { wall } = this.options;
      const startedAt = wall?.() ?? 0;
      const commands = this.ledger.told(streams, this.now);
      if (wall) this.decisions.push(wall() - startedAt);
      this.carryOut(commands);
    });
  }

  // --- the Congregation's side -----------------------------------------------------------------------------------

  private hear(message: FromHallelu): void {
    switch (message.type) {
      case "claim":
        this.carryOut(this.ledger.claim(message, this.now));
        break;
      case "withdraw":
        this.ledger.withdraw(message.jah);
        break;
      case "end": {
        const process = this.processes.get(message.jah);
        if (!process) break;
        const end = () => {
          process.jah.alive = false;
          this.later(1, () => this.ended(message.jah, "SIGKILL"));
        };
        if (message.graceMs) this.later(message.graceMs, end);
        else end();
        break;
      }
    }
  }

  private carryOut(commands: LedgerCommand[]): void {
    for (const command of commands) {
      if (command.type !== "start") {
        const type = command.type === "refuse" ? "refused" : "reclaim";
        this.say(`Jah ${command.jah} is ${type === "refused" ? "refused" : "asked for its CPU"}`);
        this.later(this.hop(), () => this.jahs.hear({ type, jah: command.jah }));
      } else this.start(command.jah, command.cpu, command.stream);
    }
  }

  private start(id: number, cpu: number, stream: string): void {
    this.say(`Jah ${id} of ${stream} starts on CPU ${cpu}`);
    this.counts.steps++;
    const running = this.streams.get(stream);
    const costs = running?.costs ?? { map: 1, apply: 1, bytes: FRAME_BYTES };
    const slowness = this.chance() < 0.1 ? 1 + this.chance() * 4 : 1;
    const jah = new SimulatedJah(id, stream, costs, slowness, this.worldOf(id, stream));
    jah.onEnd = () => this.ended(id, null);
    this.processes.set(id, { jah, stream });
    this.later(this.hop(), () => this.jahs.hear({ type: "granted", jah: id, cpu, pid: id }));
    // Some never call; their Hallelu gives them up.
    const lost = this.eventful && this.chance() < 0.01;
    if (lost) this.later(30_000, () => this.giveUp(id));
    else this.later(20 + this.chance() * 200, () => this.call(id));
  }

  private giveUp(id: number): void {
    const jah = this.jahs.all.get(id);
    if (jah && jah.state !== "working") this.jahs.kill(jah, `Jah ${id} was not ready`);
  }

  /** It calls its Hallelu, if that still knows it. */
  private call(id: number): void {
    const process = this.processes.get(id);
    const jah = this.jahs.all.get(id);
    if (!process?.jah.alive) return;
    if (!jah || jah.state === "gone") {
      process.jah.alive = false;
      return this.later(1, () => this.ended(id, null));
    }
    this.streams.get(process.stream)?.jahs.set(id, process.jah);
    // A channel keeps its order.
    let lastAt = 0;
    jah.attach({
      send: (message: ToLiveJah) => {
        lastAt = Math.max(lastAt, this.now + this.hop());
        this.later(lastAt - this.now, () => process.jah.hear(message));
      },
      destroy: () => {},
    });
  }

  private ended(id: number, signal: string | null): void {
    const process = this.processes.get(id);
    if (!process) return;
    this.processes.delete(id);
    this.streams.get(process.stream)?.jahs.delete(id);
    this.later(this.hop(), () =>
      this.jahs.hear({ type: "exited", jah: id, code: signal ? null : 0, signal, complaint: "" }),
    );
    this.carryOut(this.ledger.exited(id, this.now));
  }

  private worldOf(id: number, stream: string) {
    let lastAt = 0;
    return {
      later: (ms: number, what: () => void) => this.later(ms, what),
      tell: (message: Parameters<NonNullable<ReturnType<Jahs["all"]["get"]>>["receive"]>[0]) => {
        lastAt = Math.max(lastAt, this.now + this.hop());
        this.later(lastAt - this.now, () => this.jahs.all.get(id)?.receive(message));
      },
      peer: (other: number) => this.streams.get(stream)?.jahs.get(other),
      delay: () => 0.2 + (this.chance() < 0.05 ? this.chance() * 80 : this.chance() * 2),
      doubles: () => this.chance() < 0.05,
      images: this.images,
      broken: (rule: string) => this.broken(`${stream}: ${rule}`),
    };
  }

  // --- the rules -------------------------------------------------------------------------------------------------

  private frameOf(stream: Stream): number {
    return stream.info().frame;
  }

  private check(): void {
    if (this.processes.size > this.options.cpus)
      this.broken(`${this.processes.size} Jahs on ${this.options.cpus} CPUs`);
    if (this.counts.events % 64) return;
    const sharing = Math.ceil(this.streams.size / this.options.cpus);
    for (const { stream, log, progress } of this.streams.values()) {
      const { frame, state, max } = stream.info();
      if (state === "failed") this.broken(`${stream.name} failed`);
      const mayRun = max > 0 && !stream.record.paused;
      if (frame !== progress.frame || frame === log.next || !mayRun)
        Object.assign(progress, { frame, at: this.now });
      else if (this.now - progress.at > PATIENCE_MS * (1 + sharing))
        this.broken(
          `${stream.name} has stood at frame ${frame} of ${log.next} since ${progress.at}: ${this.standing()}`,
        );
    }
  }

  private get isAtRest(): boolean {
    const parked = [...this.streams.values()].every(
      ({ stream, log }) => this.frameOf(stream) === log.next && stream.info().state === "parked",
    );
    return parked && !this.processes.size && !this.jahs.all.size;
  }

  private checkRest(): void {
    if (this.ledger.free !== this.options.cpus) this.broken(`CPUs are lost: ${this.ledger.free} are free`);
    for (const { stream, log } of this.streams.values()) {
      const { image } = stream.record;
      const applied = image ? this.images.get(image.path)!.applied : new Int32Array(256);
      if (log.next && applied.some((frames) => frames !== log.next))
        this.broken(`${stream.name} ends with ${applied} of ${log.next}`);
      // Every record that was mapped was counted once.
      const { records } = stream.info();
      if (records !== log.next * 10)
        this.broken(`${stream.name} counted ${records} of ${log.next * 10} records`);
    }
  }

  private standing(): string {
    const streams = [...this.streams.values()].map(({ stream, log }) => {
      const { state, frame, jahs, max } = stream.info();
      return `${stream.name} ${state} ${frame}/${log.next} jahs ${jahs} max ${max}`;
    });
    return [`${this.now}`, `free ${this.ledger.free}`, ...streams].join("; ");
  }
}

function before(a: { at: number; order: number }, b: { at: number; order: number }): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
