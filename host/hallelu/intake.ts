/**
 * From pushed bodies to frames of a stream's log: bodies are cut at record boundaries into frames of at most
 * FRAME_BYTES; small ones that come while the log is being written share a frame. A producer's numbered bodies are taken
 * once each, in order: where one cannot be stored, those behind it are refused with it.
 */
import { HallelujahError } from "../core/errors.ts";
import { FRAME_BYTES } from "../core/limits.ts";
import { Cutter } from "../input/cutter.ts";
import type { LoggedBody } from "./tally.ts";

const LF = 0x0a;
const QUOTE = 0x22;
const NEWLINE = Buffer.from("\n");

/** What becomes an entry of the log. */
export interface IntakeFrame {
  source: number;
  body: Buffer[];
  bytes: number;
  /** Producers whose bodies end in this frame, with the numbers of these bodies. */
  producers: [string, number][];
}

export interface IntakeBody {
  source: number;
  /** Whether quoted fields may hold line feeds. */
  quotes: boolean;
  delimiter: number;
  chunks: Buffer[];
  producer?: string;
  sequence?: number;
}

interface Waiting {
  pieces: IntakeFrame[];
  done: (frame: number) => void;
  fail: (error: unknown) => void;
}

/** A producer's last body that is not stored yet. */
interface Flying {
  sequence: number;
  /** Resolves with the frame of that body. */
  frame: Promise<number>;
}

/** Knows the last body of a producer that is stored. */
interface Stored {
  lastOf(producer: string): LoggedBody | undefined;
}

export class Intake {
  /** Appends frames to the log; resolves with the number of the last when all are written. */
  private append: (frames: IntakeFrame[]) => Promise<number>;
  private readonly stored: Stored;
  private readonly flying = new Map<string, Flying>();
  private waiting: Waiting[] = [];
  private writing = false;

  constructor(append: (frames: IntakeFrame[]) => Promise<number>, stored: Stored) {
    this.append = append;
    this.stored = stored;
  }

  /** What is written from now on is appended by another. */
  leadTo(append: (frames: IntakeFrame[]) => Promise<number>): void {
    this.append = append;
  }

  /**
   * Takes in a body; resolves with the frame that holds its last record, once that is written. Rejects with
   * `sequence-gap` or `record-too-large`, and nothing of it is stored.
   */
  async take(body: IntakeBody): Promise<number> {
    const { producer, sequence } = body;
    if (producer === undefined || sequence === undefined) return this.enqueue(cutBody(body));
    const last = this.flying.get(producer) ?? this.stored.lastOf(producer);
    if (last && sequence <= last.sequence) return last.frame;
    if (last ? sequence !== last.sequence + 1 : sequence > 1) {
      const expected = last ? String(last.sequence + 1) : "0 or 1";
      const message = `${producer} sent body ${sequence}, but ${expected} comes next; send the ones that are missing first`;
      throw new HallelujahError("sequence-gap", message);
    }
    const pieces = cutBody(body);
    pieces.at(-1)!.producers.push([producer, sequence]);
    const frame = this.enqueue(pieces);
    const flying = { sequence, frame };
    this.flying.set(producer, flying);
    try {
      return await frame;
    } finally {
      if (this.flying.get(producer) === flying) this.flying.delete(producer);
    }
  }

  private enqueue(pieces: IntakeFrame[]): Promise<number> {
    return new Promise((done, fail) => {
      this.waiting.push({ pieces, done, fail });
      if (!this.writing) {
        this.writing = true;
        setImmediate(() => void this.write());
      }
    });
  }

  private async write(): Promise<void> {
    while (this.waiting.length) {
      const waiting = this.waiting;
      this.waiting = [];
      const frames: IntakeFrame[] = [];
      /** How many frames there are when each body is whole. */
      const ends = waiting.map(({ pieces }) => {
        for (const piece of pieces) join(frames, piece);
        return frames.length;
      });
      try {
        const last = await this.append(frames);
        waiting.forEach(({ done }, i) => done(last - (frames.length - ends[i])));
      } catch (error) {
        // Also those that came meanwhile, as a producer's next body must not be stored without this one.
        for (const { fail } of [...waiting, ...this.waiting]) fail(error);
        this.waiting = [];
        this.flying.clear();
      }
    }
    this.writing = false;
  }
}

/** Adds a piece to the last frame if it fits, else as a frame of its own. */
function join(frames: IntakeFrame[], piece: IntakeFrame): void {
  const last = frames.at(-1);
  if (!last || last.source !== piece.source || last.bytes + piece.bytes > FRAME_BYTES) {
    frames.push(piece);
    return;
  }
  last.body.push(...piece.body);
  last.bytes += piece.bytes;
  last.producers.push(...piece.producers);
}

/** Pieces of whole records, each of at most FRAME_BYTES. */
export function cutBody({ source, quotes, delimiter, chunks }: IntakeBody): IntakeFrame[] {
  const body = chunks.at(-1)?.at(-1) === LF ? chunks : [...chunks, NEWLINE];
  const pieces =
    quotes && chunks.some((chunk) => chunk.includes(QUOTE)) ? cutQuoted(body, delimiter) : cutLines(body);
  return pieces.map((piece) => ({
    source,
    body: piece,
    bytes: piece.reduce((sum, { length }) => sum + length, 0),
    producers: [],
  }));
}

function cutLines(chunks: Buffer[]): Buffer[][] {
  const pieces: Buffer[][] = [];
  let piece: Buffer[] = [];
  let bytes = 0;
  for (let chunk of chunks) {
    while (bytes + chunk.length > FRAME_BYTES) {
      const room = FRAME_BYTES - bytes;
      const lf = room > 0 ? chunk.lastIndexOf(LF, room - 1) : -1;
      if (lf >= 0) {
        piece.push(chunk.subarray(0, lf + 1));
        chunk = chunk.subarray(lf + 1);
        pieces.push(piece);
        piece = [];
      } else {
        const rest = splitPiece(piece); // the last record began in an earlier chunk
        if (!rest) throw tooLarge();
        pieces.push(rest.whole);
        piece = rest.begun;
      }
      bytes = piece.reduce((sum, { length }) => sum + length, 0);
    }
    if (!chunk.length) continue;
    piece.push(chunk);
    bytes += chunk.length;
  }
  if (bytes) pieces.push(piece);
  return pieces;
}

/** The whole records of a piece, and the start of the one that is not whole; undefined if there is no whole one. */
function splitPiece(piece: Buffer[]): { whole: Buffer[]; begun: Buffer[] } | undefined {
  for (let i = piece.length - 1; i >= 0; i--) {
    const lf = piece[i].lastIndexOf(LF);
    if (lf < 0) continue;
    const rest = piece[i].subarray(lf + 1);
    return {
      whole: [...piece.slice(0, i), piece[i].subarray(0, lf + 1)],
      begun: [...(rest.length ? [rest] : []), ...piece.slice(i + 1)],
    };
  }
  return undefined;
}

/** Cut as the decoder reads: by half a frame, as a record may run over the cut. */
function cutQuoted(chunks: Buffer[], delimiter: number): Buffer[][] {
  const cutter = new Cutter(0, true, delimiter, FRAME_BYTES >> 1);
  for (const chunk of chunks) cutter.push(chunk);
  cutter.end();
  const pieces: Buffer[][] = [];
  for (let frame = cutter.next(); frame; frame = cutter.next()) {
    if (frame.bytes.length > FRAME_BYTES || frame.dropped) throw tooLarge();
    if (frame.bytes.length) pieces.push([frame.bytes]);
  }
  return pieces;
}

function tooLarge(): HallelujahError {
  return new HallelujahError(
    "record-too-large",
    `a record is larger than ${FRAME_BYTES >> 10} KiB; nothing of the body was stored`,
  );
}
