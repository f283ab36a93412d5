/** The registry of a simulated host, as far as streams go: a write takes its time, and some of those that are slow fail. */
import type { StreamRecord } from "../../host/hallelu/record.ts";

/** Why a write fails. */
export const UNWRITTEN = "the registry cannot be written";

const KEY = "streams/";

export interface RegistryParts {
  /** Luck, of which one draw follows another. */
  luck: () => number;
  later(ms: number, what: () => void): void;
  /** Whether writes may be slow, and whether those that are may fail. */
  isSlow: boolean;
  mayFail(): boolean;
  /** A reprocess is to take over, which is written within so many ms; and it has. */
  cutting(ms: number): void;
  cut(record: StreamRecord, before: StreamRecord): void;
}

export class SimulatedRegistry {
  /** What it says of each stream. */
  readonly streams = new Map<string, StreamRecord>();
  private readonly parts: RegistryParts;
  /** Of the host that runs; those that were killed never hear of what they began. */
  private host = {};
  private revision = 0;
  private underWay = 0;
  private readonly revisions = new Map<string, number>();
  /** Of streams that are being removed, what they would have had written last. */
  private readonly unwritten = new Map<string, StreamRecord>();

  constructor(parts: RegistryParts) {
    this.parts = parts;
  }

  /** The host ends where it stands. */
  crash(): void {
    this.host = {};
    this.underWay = 0;
  }

  /** Whether all that was to be written is. */
  get isAtRest(): boolean {
    return this.underWay === 0;
  }

  /** What the host that runs now has of it. */
  get writer(): { put(key: string, record: unknown): Promise<void> } {
    const { host } = this;
    return { put: (key, record) => this.put(key.slice(KEY.length), record as StreamRecord, host) };
  }

  private async put(name: string, record: StreamRecord, host: object): Promise<void> {
    const { luck, later, isSlow: maybeSlow, mayFail, cutting, cut } = this.parts;
    if (host !== this.host) return new Promise(() => {});
    const kept = structuredClone(record);
    const revision = ++this.revision;
    const isSlow = maybeSlow && luck() < 0.2;
    const ms = luck() * (isSlow ? 1000 : 5);
    const isCut = this.isCut(name, kept);
    if (isCut) cutting(ms);
    this.underWay++;
    await new Promise<void>((done) => later(ms, done));
    if (host !== this.host) return new Promise(() => {});
    this.underWay--;
    if (isSlow && mayFail() && luck() < 0.3) throw new Error(UNWRITTEN);
    // One that came later holds this.
    if (revision < (this.revisions.get(name) ?? 0)) return;
    this.revisions.set(name, revision);
    const before = this.streams.get(name);
    this.streams.set(name, kept);
    if (isCut) cut(kept, before!);
  }

  /** A stream that is being removed writes nothing any more; what must hold of it is held against what it would have had written. */
  wouldPut(record: StreamRecord): void {
    this.unwritten.set(record.name, structuredClone(record));
  }

  /** What it says of a stream, or would say if that were not being removed. */
  said(name: string): StreamRecord | undefined {
    return this.unwritten.get(name) ?? this.streams.get(name);
  }

  /** Whether this says that a reprocess has taken over. */
  private isCut(name: string, { cut }: StreamRecord): boolean {
    return cut !== undefined && cut !== this.streams.get(name)?.cut;
  }

  /** Whether what a version of a stream's kernel does may last: it is none that may be rolled back. */
  hasConfirmed(name: string, version: number): boolean {
    const record = this.said(name);
    if (!record) return false;
    const versions = record.versions ?? [{ version: record.version, error: undefined }];
    const isKnown = versions.some((each) => each.version === version && each.error === undefined);
    return isKnown && (record.trial === undefined || version < record.trial);
  }
}
