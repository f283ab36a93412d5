/**
 * The records of frames that were set aside. The log may be trimmed, so they are copied to `dead/FRAME` in the stream's folder before
 * the registry says that they were, and both before any owner passes the frame; they stay there until their user retries or drops them.
 */
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { HallelujahError, messageOf } from "../core/errors.ts";
import type { StreamLog } from "../store/stream-log.ts";
import type { DeadLetterInfo } from "../wire/http.ts";
import { type DeadLetter, type DeadLetters, lacking, type Stop } from "./dead-letters.ts";
import type { Frames } from "./frames.ts";
import type { Home } from "./home.ts";
import type { StreamRecord } from "./record.ts";

/** Pause before records that could not be kept are tried again, ms. */
const RETRY_MS = 1_000;

export interface DeadBodiesParts {
  /** The stream's folder. */
  folder: string;
  home: Pick<Home, "keep" | "read" | "drop">;
  log: StreamLog;
  frames: Pick<Frames, "retry" | "shapes">;
  dead: DeadLetters;
  /** Writes the record to the registry, or rejects. */
  save: () => Promise<void>;
  /** Whether the stream will not go on in this process. */
  isOver: () => boolean;
  /** A frame that was set aside is known to the registry to be. */
  onKept: (frame: number) => void;
  /** The stream cannot go on in this process. */
  fail: (message: string) => void;
  note: (level: "warn" | "error", message: string, more?: object) => void;
}

export class DeadBodies {
  private readonly record: StreamRecord;
  private readonly parts: DeadBodiesParts;
  /** One thing after the other. */
  private last: Promise<unknown> = Promise.resolve();

  constructor(record: StreamRecord, parts: DeadBodiesParts) {
    this.record = record;
    this.parts = parts;
  }

  /** Resolves when all that was set aside so far is kept, and the registry says so. */
  get settled(): Promise<unknown> {
    return this.last;
  }

  /** Sets a frame aside: copies its records and tells the registry; a disk that is full is waited for. Then `onKept` hears of it. */
  setAside(stop: Stop): void {
    const { dead, log, isOver, fail, note } = this.parts;
    const letter = dead.setAside(stop, log.place(stop.frame).bytes);
    void this.queued(async () => {
      for (;;) {
        try {
          return await this.keep(letter);
        } catch (error) {
          const message = `frame ${letter.frame} cannot be kept aside: ${messageOf(error)}`;
          note("warn", message);
          // Its Jahs would wait for the frame; the next process tries it anew.
          if (isOver()) return fail(message);
        }
        await new Promise((done) => setTimeout(done, RETRY_MS));
      }
    });
  }

  private async keep(letter: DeadLetter): Promise<void> {
    const { home, log, dead, save, onKept, note } = this.parts;
    const { kind: source, body } = await log.read(letter.frame);
    if (body.length) await home.keep(fileOf(letter.frame), body);
    dead.tell(letter, { sum: crc32(body), source });
    await save();
    dead.kept(letter);
    const { frame, message } = letter;
    note("error", `frame ${frame} was set aside: ${message}`, { frame });
    onKept(frame);
  }

  list(): DeadLetterInfo[] {
    const frames = new Set(this.parts.dead.open.map(({ frame }) => frame));
    return [...frames].toSorted((a, b) => a - b).map((frame) => this.infoOf(frame));
  }

  infoOf(frame: number): DeadLetterInfo {
    const letters = this.find(frame);
    const [{ stage, message, version, bytes }] = letters;
    return {
      frame,
      stage,
      partitions: letters.map(({ from, to }) => ({ from, to })),
      error: message,
      version,
      bytes,
    };
  }

  /** The records of a frame that was set aside. Rejects with `dead-letter-unknown`, `dead-letter-elsewhere` or `dead-letter-damaged`. */
  read(frame: number): Promise<Buffer> {
    return this.queued(() => this.readKept(frame));
  }

  private async readKept(frame: number): Promise<Buffer> {
    const [{ bytes, sum }] = this.find(frame);
    if (!bytes) {
      const message = `frame ${frame} holds no records itself: they lie in the source that the stream reads, or it says that time passes`;
      throw new HallelujahError("dead-letter-elsewhere", message);
    }
    const path = join(this.parts.folder, fileOf(frame));
    let body: Buffer;
    try {
      body = await this.parts.home.read(fileOf(frame));
    } catch (cause) {
      throw damaged(path, messageOf(cause), cause);
    }
    if (body.length !== bytes || crc32(body) !== sum) throw damaged(path, "it is not what was written");
    return body;
  }

  /**
   * Logs the records again, as a new frame, for the partitions that lack them; resolves with its number. However often this is asked,
   * they are logged once. Rejects as `read` does.
   */
  retry(frame: number): Promise<number> {
    return this.queued(async () => {
      const letters = this.find(frame);
      const body = await this.readKept(frame);
      const { frames } = this.parts;
      const { source } = letters[0];
      const only = lacking(letters, frames.shapes.sources[source].again?.only);
      const retried = await frames.retry(frame, source, only, body);
      await this.finish(letters, { retried });
      return retried;
    });
  }

  /** Drops the records. Rejects with `dead-letter-unknown`. */
  drop(frame: number): Promise<void> {
    return this.queued(() => this.finish(this.find(frame), "dropped"));
  }

  private async finish(letters: DeadLetter[], done: NonNullable<DeadLetter["done"]>): Promise<void> {
    for (const letter of letters) letter.done = done;
    try {
      await this.parts.save();
    } catch (error) {
      for (const letter of letters) delete letter.done;
      throw error;
    }
    await this.parts.home.drop(fileOf(letters[0].frame));
  }

  private find(frame: number): DeadLetter[] {
    const letters = this.parts.dead.openOf(frame);
    if (letters.length) return letters;
    const message = `${this.record.name} has no dead letter ${frame}; hallelujah dead ${this.record.name} lists them`;
    throw new HallelujahError("dead-letter-unknown", message);
  }

  private queued<T>(work: () => Promise<T>): Promise<T> {
    const result = this.last.then(work);
    this.last = result.catch(() => {});
    return result;
  }
}

function fileOf(frame: number): string {
  return join("dead", String(frame));
}

function damaged(path: string, why: string, cause?: unknown): HallelujahError {
  return new HallelujahError("dead-letter-damaged", `${path} cannot be read: ${why}`, { cause });
}
