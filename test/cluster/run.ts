/**
 * Nothing is lost in a cluster: producers push numbered records into streams on three machines, tables are asked for and outputs followed, while one
 * thing after the other goes wrong. At the end everything is compared with what was acknowledged, at each host.
 */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "../../host/client/live.ts";
import { buildKernel } from "../../host/compiler/cache.ts";
import type { HallelujahError } from "../../host/core/errors.ts";
import { kernelOf } from "../run.ts";
import { Answers } from "../soak/answers.ts";
import { type Answered, ask } from "../soak/asked.ts";
import { fileOf } from "../soak/handled.ts";
import { Load, type LoadOptions } from "../soak/load.ts";
import type { StreamSpec, TableSpec } from "../soak/streams.ts";
import { piecesOf, settle, verify } from "../soak/verify.ts";
import { isAway, PatientClient, type Refusals } from "./clients.ts";
import { TestCluster, urlOf } from "./cluster.ts";
import type { Fault } from "./faults.ts";
import { type Network, type Node, NODES } from "./namespaces.ts";
import { Probe } from "./probes.ts";
import type { Placed } from "./streams.ts";

/** Time in which a stream must go on after a fault, and in which all must be well after it was put right, ms. */
const RESUME_MS = 60_000;
/** Longest pause between two faults, ms. */
const CALM_MS = 3_000;

export interface ClusterOptions extends LoadOptions {
  placed: Placed[];
  faults: readonly Fault[];
  /** Each fault comes once at least; after so long no more begin. */
  seconds: number;
}

/** How one fault went: for how long the streams that it hit put out nothing of records pushed after it, ms. */
export interface Round {
  fault: string;
  node: Node;
  gapsMs: number[];
}

export class ClusterRun extends Load {
  readonly rounds: Round[] = [];
  readonly summary = {
    answers: {} as Record<string, number>,
    refusals: {} as Refusals,
    pushRefusals: {} as Refusals,
    records: 0,
    bodies: 0,
    rows: 0,
  };
  private readonly options: ClusterOptions;
  private readonly cluster: TestCluster;
  private readonly asking: PatientClient;
  private readonly probes: Probe[];

  constructor(options: ClusterOptions, network: Network, folder: string) {
    super(
      options.placed.map(({ spec }) => spec),
      options,
    );
    this.options = options;
    this.cluster = new TestCluster(network, folder, (error) => this.abandon(error));
    this.asking = this.client(0);
    this.probes = this.loaders
      .filter(({ stream }) => stream.name.startsWith("probe-"))
      .map((loader, i) => new Probe(loader.stream, loader, this.client(i)));
  }

  /** Rejects with what was lost or wrong. */
  async run(): Promise<void> {
    try {
      await this.happen();
    } catch (error) {
      this.cluster.end();
      for (const complaint of this.cluster.complaints()) this.options.say(complaint);
      this.cluster.keep();
      throw error;
    } finally {
      this.abandon(new Error("it is over"));
      this.cluster.end();
    }
  }

  override async ask({ name }: StreamSpec, table: TableSpec): Promise<Answered> {
    const work = (client: ReturnType<typeof connect>, signal: AbortSignal) =>
      ask(client, name, table, { signal });
    return this.asking.once(work, { signal: this.abandoned.signal });
  }

  override isRefusal(error: HallelujahError): boolean {
    return isAway(error);
  }

  private client(first: number): PatientClient {
    return new PatientClient(this.cluster.urls, first % NODES.length, this.summary.pushRefusals);
  }

  private async happen(): Promise<void> {
    const { over, abandoned, streams } = this;
    await this.cluster.start();
    await this.deploy();
    this.startedAt = performance.now();
    const following = this.probes.map((probe) => this.watched(probe.follow(abandoned.signal)));
    const answers = streams.map((stream) => ({ stream, asking: new Answers(this, stream) }));
    const happening = [
      ...this.loaders.map((loader, i) =>
        loader.run(this.client(i), () => this.allowed(loader.stream), over.signal, abandoned.signal),
      ),
      ...answers.map(({ asking }) => asking.ask()),
    ].map((work) => this.watched(work));
    await this.watched(this.allGoOn().then(() => this.strikeAll()));
    over.abort();
    await Promise.all(happening);
    abandoned.signal.throwIfAborted();

    this.say("the time is over");
    const { taken } = this;
    await settle(this.asking, abandoned.signal, streams);
    this.say("everything is applied");
    for (const node of NODES) {
      const verified = await verify(connect({ url: urlOf(node) }), "", taken, { streams });
      this.summary.records = verified.records;
      this.summary.rows = verified.outputs;
      this.say(`all is there, as host ${node} answers`);
    }
    for (const probe of this.probes) await probe.complete(taken, abandoned.signal);
    for (const { stream, asking } of answers) asking.check(await piecesOf(stream, "", taken));
    this.summary.bodies = this.loaders.reduce((sum, { sequence }) => sum + sequence, 0);
    abandoned.abort(new Error("it is over"));
    await Promise.allSettled(following);
    await this.cluster.stop();
  }

  private async deploy(): Promise<void> {
    for (const { spec, node } of this.options.placed) {
      const { path } = await buildKernel(kernelOf(spec.name, spec.kernel(1)));
      await connect({ url: urlOf(node) }).deploy(spec.name, {
        kernel: readFileSync(path),
        file: fileOf(1),
        ...(spec.from === undefined ? { host: node } : { from: spec.from }),
        ...(spec.shares ? { share: true } : {}),
        ...(spec.keeps ? { retain: "all" } : {}),
      });
    }
  }

  private async strikeAll(): Promise<void> {
    const { faults, seconds } = this.options;
    const chance = this.chance("faults");
    const due: Fault[] = [...faults];
    while (!this.over.signal.aborted) {
      await this.pause(chance() * CALM_MS);
      if (!due.length) {
        if (performance.now() - this.startedAt > seconds * 1000) return;
        due.push(...shuffled(faults, chance));
      }
      if (!this.over.signal.aborted) await this.strike(due.shift()!, chance);
    }
  }

  private async strike(fault: Fault, chance: () => number): Promise<void> {
    const leaders = await this.leaders();
    const node = await this.victim(fault, leaders, chance);
    const hit = this.probes.filter(({ name }) => fault.isOfAll || leaders.get(name) === node);
    const led = [...leaders].filter(([, host]) => host === node).map(([name]) => name);
    this.say(`${fault.what} ${node}, which leads ${led.join(", ") || "nothing"}`);
    const struckAt = performance.now();
    // Those that were sent when the fault is there may have come through before it.
    const striking = fault.strike(this.cluster, node);
    const going = hit.map(async (probe) => (await probe.next()) - struckAt);
    const putRight = await striking;
    const resumed = this.within(Promise.all(going), `${hit.map(({ name }) => name)} to go on`);
    resumed.catch(() => {});
    try {
      await sleep(fault.lastsMs);
      if (fault.goesOn) await resumed;
    } finally {
      await putRight();
    }
    const rightAt = performance.now();
    const gapsMs = await resumed;
    const now = await this.leaders();
    for (const [i, { name }] of hit.entries())
      this.say(`  ${name}: ${(gapsMs[i] / 1000).toFixed(2)} s until it went on, at host ${now.get(name)}`);
    await this.cluster.together();
    await this.allGoOn();
    this.say(`  all is well ${((performance.now() - rightAt) / 1000).toFixed(2)} s after it was put right`);
    this.rounds.push({ fault: fault.name, node, gapsMs });
  }

  private async allGoOn(): Promise<void> {
    await this.within(Promise.all(this.probes.map((probe) => probe.next())), "all streams to go on");
  }

  private async victim(
    { isOfLeader }: Fault,
    leaders: Map<string, string | undefined>,
    chance: () => number,
  ): Promise<Node> {
    const leading = isOfLeader ? await this.cluster.servers.leader() : undefined;
    if (leading) return leading;
    const hosts = NODES.filter((node) => this.probes.some(({ name }) => leaders.get(name) === node));
    return hosts[Math.floor(chance() * hosts.length)];
  }

  /** The host of each stream. */
  private async leaders(): Promise<Map<string, string | undefined>> {
    const streams = await this.asking.streams({ signal: this.abandoned.signal });
    return new Map(streams.map(({ name, host }) => [name, host]));
  }

  /** Rejects if it takes too long, or everything ends. */
  private async within<T>(work: Promise<T>, what: string): Promise<T> {
    const { signal } = this.abandoned;
    const timer = new AbortController();
    const late = sleep(RESUME_MS, undefined, { signal: AbortSignal.any([signal, timer.signal]) }).then(() => {
      throw new Error(`${what} took more than ${RESUME_MS / 1000} s`);
    });
    try {
      return await Promise.race([work, late]);
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      timer.abort();
      late.catch(() => {});
    }
  }
}

function shuffled<T>(all: readonly T[], chance: () => number): T[] {
  return all
    .map((each) => ({ each, rank: chance() }))
    .sort((a, b) => a.rank - b.rank)
    .map(({ each }) => each);
}
