/** A stream as its leader has it open: a record that says who leads, a log, snapshots of what its records add up to. As `ClusterHome` goes about it. */
import { HallelujahError } from "../../../host/core/errors.ts";
import { isCount } from "../../../host/store/sealed.ts";
import type { LedEntry } from "../../../host/substrate/directory.ts";
import { Snapshots } from "../../../host/substrate/snapshots.ts";
import { LedLog, type Sent } from "./led-log.ts";
import type { Process } from "./network.ts";
import { LogOfProcess, type Servers, ValuesOfProcess } from "./servers.ts";

const RECORD = "record";
const SHARD = "s";

/** What the records of a stream below a frame add up to: the last number of each producer, and a sum of all. */
export interface State {
  frame: number;
  last: number[];
  sum: number;
}

export function emptyState(): State {
  return { frame: 0, last: [], sum: 0 };
}

/** Adds the next frame up. */
export function apply(state: State, sent: Sent | undefined): void {
  state.frame++;
  if (!sent) return;
  state.last[sent.producer] = sent.sequence;
  state.sum = (Math.imul(state.sum, 31) + sent.producer * 7 + sent.sequence) | 0;
}

/** The names of what a stream keeps with the servers. */
export function namesOf(name: string, { identity }: LedEntry): { log: string; values: string } {
  return { log: `log-${name}-${identity}`, values: `values-${name}-${identity}` };
}

export interface LedStreamParts {
  servers: Servers;
  process: Process;
  host: string;
  name: string;
  entry: LedEntry;
}

export class LedStream {
  readonly entry: LedEntry;
  private readonly log: LedLog;
  private readonly snapshots: Snapshots;
  private readonly state: State;
  /** Numbers of producers that are in the log or on the way there. */
  private readonly taken: number[];
  isSaving = false;
  /** Another host leads it. */
  isOver = false;

  private constructor(entry: LedEntry, log: LedLog, snapshots: Snapshots, state: State) {
    this.entry = entry;
    this.log = log;
    this.snapshots = snapshots;
    this.state = state;
    this.catchUp();
    this.taken = [...state.last];
  }

  /** Rejects with `stream-moved`, or as its parts do. */
  static async open({ servers, process, host, name, entry }: LedStreamParts): Promise<LedStream> {
    const names = namesOf(name, entry);
    const values = new ValuesOfProcess(servers, process, names.values);
    const { epoch } = entry;
    for (;;) {
      const found = await values.get(RECORD);
      const said = found && (JSON.parse(found.bytes.toString()) as { epoch: number });
      if (said && isCount(said.epoch) && said.epoch > epoch)
        throw new HallelujahError("stream-moved", `${name} is led as of epoch ${said.epoch}`);
      try {
        const record = { epoch, host, write: Math.random() };
        await values.put(RECORD, Buffer.from(JSON.stringify(record)), found?.number ?? 0);
        break;
      } catch (error) {
        if ((error as HallelujahError).code !== "revision-conflict") throw error;
      }
    }
    const snapshots = await Snapshots.claim({ values, shard: SHARD }, { epoch, host });
    await snapshots.collect();
    const log = await LedLog.open(new LogOfProcess(servers, process, names.log), epoch, host);
    const meta = snapshots.standing[0]?.meta as State | undefined;
    return new LedStream(entry, log, snapshots, meta ? structuredClone(meta) : emptyState());
  }

  /** What its records add up to so far. */
  get answer(): State {
    this.catchUp();
    return this.state;
  }

  private catchUp(): void {
    for (const sent of this.log.records.slice(this.state.frame)) apply(this.state, sent);
  }

  /** Resolves when a record is kept, once; rejects if it is not the producer's next, or it is not known. */
  async push(sent: Sent): Promise<void> {
    const { producer, sequence } = sent;
    const last = this.taken[producer] ?? 0;
    this.catchUp();
    if (sequence <= (this.state.last[producer] ?? 0)) return;
    if (sequence !== last + 1) throw new HallelujahError("sequence-gap", `${sequence} comes after ${last}`);
    this.taken[producer] = sequence;
    try {
      await this.log.append(sent);
    } catch (error) {
      this.taken[producer] = last;
      if ((error as HallelujahError).code === "stream-moved") this.isOver = true;
      throw error;
    }
  }

  /** Makes a snapshot of what it has. */
  async save(): Promise<void> {
    if (this.isSaving || this.isOver) return;
    this.isSaving = true;
    try {
      this.catchUp();
      const meta = structuredClone(this.state);
      const page = await this.snapshots.blobs.put(Buffer.from(JSON.stringify(meta)));
      await this.snapshots.save(meta.frame, meta, [page]);
    } catch (error) {
      if ((error as HallelujahError).code === "stream-moved") this.isOver = true;
    } finally {
      this.isSaving = false;
    }
  }
}
