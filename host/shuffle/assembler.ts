/**
 * Puts the output of each frame together, in frame order: what `each` emitted comes with the mapper's word, what `fold`
 * and `close` emitted from the owners, whose partitions must cover all 256. Pure; each frame comes out once.
 *
 * Order within a frame: emits of `each`, then stage by stage those of the owners in the order of their partitions. So it
 * does not depend on how many owners there are.
 */
import type { OwnerOutput } from "../wire/jah.ts";

const PARTITIONS = 256;

export interface FrameOutput {
  frame: number;
  rows: number;
  bytes: Uint8Array[];
  /** Records that came too late for their window, and what the kernel made of them. */
  late: number;
  lateRows: number;
  lateBytes: Uint8Array[];
}

interface Pending {
  mapped: boolean;
  bytes: Uint8Array | undefined;
  rows: number;
  /** What was told of it, also by those whose state was lost then: others tell the same, but of other partitions together. */
  owners: OwnerOutput[];
}

export class Assembler {
  /** The lowest frame whose output is not complete. */
  next: number;
  private readonly pending = new Map<number, Pending>();
  private readonly ownersEmit: (frame: number) => boolean;
  /** A byte for each partition: 0 where nothing more comes from its owner. */
  private readonly awaited = new Uint8Array(PARTITIONS).fill(1);

  /** `ownersEmit`: whether owners have a word for a frame; else it is complete when it is mapped. */
  constructor(next: number, ownersEmit: (frame: number) => boolean) {
    this.next = next;
    this.ownersEmit = ownersEmit;
  }

  /** What `each` emitted in a frame; a second word for the same frame changes nothing. */
  mapped(frame: number, bytes: Uint8Array | undefined, rows: number): FrameOutput[] {
    if (frame < this.next) return [];
    const pending = this.of(frame);
    if (pending.mapped) return [];
    pending.mapped = true;
    pending.bytes = bytes;
    pending.rows += rows;
    return this.take();
  }

  /** What an owner emitted in a frame; a second word for the same partitions changes nothing. */
  applied(output: OwnerOutput): FrameOutput[] {
    if (output.frame < this.next) return [];
    const pending = this.of(output.frame);
    if (pending.owners.some(({ from, to }) => from === output.from && to === output.to)) return [];
    pending.owners.push(output);
    return this.take();
  }

  /** The output of all frames below `frame` is known to be there. */
  goOn(frame: number): FrameOutput[] {
    if (frame <= this.next) return [];
    this.next = frame;
    for (const each of this.pending.keys()) if (each < frame) this.pending.delete(each);
    return this.take();
  }

  /** All that is known of the frames from `frame` on is forgotten: they come again. */
  rewind(frame: number): void {
    this.next = Math.min(this.next, frame);
    for (const each of this.pending.keys()) if (each >= frame) this.pending.delete(each);
  }

  /** Nothing comes any more from the owner of partitions [from, to): frames are complete without it. */
  abandon(from: number, to: number): FrameOutput[] {
    this.awaited.fill(0, from, to);
    return this.take();
  }

  /** What owners have said that together had all partitions from `at` on, each once; undefined if that is not all yet. */
  private coverOf(owners: OwnerOutput[], at = 0): OwnerOutput[] | undefined {
    if (at === PARTITIONS) return [];
    for (const each of owners) {
      const rest = each.from === at && this.coverOf(owners, each.to);
      if (rest) return [each, ...rest];
    }
    return this.awaited[at] ? undefined : this.coverOf(owners, at + 1);
  }

  private of(frame: number): Pending {
    let pending = this.pending.get(frame);
    if (!pending)
      this.pending.set(frame, (pending = { mapped: false, bytes: undefined, rows: 0, owners: [] }));
    return pending;
  }

  private take(): FrameOutput[] {
    const complete: FrameOutput[] = [];
    for (let pending = this.pending.get(this.next); pending; pending = this.pending.get(this.next)) {
      const owners = this.ownersEmit(this.next) ? this.coverOf(pending.owners) : pending.owners;
      if (!pending.mapped || !owners) break;
      complete.push(join(this.next, { ...pending, owners }));
      this.pending.delete(this.next++);
    }
    return complete;
  }
}

function join(frame: number, { bytes, rows, owners }: Pending): FrameOutput {
  const sorted = owners.toSorted((a, b) => a.from - b.from);
  const sum = (of: (output: OwnerOutput) => number) => sorted.reduce((total, each) => total + of(each), 0);
  return {
    frame,
    rows: rows + sum(({ emittedRows }) => emittedRows),
    bytes: [...(bytes?.length ? [bytes] : []), ...byStage(sorted.map(({ emitted }) => emitted))],
    late: sum(({ late }) => late),
    lateRows: sum(({ lateRows }) => lateRows),
    lateBytes: byStage(sorted.map(({ lateEmitted }) => lateEmitted)),
  };
}

/** What owners emitted, stage by stage. */
function byStage(owners: Uint8Array[][]): Uint8Array[] {
  const stages = Math.max(0, ...owners.map(({ length }) => length));
  const all: Uint8Array[] = [];
  for (let stage = 0; stage < stages; stage++) {
    for (const emitted of owners) if (emitted[stage]?.length) all.push(emitted[stage]);
  }
  return all;
}
