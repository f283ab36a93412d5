/**
 * The frames of one stream: what comes is logged, and what is known of each frame beside its bytes is kept, so that a Jah can
 * be told what to map.
 */
import type { KernelDescriptor } from "../compiler/descriptor.ts";
import { parseRetain } from "../core/retain.ts";
import { type StreamLog, VOID_KIND } from "../store/stream-log.ts";
import { damagedError } from "../store/segments.ts";
import { trimmableBelow } from "../store/retention.ts";
import { NO_CLOCK, NO_SOURCE } from "../wire/batch.ts";
import type { FrameDone } from "../wire/jah.ts";
import type { LiveTask, Mapped } from "../wire/live.ts";
import { Chains } from "./chains.ts";
import type { DeadLetters } from "./dead-letters.ts";
import type { DecodedFrames } from "./decoded.ts";
import {
  countsFor,
  EventTime,
  PUSHES,
  type SavedClocks,
  type TimeHead,
  type TimeReader,
} from "./event-time.ts";
import type { PushBody } from "./host.ts";
import { Intake, type IntakeFrame } from "./intake.ts";
import { Rates } from "./rates.ts";
import type { StreamRecord } from "./record.ts";
import type { Tally } from "./tally.ts";
import { misfitOf, Shapes, type StreamSource } from "./shapes.ts";

/** Kind of a log entry without records, whose head says how event time passes (event-time.ts); no source has this number. */
const TIME_KIND = 0xffff;

export interface FramesParts {
  log: StreamLog;
  tally: Tally;
  /** Whose log this is, if it is that of another stream: nothing is logged here then, unless it takes that one's place (`inherit`). */
  owner?: Frames;
  /** The kernel that frames are given to now; event time is the same for all of its versions. */
  kernel: () => KernelDescriptor;
  /** The one that a frame belongs to. */
  kernelOf: (frame: number) => KernelDescriptor;
  dead: DeadLetters;
  /** Writes the record to the registry, or rejects. */
  save: () => Promise<void>;
  /** Jahs have to know of a source. */
  onSource: (source: number) => void;
  /** Frames of a source that another stream takes in are passed over, as the kernel cannot read them. */
  onMisfit: (why: string) => void;
  /** More frames may be handed out. */
  onLogged: () => void;
  /** What is decoded of this log for those that share it; nothing, if it is left out. */
  decoded?: DecodedFrames;
  /** The next frame that is handed out; undefined while the stream is stopped. Left out if what others decode is never of use. */
  at?: () => number | undefined;
}

export class Frames {
  shapes: Shapes;
  readonly time: EventTime;
  /** What comes in. */
  readonly rate = new Rates();
  private readonly record: StreamRecord;
  private readonly parts: FramesParts;
  private readonly log: StreamLog;
  private intake: Intake;
  private readonly chains = new Chains();
  /** References of frames that lie in files: their index there. */
  private readonly references = new Map<number, number>();
  /** What the frames without records say, by number. */
  private readonly timeFrames = new Map<number, TimeHead>();
  /** The lowest frame of which all that is known is kept; what was logged since this process began is. */
  private recalledFrom: number;
  /**
   * The frames below this are logged, and what is to be known of them is. The log may be further: what was logged at once is heard of one
   * after the other.
   */
  private heardOf: number;
  private sourcesUnsaved = false;
  /** Whose log this is, if it is that of another stream. */
  private owner: Frames | undefined;
  /** Those that log in this one's place, since it was replaced. */
  private heir: Frames | undefined;
  /** Those of streams that share this log. */
  private sharers = new Set<Frames>();
  /** The log is needed from here on; nothing is known of that before a checkpoint. */
  private bound = 0;
  private lacking = false;
  /** How many want that the log is not trimmed for now. */
  private holds = { count: 0 };
  /** Frames whose records a Jah of another stream had decoded. */
  decodedCount = 0;
  /** Whether a frame that says how time passes is being logged. */
  private passing = false;
  /** What is decoded of this log for those that share it, if it is its own. */
  private decoded: DecodedFrames | undefined;

  constructor(record: StreamRecord, parts: FramesParts) {
    this.record = record;
    this.parts = parts;
    this.log = parts.log;
    this.recalledFrom = parts.log.next;
    this.heardOf = parts.log.next;
    this.time = new EventTime(record.clocks ?? parts.owner?.time.seen);
    this.shapes = this.shapesNow();
    this.owner = parts.owner;
    this.owner?.sharers.add(this);
    this.decoded = parts.decoded;
    this.intake = new Intake((frames) => this.append(frames), parts.tally);
  }

  private shapesNow(): Shapes {
    return new Shapes(this.record.sources, this.parts.kernel(), (source) => {
      this.sourcesUnsaved = true;
      this.parts.onSource(source);
      for (const sharer of this.sharers) sharer.sourceCame(source);
    });
  }

  /**
   * Takes the place of those whose log it has shared: what comes from now on is logged by this, and who shares the log, or holds it,
   * does so with this. What is being logged meanwhile is heard of here.
   */
  inherit(): void {
    const before = this.owner;
    if (!before) throw new TypeError("there is nothing to inherit");
    this.owner = undefined;
    delete this.parts.owner;
    before.sharers.delete(this);
    this.sharers = before.sharers;
    before.sharers = new Set();
    for (const sharer of this.sharers) sharer.owner = this;
    this.decoded = before.decoded;
    this.decoded?.giveUp(); // its Jahs end
    this.decoded?.left(this);
    this.holds = before.holds;
    this.time.files = Math.max(this.time.files, before.time.files);
    this.sourcesUnsaved ||= before.sourcesUnsaved;
    this.shapes = this.shapesNow();
    this.intake = before.intake;
    this.intake.leadTo((frames) => this.append(frames));
    before.heir = this;
  }

  /** The first frame that the log has. */
  get first(): number {
    return this.log.first;
  }

  /** The number of the next frame. */
  get next(): number {
    return this.log.next;
  }

  /** Behind the last frame that holds something. */
  get end(): number {
    return this.log.end;
  }

  /** The frames below this may be handed out: those from there on are about to be decoded by the stream whose log it is, or heard of. */
  get ready(): number {
    return Math.min(this.heardOf, this.owner?.decoded?.awaitedBy(this) ?? Infinity);
  }

  /** The next frame that is handed out; undefined while the stream is stopped. */
  get at(): number | undefined {
    return this.parts.at?.();
  }

  kernelOf(frame: number): KernelDescriptor {
    return this.parts.kernelOf(frame);
  }

  // --- what is logged --------------------------------------------------------------------------------------------

  /** Resolves with the frame of the last record, when the records are in the log. */
  async push(body: PushBody): Promise<number> {
    const frame = body.bytes ? await this.pushRecords(body) : this.next - 1;
    return body.end ? this.endPushes() : frame;
  }

  private async pushRecords(body: PushBody): Promise<number> {
    const records = this.shapes.read(body);
    return records.chunks.length ? this.intake.take(records) : this.next - 1;
  }

  /**
   * Logs the records of a frame that was set aside again, as a frame that counts for the partitions `only`, or for all; once, however
   * often this is asked. Resolves with its number.
   */
  async retry(
    frame: number,
    source: number,
    only: [number, number][] | undefined,
    body: Buffer,
  ): Promise<number> {
    const name = `dead letter ${frame}`;
    const known = this.parts.tally.lastOf(name);
    if (known) return known.frame;
    return this.append([{ source: this.shapes.again(source, only), body: [body], producers: [[name, 0]] }]);
  }

  /** Logs frames: those of bodies, and whatever else streams.ts brings. */
  async append(frames: Omit<IntakeFrame, "bytes">[], heads: (object | undefined)[] = []): Promise<number> {
    if (!frames.length) return this.next - 1;
    // No frame names a source that the registry does not know.
    if (this.sourcesUnsaved) {
      await this.parts.save();
      this.sourcesUnsaved = false;
    }
    const { number: first } = await this.log.appendGroup(
      frames.map(({ source, body, producers }, i) => {
        const head = { ...heads[i], ...(producers.length ? { producers } : {}) };
        const text = Object.keys(head).length ? Buffer.from(JSON.stringify(head)) : undefined;
        return { kind: source, head: text, body, records: 0 };
      }),
    );
    const sources = frames.map(({ source }) => source);
    const logging = this.heir ?? this;
    for (const each of [logging, ...logging.sharers]) each.logged(first, sources, heads);
    return first + frames.length - 1;
  }

  /** Frames from `first` on are in the log. */
  private logged(first: number, sources: number[], heads: (object | undefined)[]): void {
    sources.forEach((source, i) => {
      const head = heads[i];
      this.rate.applied(this.log.place(first + i).bytes);
      if (head && "index" in head) this.refer(source, first + i, head.index as number);
      if (source === TIME_KIND) this.timeLogged(first + i, head as TimeHead);
      else if (this.isNews(source)) this.time.came(this.clockOf(source), Date.now());
    });
    this.heardOf = first + sources.length;
    this.parts.onLogged();
  }

  /** The stream whose log this is has another source. */
  private sourceCame(source: number): void {
    const spec = this.shapes.sources[source];
    const misfit = misfitOf(spec, this.parts.kernel());
    if (misfit !== undefined) this.parts.onMisfit(misfit);
    this.parts.onSource(source);
  }

  /** It does not need the log of another stream any more. */
  leave(): void {
    this.owner?.sharers.delete(this);
    this.owner?.decoded?.left(this);
  }

  /**
   * Records of another stream, or of a time before a reprocess, that do not count here: those that were taken once more, and those that
   * the kernel cannot read.
   */
  private isForeign(frame: number, source: StreamSource): boolean {
    const { cut } = this.record;
    if (!this.owner && cut === undefined) return false;
    const again = source.origin === "dead" && (this.owner !== undefined || frame < cut!);
    return again || misfitOf(source, this.parts.kernelOf(frame)) !== undefined;
  }

  /**
   * What is to be known of the frames from `from` on, which came before this process: the log tells references, and how time
   * passes. Nothing is known of those that are damaged: whoever lacks them finds out.
   */
  recall(from: number): void {
    const { log, shapes } = this;
    this.recalledFrom = from;
    this.heardOf = log.next;
    const isHere = (kind: number) => kind !== TIME_KIND && shapes.sources[kind]?.kind === "slice";
    const isTold = (kind: number) => {
      // Heard of in order, as the ends of sources are; the heads of these say nothing more.
      if (kind === VOID_KIND) return false; // also of a log that was a cluster's, and is a copy now
      if (kind !== TIME_KIND && this.isNews(kind)) this.time.goesOn(this.clockOf(kind), Date.now());
      return !isHere(kind);
    };
    for (const { number, kind, head } of log.heads(from, isTold)) {
      if (!head) continue;
      const said = JSON.parse(head.toString()) as TimeHead & { index?: number };
      if (kind === TIME_KIND) this.timeLogged(number, said);
      else if (said.index !== undefined) this.refer(kind, number, said.index);
    }
  }

  /** A shard was read back as of `frame`, before which each source had ended at a place. */
  goOn(frame: number, places: [number, number][], clocks: SavedClocks = []): void {
    this.chains.goOn(frame, places);
    this.time.restore(clocks);
  }

  /**
   * A shard has the frames below `from`, and is to get those that follow, maybe some that were not recalled: of them a Jah has to
   * know what the log says, and nothing else. Throws `log-damaged` if it is known that one of them is.
   */
  neededFrom(from: number): void {
    if (from < this.recalledFrom) this.recallHeads(from);
    const found = this.log.damageFrom(from);
    if (found) throw damagedError(found);
  }

  private recallHeads(from: number): void {
    const { log, shapes } = this;
    for (const { number, kind, head } of log.heads(from, (kind) => shapes.sources[kind]?.kind !== "slice")) {
      if (number >= this.recalledFrom) break;
      if (!head) continue;
      const said = JSON.parse(head.toString()) as TimeHead & { index?: number };
      if (kind === TIME_KIND) this.timeFrames.set(number, said);
      else if (said.index !== undefined) this.references.set(number, said.index);
    }
    this.recalledFrom = from;
  }

  /**
   * The state can be brought back from frame `bound` on: the log is trimmed as far as its policy has it. `lacking`: a shard
   * cannot be had, which may be brought back with what the log has: then nothing is trimmed but what a size or an age bounds.
   */
  async trimTo(bound: number, lacking: boolean): Promise<void> {
    this.bound = bound;
    this.lacking = lacking;
    await (this.owner ?? this.heir ?? this).trim();
    for (const known of [this.references, this.timeFrames])
      for (const frame of known.keys()) if (frame < bound) known.delete(frame);
    this.recalledFrom = Math.max(this.recalledFrom, bound);
  }

  /** The log is not trimmed until what this answers is called. */
  hold(): () => void {
    const { holds } = this;
    holds.count++;
    return () => {
      holds.count--;
    };
  }

  /** Trims the log as far as all that share it allow. */
  private async trim(): Promise<void> {
    const retain = parseRetain(this.record.retain);
    const all = [this, ...this.sharers];
    if (this.holds.count || (retain.kind === "applied" && all.some(({ lacking }) => lacking))) return;
    const bound = Math.min(...all.map((each) => each.bound));
    await this.log.trim(trimmableBelow(retain, this.log.extents, bound, Date.now()));
  }

  /** Frames that were logged of a source. */
  countOf(source: number): number {
    return this.parts.tally.framesOf(source);
  }

  /** The row behind the last one that was taken in from another stream; undefined if there is none. */
  nextRowOf(source: number): number | undefined {
    return this.parts.tally.nextRowOf(source);
  }

  /** A frame lies in a file, as range or row group `index`. */
  private refer(source: number, frame: number, index: number): void {
    this.references.set(frame, index);
    if (this.shapes.sources[source].kind === "range") this.chains.logged(source, frame);
  }

  // --- event time ------------------------------------------------------------------------------------------------

  /** Whether any kernel that reads this log has event time: else nothing is said of it there, and whoever comes later is told then. */
  private get isTimed(): boolean {
    return [this, ...this.sharers].some(({ parts }) => parts.kernel().time !== undefined);
  }

  /** So many files are waited for, as to their event time; unless that was said before. */
  async openClocks(files: number): Promise<void> {
    const clocks = this.time.clocksOfFiles(files);
    if (!this.isTimed) return;
    await this.logTime(
      clocks.filter((clock) => !this.time.isKnown(clock)).map((clock) => ({ clock, time: "open" as const })),
    );
  }

  /** A kernel with event time is to read this log, from its first frame on: it says which sources have ended. */
  async beginTimed(): Promise<void> {
    if (!this.isTimed)
      await this.logTime(this.time.endedOnes.map((clock) => ({ clock, time: "end" as const })));
  }

  /** The clocks that whoever begins at a frame waits for, of which the log may say nothing, or nothing any more. */
  openAt(frame: number): number[] {
    const open = new Set(this.time.openFiles);
    for (const kind of this.log.kindsFrom(frame))
      if (this.shapes.sources[kind]?.origin === "source") open.add(this.clockOf(kind));
    return [...open].toSorted((a, b) => a - b);
  }

  /** A file was read to its end. */
  async endClock(file: number): Promise<void> {
    const clock = this.time.clockOfFile(file);
    // The last clock ends with the last of those that share it.
    if (!(this.time.isShared(clock) && file + 1 < this.time.files)) await this.endOf(clock);
  }

  /** No more records are pushed; the frame that says so. */
  private async endPushes(): Promise<number> {
    return this.endOf(PUSHES);
  }

  /** No more records come of a clock; the frame that says so, or the last one. */
  private async endOf(clock: number): Promise<number> {
    const head: TimeHead = { clock, time: "end" };
    if (!this.time.hasEnded(clock) && this.isTimed) return this.logTime([head]);
    this.time.logged(head, Date.now());
    return this.next - 1;
  }

  /** Where no records come, windows close by the wall clock; the first one is over at `nextClose`, in event time, ms. */
  async letTimePass(nextClose: number): Promise<void> {
    if (this.passing) return;
    const heads = this.time.due(nextClose, Date.now());
    if (!heads.length) return;
    this.passing = true;
    const { field, of } = this.timeReader;
    try {
      await this.logTime(
        heads.map((head) => ({ ...head, field: field!, ...(of === undefined ? {} : { of }) })),
      );
    } finally {
      this.passing = false;
    }
  }

  /** Logs that event time passes, by frames without records. */
  private logTime(heads: TimeHead[]): Promise<number> {
    const frames = heads.map(() => ({ source: TIME_KIND, body: [], producers: [] }));
    return (this.owner ?? this).append(frames, heads);
  }

  private timeLogged(frame: number, head: TimeHead): void {
    this.timeFrames.set(frame, head);
    if (countsFor(this.timeReader, head)) this.time.logged(head, Date.now());
  }

  private get timeReader(): TimeReader {
    const { reader, unnamedTime = true } = this.record;
    const field = this.parts.kernel().time?.field;
    return { field, of: reader, takesUnnamed: reader === undefined && unnamedTime };
  }

  /** Whether its frames say that a clock goes on: those that come again do not. */
  private isNews(source: number): boolean {
    return this.shapes.sources[source].origin !== "dead";
  }

  private clockOf(source: number): number {
    return this.time.clockOf(this.shapes.sources, source);
  }

  // --- what Jahs map ---------------------------------------------------------------------------------------------

  /** What a Jah is told to map; `held`: partitions that get nothing of it, as their state has it already. */
  taskOf(frame: number, held: [number, number][]): LiveTask {
    const { dead } = this.parts;
    const { kind: source, path, offset, bytes, sum } = this.log.place(frame);
    const voids = [...dead.voidsOf(frame), ...held];
    if (source === VOID_KIND) return { task: timeTask(frame, -Infinity), clock: NO_CLOCK };
    if (source === TIME_KIND) {
      const head = this.timeFrames.get(frame)!;
      const time = timeOf(head, countsFor(this.timeReader, head));
      return { task: timeTask(frame, time), clock: head.clock, ...(voids.length ? { voids } : {}) };
    }
    const { kind, again } = this.shapes.sources[source];
    const index = this.references.get(frame) ?? 0;
    const start = this.chains.startOf(source, frame);
    const from = start === undefined ? {} : { start };
    const task: LiveTask["task"] =
      kind === "slice"
        ? { kind, frame, source, path, offset, bytes, sum }
        : { kind, frame, source, index, ...from };
    const skip =
      dead.isSkipped(frame) || this.isForeign(frame, this.shapes.sources[source]) ? { skip: true } : {};
    const clock = this.parts.kernel().time ? this.clockOf(source) : 0;
    const still = (this.owner ?? this).time.isShared(clock) ? { still: true } : {};
    const only = again?.only ? { only: again.only } : {};
    const sharing = kind === "slice" && !skip.skip && !again ? this.sharingOf(frame, source, bytes) : {};
    return { task, clock, ...still, ...skip, ...only, ...sharing, ...(voids.length ? { voids } : {}) };
  }

  /** What a Jah is to keep of a frame for others, or may take from others. */
  private sharingOf(frame: number, source: number, bytes: number): Pick<LiveTask, "keep" | "decoded"> {
    if (this.owner) {
      const decoded = this.owner.decoded?.of(frame, this);
      return decoded ? { decoded } : {};
    }
    const { format } = this.shapes.sources[source];
    const keep = this.decoded?.keep({ frame, bytes, format }, this.parts.kernelOf(frame), this.sharers);
    return keep ? { keep } : {};
  }

  /** Those that share the log are told if they may hand out more. */
  tellSharers(): void {
    if (this.decoded?.hasNews) for (const sharer of this.sharers) sharer.parts.onLogged();
  }

  /** Whoever waits for a frame for too long goes on by itself. */
  tick(): void {
    const first = this.owner ?? this;
    first.decoded?.tick();
    first.tellSharers();
  }

  /** A frame was mapped; the one that has to be mapped again, if there is one: it, or one behind it (chains.ts). */
  mapped(
    { source, frame, start, end, time }: FrameDone,
    { kept, cameDecoded }: Pick<Mapped, "kept" | "cameDecoded"> = {},
  ): number | undefined {
    if (this.owner) this.owner.decoded?.read(frame, this);
    else this.decoded?.mapped(frame, kept);
    if (cameDecoded) this.decodedCount++;
    const again = this.chains.mapped(source, frame, start, end)?.frame;
    if (again !== frame && this.parts.kernel().time && source !== NO_SOURCE)
      this.time.mapped(this.clockOf(source), time);
    return again;
  }
}

/** A frame without records. */
function timeTask(frame: number, time: number): LiveTask["task"] {
  return { kind: "time", frame, source: NO_SOURCE, time, ended: 0 };
}

/** How far a frame brings its clock. */
function timeOf({ time }: TimeHead, counts: boolean): number {
  if (!counts || time === "open") return -Infinity;
  return time === "end" ? Infinity : time;
}
