/**
 * Of the frames that stop a kernel in one partition, which partitions have had them; and what it takes that one is passed without
 * its records.
 */
import type { Stream } from "../../host/hallelu/stream.ts";
import type { StreamRecord } from "../../host/hallelu/record.ts";
import { Broken } from "./rules.ts";

export class Verdicts {
  private readonly known = new Map<Stream, Map<number, Uint8Array>>();

  /** The host was started again: whatever is in no checkpoint is decided anew. */
  restarted(): void {
    this.known.clear();
  }

  /** The frames from `frame` on are applied anew, as none of them was answered. */
  rolledBack(stream: Stream, frame: number): void {
    const frames = this.known.get(stream) ?? new Map<number, Uint8Array>();
    for (const number of frames.keys()) if (number >= frame) frames.delete(number);
  }

  /** The Hallelu knows that these partitions have a frame, so that it may be in an answer. */
  had(stream: Stream, frame: number, partitions: Uint8Array): void {
    let frames = this.known.get(stream);
    if (!frames) this.known.set(stream, (frames = new Map()));
    const before = frames.get(frame);
    frames.set(
      frame,
      partitions.map((each, p) => each | (before?.[p] ?? 0)),
    );
  }

  /** An owner passes a frame without its records in some partitions: the registry has to know. */
  passes(stream: Stream, frame: number, voided: Uint8Array, registered: StreamRecord | undefined): void {
    const letters = (registered?.dead ?? []).filter((letter) => letter.frame === frame);
    const known = this.known.get(stream)?.get(frame);
    voided.forEach((each, p) => {
      if (each && known?.[p])
        throw new Broken(`${stream.name}: frame ${frame} is set aside for partition ${p}, which has had it`);
      if (each && !letters.some(({ from, to }) => from <= p && p < to))
        throw new Broken(
          `${stream.name}: frame ${frame} is set aside for ${p}, and the registry does not say so`,
        );
    });
  }
}
