/** How a stream stands: for users (`ps`, `top`, HTTP), and for the Congregation. */
import { join } from "node:path";
import type { KernelDescriptor } from "../compiler/descriptor.ts";
import type { StreamLoad } from "../wire/congregation.ts";
import type { ShardInfo, StreamInfo, StreamState } from "../wire/http.ts";
import type { Checkpoints } from "./checkpoints.ts";
import type { DeadLetters } from "./dead-letters.ts";
import type { Dispatch } from "./dispatch.ts";
import type { Jah } from "./jahs.ts";
import type { Progress } from "./progress.ts";
import type { Rates } from "./rates.ts";
import type { StreamRecord } from "./record.ts";
import { type UnavailableShard, wayOut } from "./unavailable.ts";

/** A stream is busy for so long after it had something to do, ms. */
const BUSY_MS = 1000;

/** A stream, as far as it is reported. */
export interface Reported {
  readonly record: StreamRecord;
  readonly kernel: KernelDescriptor;
  readonly dispatch: Dispatch;
  readonly jahs: ReadonlyMap<number, Jah>;
  readonly shards: { readonly unavailable: UnavailableShard[] };
  readonly folder: string;
  readonly rates: Rates;
  readonly progress: Pick<Progress, "counts">;
  readonly dead: DeadLetters;
  readonly checkpoints: Pick<Checkpoints, "made">;
  readonly outputs: { readonly next: number };
  readonly lateOutputs: { readonly next: number };
  readonly shown: StreamState;
  /** Why it failed. */
  readonly error: string | undefined;
  /** Whether its user and its state let it work. */
  readonly mayRun: boolean;
  /** Whether frames are logged that are not applied everywhere. */
  readonly isBehind: boolean;
  /** Whether it has to take in frames by itself. */
  readonly hasWork: boolean;
  readonly backlogBytes: number;
  /** The lowest frame that is not applied everywhere, and behind the last that holds something. */
  readonly lowest: number;
  readonly frames: { readonly end: number; readonly decodedCount: number };
  /** When it last had something to do, ms. */
  readonly lastWorkAt: number;
}

/** What only leads back to where an unproven kernel was is not to be waited for. */
function backlogOf(stream: Reported): number {
  return stream.hasWork ? stream.backlogBytes : 0;
}

/** What the ledger goes by. */
export function loadOf(stream: Reported, now: number): StreamLoad {
  const { record, dispatch } = stream;
  return {
    stream: record.name,
    // What may not run needs no CPU.
    min: stream.mayRun ? Math.min(record.min, record.max) : 0,
    max: record.max,
    busy: stream.hasWork || now - stream.lastWorkAt < BUSY_MS,
    backlogSeconds: stream.rates.secondsFor(backlogOf(stream)),
    jahs: [...stream.jahs.values()].map((jah) => ({
      jah: jah.id,
      kind: jah.kind,
      idleMs: jah.state !== "working" || dispatch.heldBy(jah.id).frames ? 0 : now - jah.busyAt,
    })),
  };
}

/** What is said of a shard that begins at partition `from`, if it is unavailable. */
function damageOf({ record, shards, folder }: Reported, from: number): Pick<ShardInfo, "unavailable"> {
  const found = shards.unavailable.find((shard) => shard.from <= from && from < shard.to);
  if (!found) return {};
  const { reason } = found;
  return { unavailable: { folder: join(folder, found.folder), reason, next: wayOut(record.name) } };
}

/** What users see. */
export function infoOf(stream: Reported): StreamInfo {
  const { record, dispatch, jahs, rates, error } = stream;
  const backlogBytes = backlogOf(stream);
  const seconds = rates.secondsFor(backlogBytes);
  const counts = stream.progress.counts.total;
  const frames = Math.max(stream.lowest, stream.frames.end);
  return {
    name: record.name,
    state: stream.shown,
    version: record.version,
    kernel: record.file,
    tables: stream.kernel.tables.map(({ name }) => name),
    min: record.min,
    max: record.max,
    retain: record.retain,
    jahs: [...jahs.values()].filter(({ state }) => state !== "claimed").length,
    shards: dispatch.routing.targets.map(({ from, to, jah }) => ({
      from,
      to,
      jah: jahs.has(jah) ? jah : null,
      frame: jahs.has(jah) ? dispatch.appliedBy(jah) : record.frame,
      ...damageOf(stream, from),
    })),
    backlog: {
      bytes: backlogBytes,
      records: rates.recordsIn(backlogBytes),
      seconds: Number.isFinite(seconds) ? seconds : null,
    },
    records: counts.records,
    badRecords: counts.bad,
    lateRecords: counts.late,
    recordsPerSecond: rates.recordsPerSecond,
    bytesPerSecond: rates.bytesPerSecond,
    deadLetters: stream.dead.count,
    outputs: stream.outputs.next,
    checkpoints: { frame: record.frame, ...stream.checkpoints.made },
    lateOutputs: stream.lateOutputs.next,
    ...(record.source.length ? { inputsRead: record.read ?? 0 } : {}),
    frame: stream.isBehind && !stream.hasWork ? frames : stream.lowest,
    frames,
    ...(record.shares ? { decodedFrames: stream.frames.decodedCount } : {}),
    ...(error === undefined ? {} : { error }),
  };
}
