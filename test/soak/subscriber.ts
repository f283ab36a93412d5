/** Follows an output all the time, over all ends of the host: each row comes once, in order. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Hallelujah } from "../../host/client/live.ts";
import type { Taken } from "./handled.ts";
import type { Row } from "./series.ts";
import type { StreamSpec } from "./streams.ts";
import { endOutput } from "./verify.ts";

/** What tells the client by now: that of a host changes when it is started again. */
interface Followed {
  readonly client: Pick<Hallelujah, "output" | "stream">;
}

export class Subscriber {
  private readonly stream: StreamSpec;
  private readonly onRow: (row: Row) => void;
  private readonly check;
  private taken = 0;

  /** `onRow` hears of each row that came as it should. */
  constructor(stream: StreamSpec, onRow: (row: Row) => void = () => {}) {
    this.stream = stream;
    this.onRow = onRow;
    this.check = stream.output!();
  }

  async follow({ client }: Followed, signal: AbortSignal): Promise<void> {
    const { name } = this.stream;
    try {
      for await (const { row } of client.output(name, { from: 0, signal })) {
        this.check.take(row);
        this.taken++;
        this.onRow(row);
      }
    } catch (error) {
      if (!signal.aborted)
        throw new Error(`the output of ${name} was followed: ${(error as Error).message}`, { cause: error });
    }
  }

  /** Waits for the last row; throws unless those that came are all. */
  async complete({ client }: Followed, taken: Taken, abandoned: AbortSignal): Promise<void> {
    const { outputs } = await client.stream(this.stream.name);
    while (this.taken < outputs) {
      abandoned.throwIfAborted();
      await sleep(50);
    }
    if (this.taken > outputs)
      throw new Error(`${this.stream.name} sent ${this.taken} rows, and has ${outputs}`);
    endOutput(this.check, this.stream, taken);
  }
}
