/** What goes wrong in the Jahs of one stream, frame by frame: kernels that stop or never return, state that cannot be read. */
import { readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { KernelPlaces } from "../compiler/places.ts";
import type { Stuck } from "../core/watchdog.ts";
import { isCount } from "../store/sealed.ts";
import { MAPPING, VISITING } from "../wire/live.ts";
import type { DeadBodies } from "./dead-bodies.ts";
import { type DeadLetters, rangesOf, type Stage } from "./dead-letters.ts";
import { PARTITIONS } from "./dispatch.ts";
import type { Jah } from "./jahs.ts";
import type { StoredShard, StreamRecord } from "./record.ts";
import type { Shards } from "./shards.ts";

/** What a Jah says of a frame that stopped the kernel. */
interface Stopped {
  message: string;
  /** Empty if the kernel did not throw. */
  stack: string;
}

export interface FailuresParts {
  folder: string;
  /** Where in its source a kernel stopped that a frame belongs to. */
  placesOf: (frame: number) => KernelPlaces;
  /** Whether it is rolled back instead. */
  rollBack: (frame: number, message: string) => boolean;
  frameTimeoutMs: number;
  dead: DeadLetters;
  bodies: DeadBodies;
  shards: Shards;
  /** Stops the stream for good. */
  fail: (message: string) => void;
  note: (level: "error", message: string, more?: object) => void;
}

export class Failures {
  private readonly record: StreamRecord;
  private readonly parts: FailuresParts;

  constructor(record: StreamRecord, parts: FailuresParts) {
    this.record = record;
    this.parts = parts;
  }

  /** A frame stopped the kernel while it was mapped; `lost` if its Jah ended with that. */
  mapping(frame: number, failure: Stopped, lost?: Jah): void {
    const { dispatch } = this.parts.shards;
    // Another copy says the same, or goes well.
    if (dispatch.isOut(frame, lost?.id)) return dispatch.awaitOthers(frame);
    const mapped = dispatch.wasMapped(frame);
    this.trapped(frame, "map", { from: 0, to: PARTITIONS }, () => mapped, failure);
  }

  /** A frame stopped the kernel while a Jah applied it. */
  applying(jah: Jah, frame: number, failure: Stopped): void {
    const { dispatch } = this.parts.shards;
    const own = dispatch.partitionsOf(jah.id, frame);
    if (own) this.trapped(frame, "apply", own, (p) => dispatch.hadFrame(frame, p), failure);
  }

  /**
   * A frame stopped the kernel in partitions [from, to), of which it may have gone well in some before. The first time it is tried again,
   * the second time set aside, for all others; a strict stream stops.
   */
  private trapped(
    frame: number,
    stage: Stage,
    { from, to }: { from: number; to: number },
    wentWell: (partition: number) => boolean,
    failure: Stopped,
  ): void {
    const { dead, bodies, shards, fail, placesOf, rollBack } = this.parts;
    const place = placesOf(frame).of(failure.stack);
    const message = place ? `${failure.message} ${place}` : failure.message;
    if (rollBack(frame, message)) return;
    const open = rangesOf(from, to, (p) => !dead.isDecided({ frame, stage }, p));
    if (!open.length) return;
    const aside = open.flatMap(([start, end]) => rangesOf(start, end, (p) => !wentWell(p)));
    const verdict = dead.failed({ frame, stage }, from, !aside.length);
    if (verdict === "again") return;
    if (verdict === "hopeless")
      return fail(`frame ${frame} went well before, and now stops its kernel: ${message}`);
    if (this.record.strict) return fail(`frame ${frame} stops its kernel, and it is strict: ${message}`);
    shards.dispatch.withhold(frame);
    for (const range of aside) bodies.setAside({ frame, from: range[0], to: range[1], stage, message });
  }

  /** A Jah that was in one frame for too long has said so, and was killed; a sentence if that is how it ended. */
  stuckIn(jah: Jah): string | undefined {
    const path = this.stuckFile(jah);
    const stuck = readStuck(path);
    if (!stuck) return undefined;
    rmSync(path, { force: true });
    const seconds = this.parts.frameTimeoutMs / 1000;
    const failure = { message: `the kernel did not return within ${seconds} s`, stack: "" };
    if (stuck.kind === VISITING) {
      jah.stuckVisit = stuck.work;
      return `the kernel of a visit did not return in time, and Jah ${jah.id} was ended with it`;
    }
    if (stuck.kind === MAPPING) this.mapping(stuck.work, failure, jah);
    else this.applying(jah, stuck.work, failure);
    return `Jah ${jah.id} was in frame ${stuck.work} for more than ${seconds} s`;
  }

  /** Where a Jah says so. */
  stuckFile(jah: Jah): string {
    return join(this.parts.folder, `stuck-${jah.id}`);
  }

  /** The state of a shard cannot be read from its folder; it is made anew from the log, which begins at frame 0. */
  setStoreAside(stored: StoredShard, message: string): void {
    const path = join(this.parts.folder, stored.folder);
    try {
      renameSync(path, `${path}.damaged-${Date.now()}`);
    } catch {
      // It may be gone, which comes to the same.
    }
    stored.start = 0;
    this.parts.note("error", `${message}; the state is made anew from the log`);
  }
}

/** Undefined if the file is not there, or was not written to its end. */
function readStuck(path: string): Stuck | undefined {
  try {
    const { work, kind } = JSON.parse(readFileSync(path, "utf8")) as Partial<Stuck>;
    return isCount(work) && isCount(kind) && kind <= VISITING ? { work, kind } : undefined;
  } catch {
    return undefined;
  }
}
