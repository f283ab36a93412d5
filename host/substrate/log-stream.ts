/**
 * The JetStream stream of a log, and what is asked of it. Its description says whose it is, and has a mark of its own: one that is removed and
 * made again is another, though it has the same name.
 */
import {
  type JetStreamClient,
  jetstream,
  type JetStreamManager,
  type StoredMsg,
  type StreamInfo,
} from "@nats-io/jetstream";
import { headers, type NatsConnection } from "@nats-io/transport-node";
import { HallelujahError, messageOf } from "../core/errors.ts";
import {
  CLUSTER_ANSWER_MS,
  CLUSTER_PATIENCE_MS,
  CLUSTER_PULL_BEAT_MS,
  CLUSTER_PULL_MS,
  FLIGHT_MS,
  LOG_BATCH_BYTES,
} from "../core/limits.ts";
import { type Cluster, jetStreamCode } from "./cluster.ts";
import { Link } from "./link.ts";
import { type Message, TERM_HEADER } from "./log-message.ts";

/** Whose log it is. */
export interface LogNames {
  /** The cluster's name. */
  cluster: string;
  stream: string;
  /** Of this stream alone: one that is removed and made again has another. */
  identity: string;
}

/** Errors of JetStream, by number: there is no such stream, its name is taken, and so are its subjects. */
const NOT_FOUND = 10059;
const NAME_TAKEN = 10058;
const SUBJECTS_TAKEN = 10065;
/** There is no room: memory or disk of the server or account, or the file system said so. */
const NO_ROOM = [10023, 10028, 10047, 10077];

const DESCRIPTION = /^Hallelujah log of [\w-]+ in [\w-]+, version 1, made ([0-9a-f-]{36})$/;
/** What a server adds to a payload that counts towards its limit: headers, subjects. */
const MESSAGE_OVERHEAD = 1_024;

/** Messages that were to be read have been trimmed meanwhile. */
export class Trimmed extends Error {}

/** What a stream has: messages of the numbers [first, next). */
export interface Extents {
  first: number;
  next: number;
}

export class LogStream {
  readonly name: string;
  /** Tells it from any other that had, or will have, its name. */
  readonly made: string;
  readonly link: Link;
  private readonly url: string;
  private readonly js: JetStreamClient;
  private readonly manager: JetStreamManager;
  private readonly connection: NatsConnection;

  private constructor(cluster: Cluster, js: JetStreamClient, manager: JetStreamManager, info: StreamInfo) {
    this.name = info.config.name;
    this.url = cluster.url;
    this.link = Link.of(cluster.connection);
    this.js = js;
    this.manager = manager;
    this.connection = cluster.connection;
    const made = DESCRIPTION.exec(info.config.description ?? "")?.[1];
    if (made === undefined)
      throw new HallelujahError(
        "cluster-foreign",
        `the JetStream stream ${this.name} at ${this.url} belongs to something else, or to another version of Hallelujah; give this cluster another name, or remove the stream`,
      );
    this.made = made;
  }

  /** Opens it, and makes it if it is not there. Rejects with `cluster-foreign`, `cluster-refused`, `cluster-unreachable` or `disk-full`. */
  static async open(cluster: Cluster, names: LogNames): Promise<LogStream> {
    const js = jetstream(cluster.connection, { timeout: CLUSTER_ANSWER_MS });
    const manager = await js.jetstreamManager(false);
    const name = nameOf(names);
    try {
      const found = await lookUp(manager, name);
      return new LogStream(
        cluster,
        js,
        manager,
        found ?? (await make(manager, name, names, cluster.replicas)),
      );
    } catch (cause) {
      throw errorOf(cause, `the log ${name}`, cluster.url);
    }
  }

  /** Whether it is there. Rejects as `open` does. */
  static async isThere(cluster: Cluster, names: LogNames): Promise<boolean> {
    const js = jetstream(cluster.connection, { timeout: CLUSTER_ANSWER_MS });
    const manager = await js.jetstreamManager(false);
    const name = nameOf(names);
    try {
      return (await lookUp(manager, name)) !== undefined;
    } catch (cause) {
      throw errorOf(cause, `the log ${name}`, cluster.url);
    }
  }

  /** Removes it with all that is in it, if it is there. Rejects as `open` does. */
  static async remove(cluster: Cluster, names: LogNames): Promise<void> {
    const js = jetstream(cluster.connection, { timeout: CLUSTER_ANSWER_MS });
    const manager = await js.jetstreamManager(false);
    const name = nameOf(names);
    try {
      const found = await lookUp(manager, name);
      if (found) await manager.streams.delete(new LogStream(cluster, js, manager, found).name);
    } catch (cause) {
      if (jetStreamCode(cause) !== NOT_FOUND) throw errorOf(cause, `the log ${name}`, cluster.url);
    }
  }

  /** Bytes of the largest entry, with its header and head. */
  get entryBytesMax(): number {
    return (this.connection.info?.max_payload ?? 2 ** 20) - MESSAGE_OVERHEAD;
  }

  /** Whether this host has ended its connection. */
  get isClosed(): boolean {
    return this.connection.isClosed();
  }

  /** An error of JetStream, as a user is told. */
  error(cause: unknown): HallelujahError {
    return errorOf(cause, `the log ${this.name}`, this.url);
  }

  async extents(): Promise<Extents> {
    const { state } = await this.manager.streams.info(this.name);
    return { first: Math.max(0, state.first_seq - 1), next: state.last_seq };
  }

  /** The entry that began the last term; undefined before the first. */
  async lastTerm(): Promise<Message | undefined> {
    const found = await this.manager.streams.getMessage(this.name, { last_by_subj: `${this.name}.term` });
    return found ? stored(found) : undefined;
  }

  /** Undefined if it is not there, or not any more. */
  async message(number: number): Promise<Message | undefined> {
    const found = await this.manager.streams.getMessage(this.name, { seq: number + 1 });
    return found ? stored(found) : undefined;
  }

  /** Sends an entry that is to be `number`; resolves when it is kept. Rejects if another has that number, or it is not known what became of it. */
  async sendEntry(number: number, term: string, payload: Buffer): Promise<void> {
    const kept = await this.send("entry", term, payload, { lastSequence: number });
    if (kept !== number) throw new Error(`entry ${number} was kept as ${kept}`);
  }

  /**
   * Sends an entry that begins a term; resolves with its number when it is kept. Rejects if another one has been begun after the one whose entry
   * is `last`, or it is not known what became of it.
   */
  sendTerm(last: number | undefined, term: string, payload: Buffer): Promise<number> {
    return this.send("term", term, payload, { lastSubjectSequence: last === undefined ? 0 : last + 1 });
  }

  private async send(
    kind: "entry" | "term",
    term: string,
    payload: Buffer,
    expect: { lastSequence: number } | { lastSubjectSequence: number },
  ): Promise<number> {
    const said = headers();
    said.set(TERM_HEADER, term);
    const options = { headers: said, expect, timeout: FLIGHT_MS };
    const { seq } = await this.js.publish(`${this.name}.${kind}`, payload, options);
    return seq - 1;
  }

  /** The messages [from, to), in order. Rejects with `Trimmed`, or `cluster-unreachable` if none comes for too long. */
  async *messages(from: number, to: number): AsyncGenerator<Message> {
    if (from >= to) return;
    const consumer = await this.js.consumers.get(this.name, { opt_start_seq: from + 1 });
    const messages = await consumer.consume({
      max_bytes: LOG_BATCH_BYTES,
      expires: CLUSTER_PULL_MS,
      idle_heartbeat: CLUSTER_PULL_BEAT_MS,
    });
    const giveUp = () => messages.stop(new Error(`nothing came for ${CLUSTER_PATIENCE_MS / 1000} s`));
    let timer = setTimeout(giveUp, CLUSTER_PATIENCE_MS);
    try {
      for await (const { seq, subject, headers: said, data } of messages) {
        if (seq !== from + 1) throw new Trimmed();
        clearTimeout(timer);
        yield messageAt(seq, subject, said?.get(TERM_HEADER), data);
        if (++from === to) return;
        timer = setTimeout(giveUp, CLUSTER_PATIENCE_MS);
      }
      throw new Error("what tells its messages has ended");
    } finally {
      clearTimeout(timer);
      messages.stop();
      void consumer.delete().catch(() => {}); // else it ends by itself
    }
  }

  /** Forgets all messages below. */
  async purge(below: number): Promise<void> {
    await this.manager.streams.purge(this.name, { seq: below + 1 });
  }
}

function nameOf({ cluster, stream, identity }: LogNames): string {
  for (const part of [cluster, stream, identity])
    if (!/^[\w-]{1,64}$/.test(part))
      throw new TypeError(`${JSON.stringify(part)} cannot be part of a log's name`);
  return `${cluster}-log-${stream}-${identity}`;
}

async function lookUp(manager: JetStreamManager, name: string): Promise<StreamInfo | undefined> {
  try {
    return await manager.streams.info(name);
  } catch (error) {
    if (jetStreamCode(error) === NOT_FOUND) return undefined;
    throw error;
  }
}

async function make(
  manager: JetStreamManager,
  name: string,
  { cluster, stream }: LogNames,
  replicas: number,
): Promise<StreamInfo> {
  try {
    return await manager.streams.add({
      name,
      description: `Hallelujah log of ${stream} in ${cluster}, version 1, made ${crypto.randomUUID()}`,
      subjects: [`${name}.entry`, `${name}.term`],
      retention: "limits",
      storage: "file",
      discard: "new",
      num_replicas: replicas,
      deny_delete: true,
    });
  } catch (error) {
    if (jetStreamCode(error) !== NAME_TAKEN) throw error;
    return manager.streams.info(name); // another host was quicker
  }
}

function messageAt(seq: number, subject: string, term: string | undefined, data: Uint8Array): Message {
  const payload = Buffer.from(data.buffer, data.byteOffset, data.length);
  return { number: seq - 1, term: term ?? "", isTerm: subject.endsWith(".term"), payload };
}

function stored({ seq, subject, header, data }: StoredMsg): Message {
  return messageAt(seq, subject, header.get(TERM_HEADER), data);
}

function errorOf(cause: unknown, what: string, url: string): HallelujahError {
  if (cause instanceof HallelujahError) return cause;
  const code = jetStreamCode(cause);
  const why = messageOf(cause);
  if (code !== undefined && NO_ROOM.includes(code))
    return new HallelujahError(
      "disk-full",
      `the servers at ${url} have no room for ${what}, nothing was stored; make room there, or raise what JetStream may take, and send it again (${why})`,
      { cause },
    );
  if (code === SUBJECTS_TAKEN)
    return new HallelujahError(
      "cluster-foreign",
      `the subjects of ${what} at ${url} belong to something else: ${why}; give this cluster another name, or remove the JetStream stream that has them`,
      { cause },
    );
  if (code === NOT_FOUND)
    return new HallelujahError(
      "cluster-lost",
      `${what} is gone from ${url}: someone removed its JetStream stream`,
      {
        cause,
      },
    );
  if (code !== undefined)
    return new HallelujahError("cluster-refused", `${what} cannot be had of ${url}: ${why}`, { cause });
  return new HallelujahError(
    "cluster-unreachable",
    `${what} cannot be reached at ${url}: ${why}; it goes on when JetStream answers there again`,
    { cause },
  );
}
