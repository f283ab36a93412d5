/**
 * The versions of one stream's kernel: which frames belong to which, the one that is on trial, and what there has been. Pure but
 * for descriptors, which are read from the modules.
 *
 * A version takes over at a frame that nobody was given before. It is on trial until some frames are applied: if it stops on
 * one of them, the version before goes on from the same frame, with its state, as nothing of the trial was saved or put
 * out. All frames of a version that was rolled back belong to the one after it.
 */
import { basename, join } from "node:path";
import type { KernelDescriptor } from "../compiler/descriptor.ts";
import { KernelPlaces } from "../compiler/places.ts";
import { HallelujahError } from "../core/errors.ts";
import { VERSIONS_MAX } from "../core/limits.ts";
import { wishesOf } from "../input/plan.ts";
import { fitState } from "../compiler/fit.ts";
import type { LiveVersion } from "../wire/live.ts";
import { readModule } from "./module.ts";
import type { StreamRecord, VersionRecord } from "./record.ts";
import { type StreamSource, specFor } from "./shapes.ts";

export class Versions {
  private readonly record: StreamRecord;
  private readonly folder: string;
  private readonly read: typeof readModule;
  private readonly descriptors = new Map<string, KernelDescriptor>();
  /** Whose trial the record says to be over, as long as it is not known whether the registry does. */
  private ending: number | undefined;

  /** `kernel` is the descriptor of the last one; `read` reads those of others. */
  constructor(record: StreamRecord, folder: string, kernel: KernelDescriptor, read = readModule) {
    this.read = read;
    this.record = record;
    this.folder = folder;
    this.descriptors.set(basename(record.kernel), kernel);
    record.versions ??= [
      {
        version: record.version,
        from: 0,
        module: basename(record.kernel),
        file: record.file,
        at: new Date().toISOString(),
        how: "deployed",
      },
    ];
  }

  /** All of them, ascending. */
  get all(): VersionRecord[] {
    return this.record.versions!;
  }

  /** Those that frames belong to: a reprocess leaves none to the ones before it. */
  private get lasting(): VersionRecord[] {
    const lasting = this.all.filter(({ error }) => error === undefined);
    return lasting.slice(
      Math.max(
        0,
        lasting.findLastIndex(({ how }) => how === "reprocessed"),
      ),
    );
  }

  /** The one that frames are given to now. */
  get current(): VersionRecord {
    return this.lasting.at(-1)!;
  }

  /** The first one that may be rolled back, with all after it: one that was replaced before it was proven is not proven by that. */
  get trial(): VersionRecord | undefined {
    const trial = this.ending ?? this.record.trial;
    return trial === undefined ? undefined : this.find(trial);
  }

  /** The last one that will not be rolled back. */
  get confirmed(): number {
    const { trial } = this;
    return trial
      ? this.lasting.findLast(({ version }) => version < trial.version)!.version
      : this.current.version;
  }

  of(frame: number): VersionRecord {
    return this.lasting.findLast(({ from }) => from <= frame) ?? this.lasting[0];
  }

  /** Throws `version-unknown`. */
  find(version: number): VersionRecord {
    const found = this.all.find((each) => each.version === version);
    if (found) return found;
    const known = this.all.map((each) => each.version).join(", ");
    throw new HallelujahError(
      "version-unknown",
      `${this.record.name} has no version ${version}; it has: ${known}`,
    );
  }

  pathOf({ module }: Pick<VersionRecord, "module">): string {
    return join(this.folder, module);
  }

  /** Where in its source a kernel stopped that a frame belongs to. */
  placesOf(frame: number): KernelPlaces {
    const version = this.of(frame);
    return new KernelPlaces(this.pathOf(version), this.descriptorOf(version).file);
  }

  descriptorOf(version: VersionRecord): KernelDescriptor {
    let known = this.descriptors.get(version.module);
    if (!known)
      this.descriptors.set(
        version.module,
        (known = this.read({ ...this.record, kernel: this.pathOf(version) })),
      );
    return known;
  }

  get kernel(): KernelDescriptor {
    return this.descriptorOf(this.current);
  }

  /** The number of the next one, which no version had before. */
  get next(): number {
    return this.all.at(-1)!.version + 1;
  }

  /** Another version, on trial, for the frames from `from` on. */
  add(version: Omit<VersionRecord, "version" | "at">): VersionRecord {
    if (this.ending !== undefined)
      throw new TypeError("it is not known yet whether the trial before is over");
    const added = { ...version, version: this.next, at: new Date().toISOString() };
    this.all.push(added);
    this.record.trial ??= added.version;
    this.adopt();
    return added;
  }

  /** The first of those on trial that have no frame before the current one's. */
  get waiting(): VersionRecord | undefined {
    const { trial, current } = this;
    return (
      trial && this.lasting.find(({ version, from }) => version >= trial.version && from >= current.from)
    );
  }

  /**
   * The registry is to be told that the trial is over, by whatever is written from here on, of all or of those before `next`. Until it knows, all
   * is on trial as before.
   */
  endTrial(next?: VersionRecord): void {
    this.ending ??= this.record.trial;
    if (next) this.record.trial = next.version;
    else delete this.record.trial;
  }

  /** The registry knows. */
  confirm(): void {
    this.ending = undefined;
  }

  /** The registry could not be told. */
  keepOnTrial(): void {
    if (this.ending !== undefined) this.record.trial = this.ending;
    this.ending = undefined;
  }

  /**
   * The version before `first` goes on in place of that and all after it, under a number of its own, as the version `stopped` did. Answers
   * the former. `first` is on trial; where others before it are, too, they stay so.
   */
  rollBack(stopped: number, error: string, first = this.trial!): VersionRecord {
    const { version, from } = first;
    const isWhole = first === this.trial;
    for (const each of this.all) {
      if (each.version < version) continue;
      if (each.version < stopped)
        each.error ??= `together with version ${stopped}, which stopped while this one was still on trial`;
      else
        each.error ??=
          each.version === stopped
            ? error
            : `together with version ${stopped}, which it came after: ${error}`;
    }
    const before = this.current;
    const { module, file } = before;
    this.all.push({
      version: this.next,
      from,
      module,
      file,
      at: new Date().toISOString(),
      how: "rolled back",
      sameAs: before.version,
    });
    if (isWhole) {
      delete this.record.trial;
      this.ending = undefined;
    }
    this.adopt();
    return before;
  }

  /** What the registry says of the stream as a whole. */
  private adopt(): void {
    const { version, file } = this.current;
    Object.assign(this.record, { version, file, kernel: this.pathOf(this.current) });
  }

  /** Those of the frames from `from` on, and of what was saved as of `from`, as Jahs need them. */
  live(from: number, sources: StreamSource[]): LiveVersion[] {
    const { lasting } = this;
    // A state as of the frame where a version takes over may still be that of the one before.
    const first = Math.max(
      0,
      lasting.findLastIndex((version) => version.from < from),
    );
    return lasting.slice(first).map((version, i) => this.liveOf(version, lasting[first + i - 1], sources));
  }

  private liveOf(
    version: VersionRecord,
    before: VersionRecord | undefined,
    sources: StreamSource[],
  ): LiveVersion {
    const kernel = this.descriptorOf(version);
    return {
      version: version.version,
      from: version.from,
      kernel: this.pathOf(version),
      fit: fitState(before ? this.descriptorOf(before) : kernel, kernel),
      sources: sources.map((source) => specFor(source, kernel)),
      columns: wishesOf(kernel.input.fields),
    };
  }

  /** A source as each version reads it. */
  specsOf(source: StreamSource): { version: number; spec: StreamSource }[] {
    return this.lasting.map((each) => ({
      version: each.version,
      spec: specFor(source, this.descriptorOf(each)),
    }));
  }

  /** Forgets the oldest, as far as no frame from `from` on needs them; answers the modules that nobody needs any more. */
  forget(from: number): string[] {
    const needed = this.lasting.findLast((version) => version.from < from);
    const gone: VersionRecord[] = [];
    while (this.all.length > VERSIONS_MAX && needed && this.all[0].version < needed.version)
      gone.push(this.all.shift()!);
    const kept = new Set(this.all.map(({ module }) => module));
    return [...new Set(gone.map(({ module }) => module))].filter((module) => !kept.has(module));
  }
}
