/** The log of a stream of a simulated host, and what has to be in it. */
import type { Log } from "../../host/store/log.ts";
import type { LogEntry } from "../../host/store/log-format.ts";
import { damagedError } from "../../host/store/segments.ts";
import { Broken } from "./rules.ts";
import { FRAME_BYTES } from "./workload.ts";

/** The product's log, over files of the simulated host; its frames count for more bytes than they have. */
export class FrameLog {
  /** What was acknowledged: for each frame, which one it was. */
  readonly acknowledged: number[] = [];
  private readonly log: Log;
  /** Frames below may be trimmed away, and are not needed. */
  private floor = 0;

  constructor(log: Log) {
    this.log = log;
  }
  get first(): number {
    return this.log.first;
  }
  get next(): number {
    return this.log.next;
  }
  get end(): number {
    return this.log.end;
  }
  place(frame: number) {
    if (frame < this.floor) throw new Broken(`frame ${frame} is needed, and was trimmed below ${this.floor}`);
    return { ...this.log.place(frame), bytes: FRAME_BYTES };
  }
  /** The frames from here on are needed, also those that were trimmed once, and that a loss of power has brought back. */
  needs(frame: number): void {
    this.floor = Math.min(this.floor, frame);
  }
  bytesFrom(frame: number): number {
    return Math.max(0, this.next - Math.max(frame, this.first)) * FRAME_BYTES;
  }
  appendGroup(entries: LogEntry[]): Promise<{ number: number }> {
    return this.log.appendGroup(entries);
  }
  get extents() {
    return this.log.extents;
  }
  kindsFrom(frame: number): Set<number> {
    return this.log.kindsFrom(frame);
  }
  /** Without its bytes, which would be put aside in files. */
  async read(frame: number): ReturnType<Log["read"]> {
    return { ...(await this.log.read(frame)), body: Buffer.alloc(0) };
  }
  heads(...given: Parameters<Log["heads"]>): ReturnType<Log["heads"]> {
    return this.log.heads(...given);
  }
  trim(below: number): Promise<void> {
    this.floor = Math.max(this.floor, below);
    return this.log.trim(below);
  }
  damageFrom(frame: number): ReturnType<Log["damageFrom"]> {
    return this.log.damageFrom(frame);
  }
  close(): Promise<void> {
    return this.log.close();
  }

  /**
   * What was acknowledged before is there, and whatever else is there was written: whole groups of frames. Of what was trimmed some
   * segments may be back, the last ones, so that nothing seems to be missing.
   */
  async holds({ acknowledged, floor }: FrameLog): Promise<void> {
    if (this.next < acknowledged.length)
      throw new Broken(`${acknowledged.length} frames were acknowledged, and ${this.next} are there`);
    const damage = this.damageFrom(this.first);
    if (damage) throw new Broken(`the log is taken for damaged: ${damagedError(damage).message}`);
    let left = 0;
    this.floor = floor;
    for (let frame = Math.max(this.first, floor); frame < this.next; frame++) {
      const { body } = await this.log.read(frame);
      const [which, follow] = [body.readUInt32LE(0), body.readUInt32LE(4)];
      if ((acknowledged[frame] ?? which) !== which)
        throw new Broken(`frame ${frame} is another one than was acknowledged`);
      if (left && follow !== left - 1) throw new Broken(`frame ${frame} follows a part of a group`);
      left = follow;
    }
    if (left) throw new Broken(`the last ${left} frames of a group are not there`);
    acknowledged.forEach((which, frame) => (this.acknowledged[frame] = which));
  }
}
