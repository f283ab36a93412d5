/**
 * Which frames of a log that several streams share are decoded once: a Jah of the stream whose log it is keeps what it decodes, and the others
 * take that instead of decoding. Pure but for the clock and the folder: Jahs read and write the files.
 *
 * Nothing depends on it. What is kept is a cache of a few files, each of which is written over when all that were to read it have, and it is
 * used where it is there and holds every field that a kernel takes, of the same name and type. Records are decoded alike whoever does it, so
 * results are the same either way. A frame with a record that is bad for the first kernel is not kept, as the record may be good for another.
 *
 * A frame that is on its way is waited for: a stream that shares the log would else be at the same frame at the same time, and decode it
 * too. It does not wait long: when the first one falls behind, or stops, all go on by themselves for a while.
 */
import { join } from "node:path";
import { DECODED_VERSION, type KernelDescriptor, type RecordField } from "../compiler/descriptor.ts";
import {
  DECODED_FILES_MAX,
  DECODED_FRAME_BYTES_MIN,
  DECODED_PATIENCE_MS,
  DECODED_REST_MS,
  DECODED_WINDOW_FRAMES,
} from "../core/limits.ts";
import type { Decoded, KeepDecoded } from "../wire/decoded.ts";
import type { SourceFormat } from "../wire/jah.ts";

/** A stream that shares the log. */
export interface DecodedReader {
  /** The next frame that is handed out there; undefined while it is stopped. */
  readonly at: number | undefined;
  kernelOf(frame: number): KernelDescriptor;
}

/** The part of a log's frame that counts here. */
interface LoggedFrame {
  frame: number;
  bytes: number;
  format: SourceFormat;
}

/** The folder of the files. */
export interface DecodedFolder {
  path: string;
  /** Makes it. */
  make(): void;
  /** Removes a file of it, if there is one. */
  remove(path: string): void;
}

/** A file, and what a Jah writes, or has written there. */
interface Kept {
  id: number;
  file: number;
  frame: number;
  fields: RecordField[];
  readers: Set<DecodedReader>;
  /** Since when it is waited for, ms; undefined when it is there. */
  since: number | undefined;
}

/**
 * Formats that take more time to decode than to hand over (bench/README.md). CSV takes about as much, and columns of files are not in
 * the log.
 */
const WORTH: ReadonlySet<SourceFormat> = new Set(["ndjson"]);

export class DecodedFrames {
  private readonly folder: DecodedFolder;
  private readonly now: () => number;
  private readonly kept = new Map<number, Kept>();
  /** Files that nobody writes, the one used last at the end: it is the warmest. */
  private readonly free: number[] = [];
  /** Those that are in use, or free; each has a number that none had before. */
  private files = 0;
  private nextFile = 0;
  private nextId = 1;
  private restUntil = -Infinity;
  private changed = false;

  /** `now` is a clock, ms. */
  constructor(folder: DecodedFolder, now: () => number) {
    this.folder = folder;
    this.now = now;
  }

  /** A frame is handed to a Jah of the first stream: what it is to keep of it for those of `readers` that have not come to it. */
  keep(
    { frame, bytes, format }: LoggedFrame,
    kernel: KernelDescriptor,
    readers: Iterable<DecodedReader>,
  ): KeepDecoded | undefined {
    const before = this.kept.get(frame);
    if (before && before.since === undefined) return undefined; // it is there
    if (before) this.drop(before); // the Jah that had it is lost
    if (bytes < DECODED_FRAME_BYTES_MIN || !WORTH.has(format) || this.now() < this.restUntil)
      return undefined;
    const waiting = [...readers].filter(
      (reader) =>
        isNear(reader.at, frame) && placesOf(kernel.input.fields, reader.kernelOf(frame)) !== undefined,
    );
    if (!waiting.length || !canBeKept(kernel)) return undefined;
    const wanted = waiting.flatMap((reader) => reader.kernelOf(frame).input.fields);
    const fields = kernel.input.fields.filter((field) => wanted.some((each) => isSame(each, field)));
    const file = fields.length ? this.takeFile() : undefined;
    if (file === undefined) return undefined;
    const id = this.nextId++;
    const since = before?.since ?? this.now();
    this.kept.set(frame, { id, file, frame, fields, readers: new Set(waiting), since });
    return { id, path: this.pathOf(file), words: wordsOf(fields) };
  }

  /** A Jah of the first stream has mapped a frame; `kept`: the attempt by which it was to keep it, and whether it did. */
  mapped(frame: number, kept: { id: number; bytes: number } | undefined): void {
    const entry = this.kept.get(frame);
    if (entry?.since === undefined) return;
    if (!kept) return this.drop(entry); // nothing was asked, as the frame was set aside
    if (kept.id !== entry.id) return; // the Jah that was thought to be lost; the other one is still at it
    entry.since = undefined;
    this.changed = true;
    if (!kept.bytes || !entry.readers.size) this.release(entry);
  }

  /** The lowest frame that a stream waits for; Infinity if there is none. */
  awaitedBy(reader: DecodedReader): number {
    let lowest = Infinity;
    for (const { frame, since, readers } of this.kept.values())
      if (since !== undefined && frame < lowest && readers.has(reader)) lowest = frame;
    return lowest;
  }

  /** Whether somebody waits for less than when this was last asked. */
  get hasNews(): boolean {
    const { changed } = this;
    this.changed = false;
    return changed;
  }

  /** What a Jah of a stream that shares the log may read instead of decoding a frame. */
  of(frame: number, reader: DecodedReader): Decoded | undefined {
    const entry = this.kept.get(frame);
    if (!entry || entry.since !== undefined || !entry.readers.has(reader)) return undefined;
    const { id, file, fields } = entry;
    const kernel = reader.kernelOf(frame);
    const places = placesOf(fields, kernel); // it may have been swapped meanwhile
    if (!places) return undefined;
    const texts = kernel.input.fields.some(({ type }) => type === "Text");
    return { id, path: this.pathOf(file), words: wordsOf(fields).length, places, texts };
  }

  /** A stream has mapped a frame, however it came by the records. */
  read(frame: number, reader: DecodedReader): void {
    const entry = this.kept.get(frame);
    if (!entry?.readers.delete(reader) || entry.readers.size) return;
    if (entry.since === undefined) this.release(entry);
  }

  /** A stream does not share the log any more. */
  left(reader: DecodedReader): void {
    for (const { frame } of this.kept.values()) this.read(frame, reader);
  }

  /** If some were waited for too long, nobody waits any more, and nothing is kept for a while. */
  tick(): void {
    const now = this.now();
    const isLate = ({ since }: Kept) => since !== undefined && now - since > DECODED_PATIENCE_MS;
    if (![...this.kept.values()].some(isLate)) return;
    this.restUntil = now + DECODED_REST_MS;
    this.giveUp();
  }

  /** Nothing comes any more of what was waited for. */
  giveUp(): void {
    for (const entry of this.kept.values()) if (entry.since !== undefined) this.drop(entry);
  }

  private pathOf(file: number): string {
    return join(this.folder.path, `${file}`);
  }

  private takeFile(): number | undefined {
    const free = this.free.pop();
    if (free !== undefined) return free;
    if (this.files < DECODED_FILES_MAX) {
      if (!this.nextFile) this.folder.make();
      this.files++;
      return this.nextFile++;
    }
    // Who was to read it may be stopped, or was handed the frame and is lost; whoever reads it now finds out.
    for (const { frame, file, since, readers } of this.kept.values()) {
      if (since !== undefined || [...readers].some(({ at }) => at !== undefined && at <= frame)) continue;
      this.kept.delete(frame);
      return file;
    }
    return undefined;
  }

  /** The file may be written over. */
  private release({ frame, file }: Kept): void {
    this.kept.delete(frame);
    this.free.push(file);
  }

  /** The file may yet be written by a Jah of which nothing is known, so that it is not used again. */
  private drop(entry: Kept): void {
    if (entry.since === undefined) return this.release(entry);
    this.kept.delete(entry.frame);
    this.changed = true;
    this.files--;
    this.folder.remove(this.pathOf(entry.file));
  }
}

/** Whether a stream comes to a frame soon, and has not been there. */
function isNear(at: number | undefined, frame: number): boolean {
  return at !== undefined && at <= frame && frame - at < DECODED_WINDOW_FRAMES;
}

/** Whether what a kernel decodes means the same to others: names of NDJSON that lie within one another are told apart by what else is wanted. */
function canBeKept({ decoded, input: { fields } }: KernelDescriptor): boolean {
  if (decoded !== DECODED_VERSION) return false;
  const sources = fields.map(({ source }) => source);
  return (
    new Set(sources).size === sources.length &&
    !sources.some((outer) => sources.some((inner) => inner.startsWith(`${outer}.`)))
  );
}

function isSame(a: RecordField, b: RecordField): boolean {
  return a.source === b.source && a.type === b.type && a.optional === b.optional;
}

/** Where the words of these fields lie in the record, one field after the other. */
function wordsOf(fields: RecordField[]): number[] {
  return fields.flatMap(({ offset, optional }) => (optional ? [offset, offset + 8] : [offset]));
}

/** Where in a row of these fields those of a kernel lie; undefined if it lacks one. */
function placesOf(fields: RecordField[], { decoded, input }: KernelDescriptor): number[] | undefined {
  if (decoded !== DECODED_VERSION) return undefined;
  const ends = fields.map((_, i) => wordsOf(fields.slice(0, i)).length * 8);
  const places = input.fields.map((wanted) => ends[fields.findIndex((field) => isSame(field, wanted))]);
  return places.some((place) => place === undefined) ? undefined : places;
}
