/** Outputs that are followed all the time, each row of which is checked: they tell when a stream goes on after a fault. */
import type { Hallelujah } from "../../host/client/live.ts";
import type { Taken } from "../soak/handled.ts";
import type { Loader } from "../soak/loader.ts";
import type { StreamSpec } from "../soak/streams.ts";
import { Subscriber } from "../soak/subscriber.ts";

interface Waiter {
  least: number;
  done: (at: number) => void;
}

export class Probe {
  readonly name: string;
  private readonly loader: Loader;
  readonly client: Pick<Hallelujah, "output" | "stream">;
  private readonly subscriber: Subscriber;
  private readonly waiters = new Set<Waiter>();

  constructor(spec: StreamSpec, loader: Loader, client: Pick<Hallelujah, "output" | "stream">) {
    this.name = spec.name;
    this.loader = loader;
    this.client = client;
    this.subscriber = new Subscriber(spec, ({ n }) => this.came(n as number));
  }

  follow(signal: AbortSignal): Promise<void> {
    return this.subscriber.follow(this, signal);
  }

  complete(taken: Taken, abandoned: AbortSignal): Promise<void> {
    return this.subscriber.complete(this, taken, abandoned);
  }

  /** Resolves with when a row comes of a record that has not been sent yet. */
  next(): Promise<number> {
    return new Promise((done) => this.waiters.add({ least: this.loader.sent, done }));
  }

  private came(n: number): void {
    for (const waiter of this.waiters) {
      if (n < waiter.least) continue;
      this.waiters.delete(waiter);
      waiter.done(performance.now());
    }
  }
}
