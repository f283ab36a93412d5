/** Whether a connection is there: what was sent over one that is lost has to be looked for. */
import type { NatsConnection } from "@nats-io/transport-node";

export class Link {
  private static readonly known = new WeakMap<NatsConnection, Link>();
  private readonly listeners = new Set<() => void>();
  isUp = true;

  private constructor(connection: NatsConnection) {
    void this.follow(connection);
    void connection.closed().then(() => this.changed(false));
  }

  /** That of a connection: one, however many ask. */
  static of(connection: NatsConnection): Link {
    const found = Link.known.get(connection) ?? new Link(connection);
    Link.known.set(connection, found);
    return found;
  }

  /** `listener` hears of each change, until what this answers is called. */
  watch(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Resolves when the connection is there, or `ms` are over. */
  async up(ms: number): Promise<void> {
    if (this.isUp) return;
    let stop = () => {};
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((done) => {
      timer = setTimeout(done, ms);
      stop = this.watch(() => {
        if (this.isUp) done();
      });
    });
    clearTimeout(timer);
    stop();
  }

  private async follow(connection: NatsConnection): Promise<void> {
    for await (const { type } of connection.status()) {
      if (type === "disconnect") this.changed(false);
      if (type === "reconnect") this.changed(true);
    }
  }

  private changed(isUp: boolean): void {
    this.isUp = isUp;
    for (const listener of this.listeners) listener();
  }
}
