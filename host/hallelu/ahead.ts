/** The part of a visit that Jahs do besides the one in which all comes together. */
import { VISIT_AHEAD_BYTES, VISIT_TAKE_BYTES } from "../core/limits.ts";
import type { Visited, VisitStep } from "../wire/visit.ts";

/** What another Jah visits, before it is merged: as much as may wait. */
export class Ahead {
  private readonly steps: AsyncIterable<VisitStep>;
  private waiting: Visited[][] = [];
  private bytes = 0;
  private over = false;
  private failure: unknown;
  private waiters: (() => void)[] = [];

  constructor(steps: AsyncIterable<VisitStep>) {
    this.steps = steps;
    void this.run();
  }

  stop(): void {
    this.over = true;
    this.wake();
  }

  private async run(): Promise<void> {
    try {
      for await (const { visited } of this.steps) {
        if (visited.length) this.waiting.push(visited);
        this.bytes += sizeOf(visited);
        this.wake();
        while (this.bytes > VISIT_AHEAD_BYTES && !this.over) await this.changed();
        if (this.over) break;
      }
      this.over = true;
    } catch (error) {
      this.failure = error;
      this.over = true;
    }
    this.wake();
  }

  private wake(): void {
    for (const done of this.waiters.splice(0)) done();
  }

  private changed(): Promise<void> {
    return new Promise((done) => this.waiters.push(done));
  }

  /** All of it, as much at a time as is there and is merged in a few milliseconds. */
  async *all(): AsyncGenerator<Visited[]> {
    for (;;) {
      const together: Visited[] = [];
      for (let bytes = 0; this.waiting.length && bytes < VISIT_TAKE_BYTES; ) {
        const visited = this.waiting.shift()!;
        bytes += sizeOf(visited);
        together.push(...visited);
      }
      if (together.length) {
        this.bytes -= sizeOf(together);
        this.wake();
        yield together;
      } else if (this.failure !== undefined) throw this.failure;
      else if (this.over) return;
      else await this.changed();
    }
  }
}

function sizeOf(visited: Visited[]): number {
  const bytes = (chunks: Uint8Array[]) => chunks.reduce((sum, { length }) => sum + length, 0);
  return visited.reduce((sum, each) => sum + bytes(each.parts) + bytes(each.emitted), 0);
}
