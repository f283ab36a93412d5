/**
 * Nothing is lost: producers push numbered records into the streams of one host at full rate while its processes are
 * killed, capacities, shards and kernels are changed, and tables are asked for; now and then the data folder is copied as a loss of
 * power would leave it, and a host started from the copy. At the end everything is compared with what was acknowledged.
 */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Hallelujah, StreamChange } from "../../host/client/live.ts";
import type { HallelujahError } from "../../host/core/errors.ts";
import { buildKernel } from "../../host/compiler/cache.ts";
import { kernelOf, random } from "../run.ts";
import { SoakHost } from "./host.ts";
import { signal } from "./processes.ts";
import { Loader, patiently } from "./loader.ts";
import { type Counts, fileOf, History, type Taken } from "./handled.ts";
import { rowsOf, type StreamSpec, STREAMS, type TableSpec } from "./streams.ts";
import { endOutput, producersOf, settle, verify } from "./verify.ts";

export interface SoakOptions {
  /** Time in which things happen; bringing everything to rest and comparing it comes on top. */
  seconds: number;
  seed: number;
  cpus?: number;
  /** Records that the fastest producers push in a minute, so that what is to be compared stays bounded. */
  recordsPerMinute?: number;
  /** Mean pause between two kills; Infinity: none. */
  killEverySeconds?: number;
  /** How often the folder is copied as a loss of power would leave it. */
  powerLosses?: number;
  /** Hears what happens, line by line. */
  say?: (line: string) => void;
}

export interface SoakSummary {
  kills: Record<string, number>;
  /** Starts of the whole host after its Congregation was killed, and after an orderly end. */
  restarts: number;
  stops: number;
  /** Processes that got to nothing for a while. */
  freezes: number;
  powerLosses: number;
  changes: number;
  /** Swaps to a kernel of another make, and to one that stops at its first record. */
  swaps: number;
  badKernels: number;
  /** Reprocesses that began, with a kernel of another make. */
  reprocesses: number;
  /** Answers of queries and visits, and how many of them were of visits. */
  answers: number;
  visits: number;
  /** Queries that were not answered, by code. */
  refusals: Record<string, number>;
  /** Records that were acknowledged, or taken in from another stream; and bodies of them. */
  records: number;
  bodies: number;
  outputs: number;
}

/**
 * What is killed, and how often of a hundred times. `leader` is a Congregation whose other processes get to nothing, so that
 * they do not end by themselves. `freeze` and `stop` are no kills: a process that gets to nothing for a while, and an orderly end.
 */
const TARGETS = [
  ["Jah", 45],
  ["Hallelu", 18],
  ["Congregation", 10],
  ["everything", 9],
  ["leader", 4],
  ["spare", 4],
  ["freeze", 5],
  ["stop", 5],
] as const;
/** The longest time for which a process is frozen, ms. */
const FREEZE_MS = 3_000;
/** Records are allowed in waves, so that they come at full rate and streams come to rest between them, ms. */
const WAVE_MS = 4_000;
/** Longest pauses between two queries of a table, and between two changes, ms. */
const ASK_MS = 400;
const CHANGE_MS = 4_000;
/** Kernels of a stream that are told apart: with two, what was there before a reprocess might be taken for what it made of it. */
const MAKES = 3;
/** What is changed, side by side. */
type Wish = StreamChange | "swap" | "bad kernel" | "reprocess";
const CAPACITIES: Wish[] = [
  { max: 1 },
  { max: 2 },
  { shards: 2 },
  { shards: 1 },
  { shards: 0 },
  { max: 0 },
  { paused: true },
];
const KERNELS: Wish[] = ["swap", "swap", "bad kernel", "reprocess", "reprocess"];
/** What a query may be answered while processes are killed, and streams are stopped, moved and woken. */
const REFUSALS = new Set([
  "host-unreachable",
  "connection-lost",
  "no-capacity",
  "shard-lost",
  "jah-lost",
  "visit-lost",
  "stream-paused",
  "stream-stopped",
  "busy",
]);

/** What cannot be for now: a reprocess is under way, or the kernel is on trial. */
const PASSES = new Set(["reprocess-running", "stream-on-trial"]);

/** A module, and the name of its file, which the history tells. */
interface Make {
  kernel: Uint8Array;
  file: string;
}

/** Whether a kernel begins to take in all records again. */
async function reprocess(client: Hallelujah, name: string, make: Make): Promise<boolean> {
  try {
    await client.reprocess(name, make);
    return true;
  } catch (error) {
    if (!PASSES.has((error as HallelujahError).code)) throw error;
    return false;
  }
}

/** Whether another kernel takes over; one that is rolled back before that is answered is as good. */
async function swap(client: Hallelujah, name: string, make: Make): Promise<boolean> {
  try {
    await client.swap(name, make);
    return true;
  } catch (error) {
    const { code } = error as HallelujahError;
    if (code !== "swap-rolled-back" && !PASSES.has(code)) throw error;
    return code === "swap-rolled-back";
  }
}

/** The kernel, but that it stops at its first record. */
function broken(kernel: string): string {
  return kernel.replace(/export function (?:each|fold)\([^{]*\{/, '$& throw new Error("as it should");');
}

/** Rejects with what was lost or wrong, and where the folder is that shows it. */
export async function soak(options: SoakOptions): Promise<SoakSummary> {
  const folder = mkdtempSync(join(tmpdir(), "hallelujah-soak-"));
  const run = new Soak(options, folder);
  try {
    const summary = await run.run();
    rmSync(folder, { recursive: true, force: true });
    return summary;
  } catch (error) {
    throw new Error(
      `seed ${options.seed}: ${(error as Error).message}\nIts data and its journal are kept in ${folder}`,
      { cause: error },
    );
  } finally {
    run.end();
  }
}

class Soak {
  private readonly options: Required<SoakOptions>;
  private readonly folder: string;
  private readonly host: SoakHost;
  private readonly loaders: Loader[];
  /** The kernels of each stream, of which the first is the next one, and one that stops at its first record. */
  private readonly modules = new Map<string, { makes: Make[]; bad: Make }>();
  private readonly histories = new Map(
    STREAMS.filter(({ makes }) => makes).map(({ name }) => [name, new History()]),
  );
  /** When things began to happen. */
  private startedAt = performance.now();
  /** The time is over: nothing new begins. */
  private readonly over = new AbortController();
  /** Something went wrong: everything ends. */
  private readonly abandoned = new AbortController();
  private readonly copies = new Set<SoakHost>();
  private readonly summary: SoakSummary = {
    kills: {},
    restarts: 0,
    stops: 0,
    freezes: 0,
    powerLosses: 0,
    changes: 0,
    swaps: 0,
    badKernels: 0,
    reprocesses: 0,
    answers: 0,
    visits: 0,
    refusals: {},
    records: 0,
    bodies: 0,
    outputs: 0,
  };

  constructor(options: SoakOptions, folder: string) {
    this.options = {
      cpus: 2,
      recordsPerMinute: 1_500_000,
      killEverySeconds: 3,
      powerLosses: 1,
      say: () => {},
      ...options,
    };
    this.folder = folder;
    this.host = new SoakHost(join(folder, "host"), this.options.cpus, (error) => this.abandon(error));
    this.loaders = STREAMS.flatMap((stream) =>
      stream.producers.map((producer) => new Loader(stream, producer, this.chance(producer.id))),
    );
  }

  async run(): Promise<SoakSummary> {
    const { host, over, abandoned, summary } = this;
    const { seconds } = this.options;
    for (const { name, kernel, makes } of STREAMS) {
      const build = async (source: string, file: string): Promise<Make> => {
        const { path } = await buildKernel(kernelOf(name, source));
        return { kernel: readFileSync(path), file };
      };
      const numbers = Array.from({ length: makes ? MAKES : 1 }, (_, i) => i + 1);
      this.modules.set(name, {
        makes: await Promise.all(numbers.map((make) => build(kernel(make), fileOf(make)))),
        bad: await build(broken(kernel(0)), "bad.ts"),
      });
    }
    await host.start();
    const first = STREAMS.filter(({ from }) => from === undefined);
    await Promise.all(first.map((stream) => this.deploy(stream)));
    for (const stream of STREAMS) if (!first.includes(stream)) await this.deploy(stream);
    this.startedAt = performance.now();
    const outputs = STREAMS.filter(({ output }) => output).map((stream) => new Subscriber(stream));
    const following = outputs.map((each) => this.watched(each.follow(host, abandoned.signal)));
    const happening = [
      ...this.loaders.map((loader) =>
        loader.run(host.client, () => this.allowed(loader.stream.share), over.signal, abandoned.signal),
      ),
      ...STREAMS.flatMap((stream) => stream.tables.map((table) => this.ask(stream, table))),
      this.change("capacity", CAPACITIES),
      this.change("kernel", KERNELS),
      this.disturb(),
    ].map((work) => this.watched(work));
    await Promise.race([this.pause(seconds * 1000), Promise.all(happening)]);
    over.abort();
    await Promise.all(happening);
    abandoned.signal.throwIfAborted();

    this.say("the time is over");
    const taken = this.taken;
    await settle(host.client, abandoned.signal);
    this.say("everything is applied");
    Object.assign(summary, await verify(host.client, host.folder, taken));
    for (const each of outputs) await each.complete(host, taken, abandoned.signal);
    this.say("all is there: once more after an orderly end");
    await host.stop();
    await host.start();
    await verify(host.client, host.folder, taken, { outputs: false });
    this.abandoned.abort(new Error("it is over"));
    await Promise.allSettled(following);
    await host.stop();
    summary.bodies = this.loaders.reduce((sum, { sequence }) => sum + sequence, 0);
    return summary;
  }

  private async deploy({ name, from, sink, keeps }: StreamSpec): Promise<void> {
    const { makes } = this.modules.get(name)!;
    const make = makes.shift()!;
    makes.push(make);
    const options = {
      ...(from === undefined ? {} : { from }),
      ...(sink === undefined ? {} : { sink }),
      ...(keeps ? { retain: "all" } : {}),
    };
    await this.host.client.deploy(name, { ...make, min: 0, max: 2, ...options });
  }

  /** Kills whatever is left. */
  end(): void {
    this.abandon(new Error("it is over"));
    for (const host of [this.host, ...this.copies]) host.end();
  }

  private abandon(error: Error): void {
    this.over.abort();
    this.abandoned.abort(error);
  }

  /** The same work; if it fails, everything ends. */
  private watched(work: Promise<void>): Promise<void> {
    return work.catch((error: Error) => this.abandon(error));
  }

  private say(line: string): void {
    const seconds = ((performance.now() - this.startedAt) / 1000).toFixed(1);
    this.options.say(`${seconds.padStart(6)} s  ${line}`);
  }

  /** Random numbers of one part, which do not depend on how often the others draw. */
  private chance(part: string): () => number {
    const { seed } = this.options;
    return random([...part].reduce((sum, letter) => Math.imul(sum, 31) + letter.charCodeAt(0), seed));
  }

  /** Resolves after so long, or when the time is over. */
  private async pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.over.signal }).catch(() => {});
  }

  /** What is acknowledged by now, which does not change with what comes. */
  private get taken(): Taken {
    const { loaders, histories } = this;
    return {
      counts: new Map(loaders.map(({ producer, acknowledged }) => [producer, acknowledged])),
      pieces: new Map(loaders.map(({ producer, pieces }) => [producer, [...pieces]])),
      histories: new Map([...histories].map(([name, history]) => [name, history.copy()])),
    };
  }

  /** How many records a producer may have pushed by now. */
  private allowed(share: number): number {
    const waves = Math.ceil((performance.now() - this.startedAt) / WAVE_MS);
    return (waves * WAVE_MS * share * this.options.recordsPerMinute) / 60_000;
  }

  /** Asks for a table: what is answered is right as of some moment, which never goes back. */
  private async ask(stream: StreamSpec, table: TableSpec): Promise<void> {
    const chance = this.chance(`ask ${stream.name} ${table.name}`);
    const { client } = this.host;
    let least = { frame: -1, counts: new Map() as Counts };
    while (!this.over.signal.aborted) {
      try {
        const answer = await rowsOf(client, stream.name, table, { signal: this.abandoned.signal });
        const counts = table.countsOf(await answer.all());
        this.checkAnswer(stream, answer.frame, counts, least);
        least = { frame: answer.frame, counts };
        this.summary.answers++;
        if (table.visit !== undefined) this.summary.visits++;
      } catch (error) {
        const { code, message } = error as { code?: string; message: string };
        if (!code || !REFUSALS.has(code))
          throw new Error(`${stream.name} was asked: ${message}`, { cause: error });
        this.summary.refusals[code] = (this.summary.refusals[code] ?? 0) + 1;
      }
      await this.pause(chance() * ASK_MS);
    }
  }

  private checkAnswer(
    stream: StreamSpec,
    frame: number,
    counts: Counts,
    least: { frame: number; counts: Counts },
  ): void {
    const sent = new Map(this.loaders.map((loader) => [loader.producer, loader.sent]));
    for (const [producer, most] of producersOf(stream, sent)) {
      const count = counts.get(producer) ?? 0;
      if (count > most) throw new Error(`it holds ${count} records of ${producer}, which sent ${most}`);
      if (count < (least.counts.get(producer) ?? 0))
        throw new Error(
          `it holds ${count} records of ${producer} at frame ${frame}, and held ${least.counts.get(producer)} at frame ${least.frame} before`,
        );
    }
    if (frame < least.frame)
      throw new Error(`it answers at frame ${frame}, and was at ${least.frame} before`);
  }

  /** Changes capacities and shards, or kernels; what stops a stream is taken back. */
  private async change(what: string, wishes: Wish[]): Promise<void> {
    const chance = this.chance(`change ${what}`);
    const { client } = this.host;
    const { signal } = this.abandoned;
    const { summary } = this;
    const change = async ({ name, keeps }: StreamSpec, wish: Wish) => {
      if (typeof wish !== "string") await patiently(() => client.change(name, wish), signal);
      else if (wish !== "reprocess" || keeps) {
        const { makes, bad } = this.modules.get(name)!;
        const make = wish === "bad kernel" ? bad : makes[0];
        const begin = wish === "reprocess" ? reprocess : swap;
        // Each swap is a version of its own, also where it is sent again as its answer was lost.
        if (!(await patiently(() => begin(client, name, make), signal))) return;
        // The next one is of another make than this one.
        if (make === makes[0]) makes.push(makes.shift()!);
        // Now and then, as a host forgets the oldest versions.
        this.histories.get(name)?.learn(await patiently(() => client.versions(name), signal));
        this.say(`${name}: ${wish}, ${make.file}`);
      } else return;
      summary.changes++;
      if (wish === "swap") summary.swaps++;
      if (wish === "bad kernel") summary.badKernels++;
      if (wish === "reprocess") summary.reprocesses++;
    };
    // However slow the machine is, there is something to tell apart.
    for (const stream of wishes === KERNELS ? STREAMS.filter(({ makes }) => makes) : []) {
      await this.pause(chance() * CHANGE_MS);
      await change(stream, "swap");
    }
    while (!this.over.signal.aborted) {
      await this.pause(chance() * CHANGE_MS);
      const stream = STREAMS[Math.floor(chance() * STREAMS.length)];
      const wish = wishes[Math.floor(chance() * wishes.length)];
      await change(stream, wish);
      if (typeof wish === "string" || (wish.max !== 0 && !wish.paused)) continue;
      await this.pause(chance() * CHANGE_MS);
      await change(stream, { max: 2, paused: false });
    }
  }

  // --- what goes wrong -------------------------------------------------------------------------------------------

  /** Kills processes, and copies the folder in between. */
  private async disturb(): Promise<void> {
    const chance = this.chance("kill");
    const { seconds, killEverySeconds, powerLosses } = this.options;
    /** The copy that is being compared; one at a time. */
    let copying: Promise<void> | undefined;
    let due = performance.now();
    while (!this.over.signal.aborted) {
      const part = (performance.now() - this.startedAt) / (seconds * 1000);
      const losses = this.summary.powerLosses;
      if (!copying && losses < powerLosses && part * (powerLosses + 1) > losses + 1) {
        const compare = await this.losePower();
        copying = this.watched(compare()).then(() => {
          copying = undefined;
        });
      }
      due += Math.min(-Math.log(1 - chance()) * killEverySeconds, seconds) * 1000;
      await this.pause(Math.max(0, due - performance.now()));
      due = Math.max(due, performance.now());
      if (!this.over.signal.aborted) await this.kill(chance);
    }
    await copying;
  }

  private async kill(chance: () => number): Promise<void> {
    const { host, summary } = this;
    let at = chance() * TARGETS.reduce((sum, [, weight]) => sum + weight, 0);
    const [kind] = TARGETS.find(([, weight]) => (at -= weight) < 0)!;
    const { starts } = host;
    if (kind === "stop") {
      this.say("SIGTERM to the host");
      await host.stop();
      await host.start();
      summary.stops++;
      return;
    }
    if (kind === "freeze") {
      const there = [...host.processes("Jah"), ...host.processes("Hallelu")];
      const target = there[Math.floor(chance() * there.length)];
      if (!target) return;
      this.say(`SIGSTOP to ${target.kind} ${target.pid} for a while`);
      signal(target, "SIGSTOP");
      await this.pause(chance() * FREEZE_MS);
      signal(target, "SIGCONT");
      summary.freezes++;
      return;
    }
    if (kind === "leader") {
      this.say("SIGKILL to the Congregation, and SIGSTOP to the others");
      const [leader, ...others] = host.processes();
      for (const each of others) signal(each, "SIGSTOP");
      const killed = host.kill([leader]);
      // A compiler holds nothing, so that no Congregation ends that of another: it has to end by itself when it gets on.
      for (const each of others) if (each.kind === "other") signal(each, "SIGCONT");
      await killed;
    } else if (kind === "everything") {
      this.say("SIGKILL to everything");
      await host.kill(host.processes());
    } else {
      const there = host.processes(kind);
      const target = there[Math.floor(chance() * there.length)];
      if (!target) return;
      this.say(`SIGKILL to ${kind} ${target.pid}`);
      if (!(await host.kill([target]))) return;
    }
    summary.kills[kind] = (summary.kills[kind] ?? 0) + 1;
    if (host.starts > starts) summary.restarts++;
  }

  /**
   * Copies the folder at one moment. Resolves with what starts a host from the copy, sends it what was not acknowledged,
   * and compares.
   */
  private async losePower(): Promise<() => Promise<void>> {
    const number = ++this.summary.powerLosses;
    const copy = new SoakHost(join(this.folder, `copy-${number}`), this.options.cpus, (error) =>
      this.abandon(new Error(`after loss of power ${number}: ${error.message}`)),
    );
    this.copies.add(copy);
    this.say(`loss of power ${number}: copying`);
    const { taken, inFlight } = await this.host.frozen(async () => {
      cpSync(this.host.folder, copy.folder, { recursive: true });
      const inFlight = this.loaders.map(({ inFlight }) => inFlight);
      return { taken: this.taken, inFlight };
    });
    // The process that holds the lock lives on, as it would not after a loss of power.
    for (const name of readdirSync(copy.data))
      if (name.startsWith("lock.")) rmSync(join(copy.data, name), { force: true });
    return async () => {
      try {
        await copy.start();
        const { signal } = this.abandoned;
        await Promise.all(
          this.loaders.map(async (loader, i) => {
            const { producer } = loader;
            const body = inFlight[i];
            if (!body) return;
            const pieces = await loader.push(copy.client, body, signal);
            taken.pieces.get(producer)!.push(...pieces);
            taken.counts.set(producer, taken.counts.get(producer)! + body.records);
          }),
        );
        await settle(copy.client, signal);
        await verify(copy.client, copy.folder, taken);
        await copy.stop();
        this.say(`loss of power ${number}: all is there`);
      } catch (error) {
        throw new Error(`after loss of power ${number}: ${(error as Error).message}`, { cause: error });
      }
      rmSync(copy.folder, { recursive: true, force: true });
      this.copies.delete(copy);
    };
  }
}

/** Follows an output all the time, over all ends of the host: each row comes once, in order. */
class Subscriber {
  private readonly stream: StreamSpec;
  private readonly check;
  private taken = 0;

  constructor(stream: StreamSpec) {
    this.stream = stream;
    this.check = stream.output!();
  }

  async follow({ client }: SoakHost, signal: AbortSignal): Promise<void> {
    const { name } = this.stream;
    try {
      for await (const { row } of client.output(name, { from: 0, signal })) {
        this.check.take(row);
        this.taken++;
      }
    } catch (error) {
      if (!signal.aborted)
        throw new Error(`the output of ${name} was followed: ${(error as Error).message}`, { cause: error });
    }
  }

  /** Waits for the last row; throws unless those that came are all. */
  async complete({ client }: SoakHost, taken: Taken, abandoned: AbortSignal): Promise<void> {
    const { outputs } = await client.stream(this.stream.name);
    while (this.taken < outputs) {
      abandoned.throwIfAborted();
      await sleep(50);
    }
    if (this.taken > outputs)
      throw new Error(`${this.stream.name} sent ${this.taken} rows, and has ${outputs}`);
    endOutput(this.check, this.stream, taken);
  }
}
