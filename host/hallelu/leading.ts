/**
 * Which streams of its cluster this host leads. Those are opened whose entries say so; those are let go that are another host's by now, as after
 * a pause in which this one was taken for lost; and those of hosts that are not there are taken over, each by the host that the plan names, which
 * all hosts make alike (substrate/placement.ts). Whoever was quicker has it: an entry is written as it was read, or not at all.
 */
import { messageOf } from "../core/errors.ts";
import type { Journal } from "../store/journal.ts";
import { type Directory, type DirectoryEntry, isLed, type LedEntry } from "../substrate/directory.ts";
import type { Neighbours } from "./neighbours.ts";

/** How often it is looked when nothing is heard, ms: a stream that could not be opened is tried again then. */
const LOOK_MS = 1_000;

/** The streams of this host, as far as this needs them. */
export interface LedStreams {
  /** Those that the cluster keeps and that are open here, as this host leads them. */
  led(): Map<string, LedEntry>;
  /** Whether a stream is being deployed or removed here. */
  isChanging(name: string): boolean;
  /** Opens streams that depend on no others but these; `failed` hears of those that cannot be opened. */
  takeUp(entries: Map<string, LedEntry>, failed: (name: string, why: string) => void): Promise<void>;
  /** Ends a stream here, of which another host has the rest. */
  letGo(name: string): Promise<void>;
  /** Callers are told that a stream is about to be opened; or, without `why`, that it is not. */
  awaited(name: string, why: string | undefined): void;
}

export interface LeadingParts {
  neighbours: Neighbours;
  streams: LedStreams;
  journal: Journal;
}

export class Leading {
  private readonly parts: LeadingParts;
  private timer: NodeJS.Timeout | undefined;
  private looking: Promise<void> | undefined;
  private isAsked = false;
  private isClosed = false;
  /** Why streams could not be opened, as it was last told. */
  private readonly failures = new Map<string, string>();
  /** Streams that callers were told of. */
  private readonly announced = new Set<string>();

  constructor(parts: LeadingParts) {
    this.parts = parts;
    parts.neighbours.onChange(() => this.look());
  }

  /** Something may have changed. */
  look(): void {
    this.isAsked = true;
    this.looking ??= this.run().finally(() => {
      this.looking = undefined;
    });
  }

  private async run(): Promise<void> {
    clearTimeout(this.timer);
    while (this.isAsked && !this.isClosed) {
      this.isAsked = false;
      try {
        await this.once();
      } catch (error) {
        this.parts.journal.warn(`what other hosts have left is not taken over yet: ${messageOf(error)}`);
      }
    }
    if (!this.isClosed) this.timer = setTimeout(() => this.look(), LOOK_MS).unref();
  }

  private async once(): Promise<void> {
    const { neighbours, streams } = this.parts;
    const { seat } = neighbours;
    if (!seat) return;
    const { directory } = seat;
    this.announce(directory);
    for (const [name, entry] of streams.led())
      if (!isSame(directory.get(name), entry)) await streams.letGo(name);
    await this.takeOver(directory);
    this.announce(directory);
    await this.open(this.missing(directory));
  }

  /** As planned, or not at all: what is known by then of a stream may be more than what the plan was made by. */
  private async takeOver(directory: Directory): Promise<void> {
    const missed = new Set<string>();
    for (const [name, entry] of directory.orphans) {
      const { host, from, epoch } = entry;
      // Who was quicker with the one that it takes in has that, too.
      if ((from !== undefined && missed.has(from)) || !(await directory.take(name, entry))) {
        missed.add(name);
        continue;
      }
      this.parts.journal.warn({ stream: name }, `it is taken over from host ${host}, epoch ${epoch + 1}`);
    }
  }

  /** Streams that this host leads and has not opened. */
  private missing(directory: Directory): Map<string, LedEntry> {
    const { streams } = this.parts;
    const there = streams.led();
    const missing = new Map<string, LedEntry>();
    for (const [name, entry] of directory.all)
      if (isLed(entry) && directory.isOwn(entry) && !there.has(name) && !streams.isChanging(name))
        missing.set(name, entry);
    return missing;
  }

  /** Callers are told of those, from when this host has them until it has opened them, or another one has them. */
  private announce(directory: Directory): void {
    for (const [name] of this.missing(directory))
      this.await(name, this.failures.get(name) ?? "this host has just become its leader");
    for (const name of this.announced) {
      const entry = directory.get(name);
      if (!entry || !directory.isOwn(entry)) this.await(name, undefined);
    }
  }

  private await(name: string, why: string | undefined): void {
    if (why === undefined) {
      this.failures.delete(name);
      this.announced.delete(name);
    } else this.announced.add(name);
    this.parts.streams.awaited(name, why);
  }

  private async open(missing: Map<string, LedEntry>): Promise<void> {
    const { streams, journal } = this.parts;
    if (!missing.size) return;
    const failed = new Set<string>();
    await streams.takeUp(missing, (name, why) => {
      failed.add(name);
      if (this.failures.get(name) !== why) journal.error({ stream: name }, `it cannot be opened: ${why}`);
      this.failures.set(name, why);
      this.await(name, why);
    });
    for (const name of missing.keys()) if (!failed.has(name)) this.await(name, undefined);
  }

  async close(): Promise<void> {
    this.isClosed = true;
    clearTimeout(this.timer);
    await this.looking;
  }
}

function isSame(a: DirectoryEntry | undefined, b: LedEntry): boolean {
  return a?.folder === b.folder && a.epoch === b.epoch && a.identity === b.identity;
}
