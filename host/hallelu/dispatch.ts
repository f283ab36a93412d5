/**
 * Which Jah maps which frame of a stream, and under which routing. A state machine without I/O: it is told what was
 * logged, mapped, applied and lost, and answers what to hand out (driven by a stream's parts, and by the simulator).
 *
 * A *routing* says which Jah owns which partitions; it never changes once made. A *lane* is a range of frames that are
 * handed out under one routing. A stream has one open lane; a move of partitions closes it at frame F and opens the
 * next one from F. A shard that was lost has a lane of its own, from the frame of its image to where the open lane
 * begins, whose routing names no one else: the log is replayed for that shard alone.
 *
 * Any Jah may map any frame, twice if need be: owners take each frame once, in order. A frame is done with when every
 * owner of its lane that still lives has applied it, as its entries may be lost with the Jah that mapped it.
 */
import {
  HELD_BYTES,
  HELD_FRAMES,
  LIVE_RUN_BYTES,
  LIVE_RUN_FRAMES,
  LIVE_WINDOW_FRAMES,
} from "../core/limits.ts";

export const PARTITIONS = 256;
/** The owner of partitions whose state cannot be had: it gets nothing, and nobody waits for it. */
export const UNAVAILABLE = -2;

/** The owner of partitions [from, to). */
export interface Target {
  jah: number;
  from: number;
  to: number;
}

/** State that changes its owner when both have applied every frame below the routing's first. */
export interface Move {
  from: number;
  to: number;
  donor: number;
  receiver: number;
}

export interface Routing {
  id: number;
  /** First frame of its lane. */
  start: number;
  targets: readonly Target[];
  moves: readonly Move[];
}

/** Consecutive frames for one Jah to map. */
export interface Handout {
  jah: number;
  routing: number;
  frames: number[];
}

interface Lane {
  routing: Routing;
  /** Behind its last frame; Infinity while it is open. */
  end: number;
  /** The next frame to hand out. */
  cursor: number;
  /** Frames to hand out again, ascending. */
  again: number[];
  /** Who has, or had, which frame; until every owner applied it. */
  mappers: Map<number, number>;
}

interface Mapper {
  /** Frames that it was given and has not mapped: lane and frame. */
  held: Map<string, { lane: Lane; frame: number; bytes: number }>;
  bytes: number;
  /** Whether it gets no more frames. */
  leaving: boolean;
}

export class Dispatch {
  /** Frames logged: the number of the next one. */
  head = 0;
  /** In the order of their first frames; the open one is the last. */
  private lanes: Lane[];
  private readonly mappers = new Map<number, Mapper>();
  /** The lowest frame that each owner has not applied. */
  private readonly applied = new Map<number, number>();
  private readonly bytesOf: (frame: number) => number;
  private nextRouting = 1;
  /** Frames that were mapped at least once: all below `seenBelow`, and these. */
  private seenBelow: number;
  private readonly seen = new Set<number>();
  /** Of each partition, the frames below this were applied once, though the state that held them may be lost since. */
  private readonly everApplied: Float64Array;
  /** Frames that nobody is given for now. */
  private readonly withheld = new Set<number>();
  /** Frames that came back unmapped while others had them still: nobody is given them until those are back, too. */
  private readonly awaited = new Set<number>();

  /** `targets` own the state as of frame `start`. `bytesOf` tells a logged frame's size. */
  constructor(targets: Target[], start: number, bytesOf: (frame: number) => number) {
    this.bytesOf = bytesOf;
    this.head = start;
    this.seenBelow = start;
    this.everApplied = new Float64Array(PARTITIONS).fill(start);
    this.lanes = [];
    this.openLane(start, targets, []);
    for (const { jah } of targets) this.applied.set(jah, start);
  }

  private get open(): Lane {
    return this.lanes.at(-1)!;
  }

  /** The routing of frames that are handed out from now on. */
  get routing(): Routing {
    return this.open.routing;
  }

  /** Every routing that frames may still come under. */
  get routings(): Routing[] {
    return this.lanes.map((lane) => lane.routing);
  }

  /** The lowest frame that is not applied by every owner: those of lanes that are closed and not done with count, too. */
  get lowest(): number {
    let lowest = Infinity;
    for (const { jah } of this.routing.targets)
      if (jah !== UNAVAILABLE) lowest = Math.min(lowest, this.applied.get(jah) ?? 0);
    for (const lane of this.lanes) if (lane !== this.open) lowest = Math.min(lowest, this.lowestOf(lane));
    return lowest;
  }

  /** The frame that nobody was given, nor has applied: from there on another kernel may take over. */
  get fresh(): number {
    return Math.max(this.open.cursor, ...this.applied.values());
  }

  /** The frames from `frame` on are mapped and applied as if for the first time. */
  forgetFrom(frame: number): void {
    this.everApplied.forEach((next, p) => (this.everApplied[p] = Math.min(next, frame)));
    this.seenBelow = Math.min(this.seenBelow, frame);
    for (const each of this.seen) if (each >= frame) this.seen.delete(each);
  }

  appliedBy(jah: number): number {
    return this.applied.get(jah) ?? 0;
  }

  /** Frames below `head` are in the log. */
  logged(head: number): void {
    this.head = Math.max(this.head, head);
  }

  /** A Jah is ready to map. */
  joined(jah: number): void {
    if (!this.mappers.has(jah)) this.mappers.set(jah, { held: new Map(), bytes: 0, leaving: false });
  }

  /** The Jah gets no more frames; `isDone` says when it may go. */
  leaving(jah: number): void {
    const mapper = this.mappers.get(jah);
    if (mapper) mapper.leaving = true;
  }

  /**
   * Whether nothing depends on the Jah any more: it owns nothing, holds no frame, and what it mapped is applied. It may
   * end then without a loss.
   */
  isDone(jah: number): boolean {
    if (this.mappers.get(jah)?.held.size) return false;
    return !this.lanes.some(
      (lane) =>
        this.owners(lane).some((target) => target.jah === jah) ||
        [...lane.mappers.values()].some((mapper) => mapper === jah),
    );
  }

  /** Frames and bytes that a Jah holds. */
  heldBy(jah: number): { frames: number; bytes: number } {
    const mapper = this.mappers.get(jah);
    return { frames: mapper?.held.size ?? 0, bytes: mapper?.bytes ?? 0 };
  }

  /** A frame was mapped. Whether that is the first time: not if it is replayed, or its Jah was lost after it. */
  mapped(jah: number, routing: number, frame: number): boolean {
    const mapper = this.mappers.get(jah);
    const key = keyOf(routing, frame);
    if (mapper) this.drop(mapper, key);
    if (frame < this.seenBelow || this.seen.has(frame)) return false;
    this.seen.add(frame);
    while (this.seen.delete(this.seenBelow)) this.seenBelow++;
    return true;
  }

  /** A frame has to be mapped again: by its Jah's word it came out wrong. */
  again(routing: number, frame: number): void {
    const lane = this.lanes.find((candidate) => candidate.routing.id === routing);
    if (!lane) return;
    const mapper = this.mappers.get(lane.mappers.get(frame) ?? -1);
    if (mapper) this.drop(mapper, keyOf(routing, frame));
    lane.mappers.delete(frame);
    insert(lane.again, frame);
  }

  private drop(mapper: Mapper, key: string): void {
    mapper.bytes -= mapper.held.get(key)?.bytes ?? 0;
    mapper.held.delete(key);
  }

  /** Nobody is given the frame, under any routing, until `release`: what it counts for is being decided. */
  withhold(frame: number): void {
    this.withheld.add(frame);
  }

  release(frame: number): void {
    this.withheld.delete(frame);
  }

  /** Nobody is given the frame as long as somebody has it. */
  awaitOthers(frame: number): void {
    this.awaited.add(frame);
  }

  private isWithheld(frame: number): boolean {
    if (this.awaited.has(frame) && !this.isOut(frame)) this.awaited.delete(frame);
    return this.withheld.has(frame) || this.awaited.has(frame);
  }

  /** Whether a frame was mapped by now, so that entries of it may have been applied, or may yet be. */
  wasMapped(frame: number): boolean {
    const seen = frame < this.seenBelow || this.seen.has(frame);
    return seen || this.everApplied.some((next) => next > frame);
  }

  /** Whether somebody has been given a frame and has not given it back; Jah `lost` does not count. */
  isOut(frame: number, lost?: number): boolean {
    return this.lanes.some(({ mappers }) => mappers.has(frame) && mappers.get(frame) !== lost);
  }

  /** The partitions in which a Jah applies a frame. */
  partitionsOf(jah: number, frame: number): Target | undefined {
    const lanes = this.lanes.filter(({ routing, end }) => routing.start <= frame && frame < end);
    return lanes.flatMap(({ routing }) => routing.targets).find((target) => target.jah === jah);
  }

  /** Whether every partition has had the frames below this once, though the state that held them may be lost since. */
  wasApplied(frame: number): boolean {
    return this.everApplied.every((next) => next >= frame);
  }

  /** Whether a partition has had a frame once. */
  hadFrame(frame: number, partition: number): boolean {
    return this.everApplied[partition] > frame;
  }

  /** An owner has applied every frame below `next`. */
  appliedUpTo(jah: number, next: number): void {
    const before = this.applied.get(jah);
    if (before === undefined || next <= before) return;
    this.applied.set(jah, next);
    for (const { routing, end } of this.lanes)
      for (const target of routing.targets)
        if (target.jah === jah && next > routing.start) this.had(target, Math.min(next, end));
    this.tidy();
  }

  /** The frames below `next` were applied in these partitions. */
  private had({ from, to }: Target, next: number): void {
    for (let p = from; p < to; p++) if (this.everApplied[p] < next) this.everApplied[p] = next;
  }

  /**
   * The partitions change hands at the frame that is handed out next, or the first that no party has, but not below `least`: what comes of it is answered, the new routing. A receiver that
   * is new owns nothing yet. The donor must not be party to a move that is under way.
   */
  move(moves: Move[], least = 0): Routing {
    let targets = [...this.routing.targets];
    for (const { from, to, donor, receiver } of moves) {
      targets = targets.flatMap((target) =>
        target.jah === donor
          ? [
              { jah: donor, from: target.from, to: Math.min(target.to, from) },
              { jah: donor, from: Math.max(target.from, to), to: target.to },
            ].filter((rest) => rest.from < rest.to)
          : [target],
      );
      const own = targets.find((target) => target.jah === receiver);
      if (own && own.to !== from && own.from !== to) throw new TypeError("a shard is one range");
      targets = targets.filter((target) => target !== own);
      targets.push({
        jah: receiver,
        from: Math.min(from, own?.from ?? from),
        to: Math.max(to, own?.to ?? to),
      });
    }
    return this.cut(targets, moves, least);
  }

  /**
   * A Jah is gone. Its frames are handed out again; the partitions that it owned are answered, and have to be given to
   * another by `recover`.
   */
  lost(jah: number): Target[] {
    this.mappers.delete(jah);
    this.applied.delete(jah);
    const owned = this.routing.targets.filter((target) => target.jah === jah);
    for (const lane of this.lanes) {
      for (const [frame, mapper] of lane.mappers) {
        if (mapper !== jah) continue;
        lane.mappers.delete(frame);
        insert(lane.again, frame);
      }
    }
    this.tidy();
    return owned;
  }

  /**
   * Another Jah takes partitions that were lost, all or some of those of one or more owners; it has their state as of frame
   * `start`. The frames from there to the open lane's are replayed for it alone.
   */
  recover({ jah, from, to }: Target, start: number): void {
    const { start: boundary } = this.give({ jah, from, to });
    this.applied.set(jah, start);
    this.had({ jah, from, to }, start);
    if (start < boundary) {
      const routing = { id: this.nextRouting++, start, targets: [{ jah, from, to }], moves: [] };
      this.lanes.unshift(newLane(routing, boundary));
    }
    this.tidy();
  }

  /** The state of partitions that were lost cannot be had: the stream goes on without them. */
  abandon(from: number, to: number): void {
    this.give({ jah: UNAVAILABLE, from, to });
  }

  /** Partitions have another owner from the next frame on. */
  private give({ jah, from, to }: Target): Routing {
    const rest = this.routing.targets.flatMap((target) =>
      [
        { ...target, to: Math.min(target.to, from) },
        { ...target, from: Math.max(target.from, to) },
      ].filter((part) => part.from < part.to),
    );
    return this.cut([...rest, { jah, from, to }], []);
  }

  /**
   * What is to be handed out now; the frames count as held from here on. Without `fresh` only what is needed to finish what
   * was begun: frames that come again, and those up to a move of partitions.
   */
  handOut(fresh = true): Handout[] {
    const handouts: Handout[] = [];
    for (const lane of this.lanes) {
      if (!this.isUp(lane)) continue;
      // What every owner has was applied before this process.
      const done = Math.min(...this.owners(lane).map(({ jah }) => this.applied.get(jah)!));
      lane.cursor = Math.max(lane.cursor, Math.min(done, lane.end));
      const lowest = this.lowestOf(lane);
      for (let jah = this.freest(lane); jah !== undefined; jah = this.freest(lane)) {
        const run = this.takeRun(lane, lowest, fresh || lane !== this.open);
        if (!run.length) break;
        this.hold(jah, lane, run);
        handouts.push({ jah, routing: lane.routing.id, frames: run });
      }
    }
    return handouts;
  }

  private takeRun(lane: Lane, lowest: number, fresh: boolean): number[] {
    const run: number[] = [];
    let bytes = 0;
    const end = Math.min(lane.end, this.head, lowest + LIVE_WINDOW_FRAMES * Math.max(1, this.mappers.size));
    while (run.length < LIVE_RUN_FRAMES && bytes < LIVE_RUN_BYTES) {
      const again = lane.again.findIndex((each) => !this.isWithheld(each));
      const frame = again < 0 ? lane.cursor : lane.again[again];
      if (frame >= end || (!fresh && again < 0)) break;
      if (again < 0) lane.cursor++;
      else lane.again.splice(again, 1);
      if (this.isWithheld(frame)) {
        insert(lane.again, frame);
        continue;
      }
      run.push(frame);
      bytes += this.bytesOf(frame);
    }
    return run;
  }

  private hold(jah: number, lane: Lane, frames: number[]): void {
    const mapper = this.mappers.get(jah)!;
    for (const frame of frames) {
      const bytes = this.bytesOf(frame);
      lane.mappers.set(frame, jah);
      mapper.held.set(keyOf(lane.routing.id, frame), { lane, frame, bytes });
      mapper.bytes += bytes;
    }
  }

  /** The Jah with the least to do, an owner of the lane before others; undefined if all have enough. */
  private freest(lane: Lane): number | undefined {
    let best: number | undefined;
    let least = Infinity;
    for (const [jah, { held, bytes, leaving }] of this.mappers) {
      if (leaving || held.size >= HELD_FRAMES || bytes >= HELD_BYTES) continue;
      const load = bytes + (lane.routing.targets.some((target) => target.jah === jah) ? 0 : 1);
      if (load < least) {
        least = load;
        best = jah;
      }
    }
    return best;
  }

  private cut(targets: Target[], moves: readonly Move[], least = 0): Routing {
    const lane = this.open;
    // State that was read back may be ahead of all that was handed out since: it changes hands where it is, and no frame comes again.
    const parties = moves.flatMap(({ donor, receiver }) => [donor, receiver]);
    const start = Math.max(lane.cursor, least, ...parties.map((jah) => this.applied.get(jah) ?? 0));
    lane.end = start;
    for (const { receiver } of moves) if (!this.applied.has(receiver)) this.applied.set(receiver, start);
    // A lane in which nothing was handed out has nobody to finish it; its moves happen at the same frame all the same.
    const unused = lane.routing.start === start && !lane.again.length;
    if (unused) this.lanes.pop();
    const lives = (jah: number) => this.applied.has(jah);
    const before = unused
      ? lane.routing.moves.filter(({ donor, receiver }) => lives(donor) && lives(receiver))
      : [];
    this.openLane(start, targets, [...before, ...moves]);
    this.tidy();
    return this.routing;
  }

  private openLane(start: number, targets: Target[], moves: readonly Move[]): void {
    const sorted = targets.toSorted((a, b) => a.from - b.from);
    let at = 0;
    for (const { from, to } of sorted) {
      if (from !== at) throw new TypeError(`partition ${at} has no owner, or two`);
      at = to;
    }
    if (at !== PARTITIONS) throw new TypeError(`partition ${at} has no owner`);
    this.lanes.push(newLane({ id: this.nextRouting++, start, targets: sorted, moves }, Infinity));
  }

  /** Owners of a lane that live, or are to come. */
  private owners(lane: Lane): Target[] {
    return lane.routing.targets.filter(({ jah }) => this.applied.has(jah));
  }

  /** Whether all owners that have not been lost are there to receive. */
  private isUp(lane: Lane): boolean {
    return (
      this.owners(lane).every(({ jah }) => this.mappers.has(jah)) &&
      (lane !== this.open ||
        lane.routing.targets.every(({ jah }) => jah === UNAVAILABLE || this.applied.has(jah)))
    );
  }

  private lowestOf(lane: Lane): number {
    let lowest = lane.cursor;
    for (const { jah } of lane.routing.targets) lowest = Math.min(lowest, this.applied.get(jah) ?? Infinity);
    return Math.max(lane.routing.start, lowest);
  }

  /** Forgets what every owner has applied. */
  private tidy(): void {
    this.lanes = this.lanes.filter((lane) => {
      const owners = this.owners(lane);
      const lowest = owners.length ? this.lowestOf(lane) : lane.end;
      for (const frame of lane.mappers.keys()) {
        if (frame < lowest) lane.mappers.delete(frame);
      }
      lane.again = lane.again.filter((frame) => frame >= lowest);
      const over = lane.end !== Infinity && lowest >= lane.end;
      if (over) this.dropHeld(lane);
      return !over;
    });
  }

  /** Nobody waits for these frames; whoever still maps them does no harm. */
  private dropHeld(lane: Lane): void {
    for (const mapper of this.mappers.values()) {
      for (const [key, held] of mapper.held) {
        if (held.lane === lane) this.drop(mapper, key);
      }
    }
  }
}

function newLane(routing: Routing, end: number): Lane {
  return { routing, end, cursor: routing.start, again: [], mappers: new Map() };
}

function keyOf(routing: number, frame: number): string {
  return `${routing}/${frame}`;
}

/** Into an ascending list, once. */
function insert(list: number[], frame: number): void {
  let at = list.length;
  while (at > 0 && list[at - 1] > frame) at--;
  if (list[at - 1] !== frame) list.splice(at, 0, frame);
}
