/**
 * Whether processes of the cluster are connected, as their servers know it. Each listens at a subject of its own, and answers there with its id.
 * When one is killed, its connection ends, and the server says to whoever asks that nobody listens.
 */
import type { NatsConnection, Subscription } from "@nats-io/transport-node";
import { RequestError } from "@nats-io/transport-node";
import type { Asked } from "./liveness.ts";

export class Presence {
  private readonly connection: NatsConnection;
  private readonly prefix: string;
  private readonly listening: Subscription;
  /** The connection that was last asked over: it is made again when it is lost. */
  private over: string;

  /** Answers for `process` from now on. All of a cluster have subjects that begin with `prefix`. */
  constructor(connection: NatsConnection, prefix: string, process: string) {
    this.connection = connection;
    this.prefix = prefix;
    this.over = this.made;
    this.listening = connection.subscribe(`${prefix}.${process}`, {
      callback: (error, message) => {
        if (!error) message.respond(process);
      },
    });
  }

  /** Asks the process of each member. Nothing counts if the connection is not the one of the last time: the others may be on their way back too. */
  async ask(processes: ReadonlyMap<string, string>, timeoutMs: number): Promise<Map<string, Asked>> {
    const all = [...processes].map(async ([member, process]): Promise<[string, Asked]> => {
      return [member, { process, word: await this.wordOf(process, timeoutMs) }];
    });
    const asked = new Map(await Promise.all(all));
    const isSame = this.made === this.over;
    this.over = this.made;
    return isSame ? asked : new Map();
  }

  /** What tells the connection as it was made last from those before. */
  private get made(): string {
    const { server_id, client_id } = this.connection.info ?? {};
    return `${server_id} ${client_id}`;
  }

  private async wordOf(process: string, timeout: number): Promise<Asked["word"]> {
    try {
      const answer = await this.connection.request(`${this.prefix}.${process}`, undefined, { timeout });
      return answer.string() === process ? "here" : "nothing";
    } catch (error) {
      return error instanceof RequestError && error.isNoResponders() ? "nobody" : "nothing";
    }
  }

  /** Answers no more. */
  close(): void {
    this.listening.unsubscribe();
  }
}
