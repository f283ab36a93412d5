/**
 * The output of a stream of a simulated host: which kernel put out a row for which frame. As the product's, it drops frames that it has; a
 * write takes time, and is not synced unless that is asked for: when power goes, only the first so many of what was not are there. None
 * fails: whoever finds no room waits in real time (core/backoff.ts).
 */
import type { Outputs } from "../../host/store/outputs.ts";
import type { Circumstances } from "./files.ts";
import { Broken } from "./rules.ts";

/** A row: the frame that it comes from, and the version and the kernel that put it out. */
export interface Row {
  frame: number;
  version: number;
  kernel: number;
}

/** The row of a frame, as bytes; undefined where the kernel has none for it. */
export function rowOf({ frame, version, kernel }: Row): Buffer | undefined {
  return hasRow(frame, kernel) ? Buffer.from(Uint32Array.of(frame, version, kernel).buffer) : undefined;
}

/** Of kernels that follow one another, each has rows where the others have none. */
export function hasRow(frame: number, kernel: number): boolean {
  return (frame + kernel) % 3 > 0;
}

function parseRow(bytes: Buffer): Row {
  return { frame: bytes.readUInt32LE(0), version: bytes.readUInt32LE(4), kernel: bytes.readUInt32LE(8) };
}

export class SimulatedOutput {
  /** In the order in which they came. */
  rows: Row[] = [];
  private synced = 0;
  private underWay: Row | undefined;
  /** Of the host that runs; those that were killed never hear of what they began. */
  private host = {};
  private readonly chance: () => number;
  /** A row is to be put out, or is there already. */
  private readonly puts: (row: Row) => void;

  constructor(chance: () => number, puts: (row: Row) => void) {
    this.chance = chance;
    this.puts = puts;
  }

  /** The host ends where it stands; with `power`, so does what was not synced, or some of it. */
  crash(power: boolean): void {
    this.host = {};
    if (this.underWay && this.chance() < 0.5) this.rows.push(this.underWay);
    this.underWay = undefined;
    if (power)
      this.rows.length = this.synced + Math.floor(this.chance() * (this.rows.length - this.synced + 1));
    this.synced = Math.min(this.synced, this.rows.length);
  }

  /** What the host that runs now has of it. */
  of({ later, writing }: Pick<Circumstances, "later" | "writing">): Outputs {
    const { host } = this;
    const isHere = () => this.host === host;
    const takes = () => new Promise<void>((done) => later(writing(), () => isHere() && done()));
    const lastFrame = () => this.rows.at(-1)?.frame ?? -1;
    return {
      get lastFrame() {
        return lastFrame();
      },
      append: async (bytes: Buffer, count: number, frame: number) => {
        if (!isHere()) return new Promise(() => {});
        const row = parseRow(bytes);
        if (count !== 1 || row.frame !== frame || this.underWay)
          throw new Broken(`of frame ${frame} ${count} rows are put out, of which one is of ${row.frame}`);
        this.puts(row);
        if (frame <= lastFrame()) return;
        this.underWay = row;
        await takes();
        this.underWay = undefined;
        this.rows.push(row);
      },
      sync: async () => {
        const { length } = this.rows;
        await takes();
        this.synced = Math.max(this.synced, length);
      },
      end: () => {},
      close: async () => {},
    } as unknown as Outputs;
  }
}

/** Of a kernel without `late`. */
export const NO_OUTPUT = {
  next: 0,
  lastFrame: -1,
  append: async () => {},
  sync: async () => {},
  close: async () => {},
} as unknown as Outputs;
