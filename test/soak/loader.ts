/** One producer: pushes its numbered records, one body after the other, each until it is acknowledged. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Hallelujah } from "../../host/client/live.ts";
import { type Piece, piecesOf } from "./handled.ts";
import type { StreamSpec } from "./streams.ts";

/** What a host may answer, or fail to, when its processes are killed: the same may be sent again. */
const AWAY = new Set(["host-unreachable", "connection-lost", "busy", "backlog-full"]);
/** Records of a body: from one to what has more than a frame and less than what the library sends at once. */
const BODY_RECORDS_MAX = 12_000;
const PAUSE_MS = 50;

/** Where bodies are sent to. */
export type Pushing = Pick<Hallelujah, "push">;

/** A body that was sent, and whose answer is not there. */
export interface InFlight {
  sequence: number;
  records: number;
  body: string;
  /** Its records in the frames where they are once it is acknowledged, of which the last is this one. */
  pieces(frame: number): Piece[];
}

export class Loader {
  /** Records that are acknowledged, and the number of the next body. */
  acknowledged = 0;
  sequence = 0;
  /** Where the records are that are acknowledged. */
  readonly pieces: Piece[] = [];
  inFlight: InFlight | undefined;
  readonly stream: StreamSpec;
  readonly producer: string;
  private readonly record: (n: number) => string;
  private readonly chance: () => number;

  constructor(stream: StreamSpec, { id, record }: StreamSpec["producers"][number], chance: () => number) {
    this.stream = stream;
    this.producer = id;
    this.record = record;
    this.chance = chance;
  }

  /** Records that were sent, acknowledged or not. */
  get sent(): number {
    return this.acknowledged + (this.inFlight?.records ?? 0);
  }

  /**
   * Pushes until `over`, never more than are `allowed` by then; the last body is acknowledged, too. Rejects with the
   * reason of `abandoned`.
   */
  async run(
    client: Pushing,
    allowed: () => number,
    over: AbortSignal,
    abandoned: AbortSignal,
  ): Promise<void> {
    while (!over.aborted) {
      abandoned.throwIfAborted();
      const room = Math.floor(allowed()) - this.acknowledged;
      if (room <= 0) {
        await sleep(PAUSE_MS);
        continue;
      }
      // As many small bodies as large ones, on the scale of their logarithms.
      const records = Math.min(room, Math.ceil(BODY_RECORDS_MAX ** this.chance()));
      const first = this.acknowledged;
      const lines = Array.from({ length: records }, (_, i) => this.record(first + i));
      const pieces = (frame: number) =>
        piecesOf(
          lines.map(({ length }) => length),
          first,
          frame,
        );
      this.inFlight = { sequence: this.sequence, records, body: lines.join(""), pieces };
      this.pieces.push(...(await this.push(client, this.inFlight, abandoned)));
      this.acknowledged += records;
      this.sequence++;
      this.inFlight = undefined;
    }
  }

  /** Sends a body until it is acknowledged; resolves with where its records are. */
  async push(
    client: Pushing,
    { sequence, body, pieces }: InFlight,
    abandoned: AbortSignal,
  ): Promise<Piece[]> {
    const options = { producer: this.producer, sequence, signal: abandoned };
    const { frame } = await patiently(() => client.push(this.stream.name, body, options), abandoned);
    return pieces(frame);
  }
}

/** The same until the host is there to answer it. */
export async function patiently<T>(call: () => Promise<T>, abandoned: AbortSignal): Promise<T> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      abandoned.throwIfAborted();
      if (!AWAY.has((error as { code?: string }).code!)) throw error;
      await sleep(PAUSE_MS);
    }
  }
}
