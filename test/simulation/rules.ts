/** The rules that no host may break, whatever happens to it; `Broken` says which one was. */
import { join } from "node:path";
import type { Ledger } from "../../host/congregation/ledger.ts";
import type { Stream } from "../../host/hallelu/stream.ts";
import { WAKE_PATIENCE_MS } from "../../host/core/limits.ts";
import type { StreamRecord } from "../../host/hallelu/record.ts";
import { PARTITIONS } from "../../host/hallelu/dispatch.ts";
import type { Claim } from "../../host/congregation/ledger.ts";
import { type Cut, wrongRows } from "./history.ts";
import { recordsIn, type SimulatedJah } from "./jah.ts";
import { numberOf, type SimulatedKernels } from "./kernels.ts";
import type { Row } from "./outputs.ts";
import type { Scenario } from "./scenario.ts";
import { frameSum, giveBack, type State } from "./state.ts";

export class Broken extends Error {}

/** Virtual time within which a shard of a stream gets on that has work and may run, and more for each that shares a CPU, ms. */
const PATIENCE_MS = 5_000;
/**
 * More of it where Jahs are slow, and where each turn ends with a write to a disk that is: state that moves waits for all that
 * was handed out before, and a CPU waits for what is written.
 */
const SLOW_PATIENCE_MS = 10_000;
const TURN_PATIENCE_MS = 3_000;
/** More of it for all shards, as to frames not done before: what was lost is done again first, and the slowest sets the pace. */
const REPLAY_PATIENCE_MS = 60_000;
/** Virtual time after which a claim is met, refused or withdrawn: what waits longest is a stream's turn, ms. */
const CLAIM_PATIENCE_MS = 60_000;
/** Of the time that a query waits, how much its stream must have lacked a CPU or worked, if that was not enough. */
const REFUSAL_SHARE = 0.5;
/** Times within a minute that a stream may begin to add Jahs after it let one go, under nothing but a square wave. */
const GROWTHS_MAX = 4;
/** Time for which a Jah may stay that does not help: its start, its proof, and leaving, which all others slow down, ms. */
const VAIN_MS_MAX = 30_000;

/** A process that runs. */
export interface Process {
  jah: SimulatedJah;
  /** Whose it is. */
  stream: Stream;
  cpu: number;
  claim: Claim;
  since: number;
  /** Whether it will ever call its Hallelu, and whether it has. */
  calls: boolean;
  called: boolean;
  /** Words that are under way to it, if it is one that does not get to them for a while. */
  late: number;
}

/** A stream, its log and its output, and what it should have done. */
export interface Watched {
  stream: Stream;
  log: { next: number };
  output: { rows: Row[] };
  /** The reprocesses that took over. */
  cuts: Cut[];
  /** The last frame that an answer was of. */
  answered: number;
  /** What its shards had applied when one of them last got on, and when that was. */
  progress: { frames: number; at: number };
  /** The lowest frame that was not applied everywhere, when that had never been higher; and when that was. */
  highest: { frame: number; at: number };
  /**
   * Time in which it could not use a CPU, as there was none, or it had to be saved first, or what a Jah was told had not come to it; and that
   * its Jahs worked, ms.
   */
  spent: { lackingMs: number; workingMs: number };
  /** When it began to add Jahs, and whether it has let none go since. */
  growths: number[];
  grows: boolean;
}

export class Rules {
  private readonly scenario: Scenario;
  private readonly kernels: SimulatedKernels;
  private readonly openClaims = new Map<number, { claim: Claim; stream: Stream; at: number }>();

  constructor(scenario: Scenario, kernels: SimulatedKernels) {
    this.scenario = scenario;
    this.kernels = kernels;
  }

  claimed(claim: Claim, stream: Stream, at: number): void {
    this.openClaims.set(claim.jah, { claim, stream, at });
  }

  /** A claim was met or refused, which happens to each once. */
  answered(jah: number): Claim {
    const open = this.openClaims.get(jah);
    if (!open) throw new Broken(`the claim of Jah ${jah} was answered, and was not waiting`);
    this.openClaims.delete(jah);
    return open.claim;
  }

  /** The host was started again: nobody remembers any claim. */
  restarted(): void {
    this.openClaims.clear();
  }

  withdrawn(jah: number): void {
    this.openClaims.delete(jah);
  }

  /** A process starts: each CPU has one at most. */
  started({ cpu, claim }: Process, processes: Iterable<Process>): void {
    const { cpus } = this.scenario;
    let count = 0;
    for (const process of processes) {
      count++;
      if (process.cpu === cpu && process.claim.jah !== claim.jah)
        throw new Broken(`Jahs ${process.claim.jah} and ${claim.jah} have CPU ${cpu}`);
    }
    if (count > cpus || !(cpu >= 0 && cpu < cpus)) throw new Broken(`${count} Jahs on ${cpus} CPUs`);
  }

  /** A Jah was added by a step of scaling. */
  added(watched: Watched, now: number): void {
    const { stream, growths } = watched;
    if (!watched.grows) growths.push(now);
    watched.grows = true;
    while (now - growths[0] > 60_000) growths.shift();
    if (this.scenario.kind === "waves" && growths.length > GROWTHS_MAX)
      throw new Broken(`${stream.name} began to grow ${growths.length} times within a minute: it flaps`);
  }

  /** Now and then. */
  check(now: number, streams: readonly Watched[], processes: readonly Process[]): void {
    const sharing = Math.ceil(streams.length / this.scenario.cpus);
    const slowMs = ["storm", "moves", "crowd"].includes(this.scenario.kind) ? SLOW_PATIENCE_MS : 0;
    const patienceMs = PATIENCE_MS + slowMs + TURN_PATIENCE_MS * sharing;
    // A Jah that never calls keeps its CPU, and maybe its stream's state from another, until it is given up.
    const isBlocked = processes.some(({ calls }) => !calls);
    for (const { stream, log, progress, highest } of streams) {
      const { frame, shards, state, max, error } = stream.info();
      const frames = shards.reduce((sum, shard) => sum + shard.frame, frame);
      if (state === "failed") throw new Broken(`${stream.name} failed: ${error}`);
      const free = frame === log.next || max === 0 || stream.record.paused || isBlocked;
      if (free || frames !== progress.frames) Object.assign(progress, { frames, at: now });
      if (free || frame > highest.frame) Object.assign(highest, { frame, at: now });
      if (now - progress.at > patienceMs || now - highest.at > patienceMs + REPLAY_PATIENCE_MS)
        throw new Broken(`${stream.name} starves: at frame ${frame} of ${log.next} since ${progress.at} ms`);
    }
    for (const { claim, at } of this.openClaims.values())
      if (now - at > CLAIM_PATIENCE_MS * sharing)
        throw new Broken(`the claim of Jah ${claim.jah} of ${claim.stream} is not answered since ${at} ms`);
    if (this.scenario.kind !== "vain") return;
    for (const { claim, since } of processes)
      if (!claim.waits && now - since > VAIN_MS_MAX)
        throw new Broken(`Jah ${claim.jah} of ${claim.stream} does not help, and stays`);
  }

  /** So much time has passed, in which so many CPUs are free. */
  passed(ms: number, streams: Iterable<Watched>, processes: readonly Process[], free: number): void {
    const claims = [...this.openClaims.values()];
    for (const { stream, spent } of streams) {
      const waits = !free && claims.some((each) => each.claim.waits && each.stream === stream);
      const isBlocked = processes.some(
        ({ jah, calls, late, ...of }) =>
          of.stream === stream && (!calls || jah.isSaving || (late > 0 && jah.isIdle)),
      );
      if (stream.record.max === 0 || stream.record.paused || waits || isBlocked) spent.lackingMs += ms;
    }
  }

  /** A query was told that there is no CPU for it, or more to do first than can be done while it waits. */
  refused({ stream, spent }: Watched, before: Watched["spent"]): void {
    const ms = spent.lackingMs - before.lackingMs + spent.workingMs - before.workingMs;
    if (ms < REFUSAL_SHARE * WAKE_PATIENCE_MS)
      throw new Broken(`a query of ${stream.name} gets no answer, which lacked a CPU or worked for ${ms} ms`);
  }

  /** An answer holds each partition once, as of one frame, each of whose frames was applied under the kernel that it belongs to. */
  answer(stream: Stream, frame: number, jahs: Iterable<SimulatedJah>): void {
    const holders = new Uint8Array(PARTITIONS);
    const sum = sumOf(stream, frame);
    for (const jah of jahs) {
      const { id } = jah;
      jah.applied.forEach((next, p) => {
        if (next < 0) return;
        holders[p]++;
        if (next !== frame)
          throw new Broken(
            `an answer of ${stream.name} at ${frame} has partition ${p} of Jah ${id} at ${next}`,
          );
        if (jah.part(p).version !== stream.versions.current.version)
          throw new Broken(
            `an answer of ${stream.name} has partition ${p} of version ${jah.part(p).version}`,
          );
        if (jah.part(p).sum !== sum)
          throw new Broken(`an answer of ${stream.name} has partition ${p} of Jah ${id} by another kernel`);
      });
    }
    const wrong = holders.findIndex((count) => count !== 1);
    if (wrong >= 0)
      throw new Broken(`an answer of ${stream.name} has partition ${wrong} ${holders[wrong]} times`);
  }

  /** All is done and parked: no CPU is lost, every claim is answered, every record is where it belongs, once. */
  async rest(
    ledger: Ledger,
    streams: Iterable<Watched>,
    read: (folder: string) => Promise<State | undefined>,
    registered: Map<string, StreamRecord>,
  ): Promise<void> {
    const { cpus } = this.scenario;
    if (ledger.free !== cpus || ledger.jahs.length)
      throw new Broken(`of ${cpus} CPUs ${ledger.free} are free`);
    for (const { claim } of this.openClaims.values())
      throw new Broken(`the claim of Jah ${claim.jah} of ${claim.stream} was never answered`);
    for (const { stream, log, output, cuts } of streams) {
      const { stored, begin = 0 } = stream.record;
      if (stored.length !== 1) throw new Broken(`${stream.name} is parked in ${stored.length} folders`);
      const state = await read(join(stream.folder, stored[0].folder));
      if (log.next && !state) throw new Broken(`${stream.name} ends without its state`);
      let total = 0;
      for (let frame = begin; frame < log.next; frame++) total += recordsIn(frame, 0, PARTITIONS);
      // Those that were set aside while they were applied were counted while they were mapped.
      let counted = total;
      const { dead } = stream;
      for (const { frame, from, to, stage } of dead.open) {
        const records = recordsIn(frame, from, to);
        total -= records;
        if (stage === "map") counted -= records;
      }
      if (dead.open.length !== registered.get(stream.name)?.dead.length)
        throw new Broken(`${stream.name} has set frames aside that the registry does not know`);
      const sum = sumOf(stream, log.next);
      let held = 0;
      for (let p = 0; state && p < PARTITIONS; p++) {
        const next = state.applied(p);
        held += state.records(p);
        if (next !== log.next)
          throw new Broken(`${stream.name} ends with frame ${next} of ${log.next} in ${p}`);
        if (state.sum(p) !== sum)
          throw new Broken(`${stream.name} ends with frames in ${p} that another kernel applied`);
      }
      if (state) giveBack(state.memory);
      if (held !== total) throw new Broken(`${stream.name} holds ${held} of ${total} records`);
      const silent = new Set(dead.open.flatMap(({ frame, stage }) => (stage === "map" ? [frame] : [])));
      const kernelOf = ({ module }: { module: string }) =>
        numberOf(this.kernels.inFile(stream.folder, module));
      const wrong = wrongRows(output.rows, stream.record, cuts, { end: log.next, silent, kernelOf });
      if (wrong) throw new Broken(`the output of ${stream.name}: ${wrong}`);
      const { records } = stream.info();
      if (records !== counted) throw new Broken(`${stream.name} counted ${records} of ${counted} records`);
    }
  }
}

/** What the frames below `end` add up to in each partition, each under the version of the kernel that it belongs to. */
function sumOf({ versions, record }: Stream, end: number): number {
  let sum = 0;
  for (let frame = record.begin ?? 0; frame < end; ) {
    const { version } = versions.of(frame);
    const later = versions.all.filter(({ from, error }) => from > frame && error === undefined);
    for (const next = Math.min(end, ...later.map(({ from }) => from)); frame < next; frame++)
      sum += frameSum(frame, version);
  }
  return sum;
}
