/**
 * Values in a JetStream stream that has one message for each subject, the last. The number of a value is that of its message, so a removal that names a
 * number and comes late does not hit what was written since, by whomever.
 *
 * Why no key-value bucket or object store, which JetStream's clients have: a bucket leaves a message for each key that is removed, and removes
 * whatever is there; an object is several messages and a digest of its own, and each is read through a consumer of its own.
 */
import { setMaxListeners } from "node:events";
import {
  type JetStreamClient,
  jetstream,
  type JetStreamManager,
  type StoredMsg,
  type StreamInfo,
} from "@nats-io/jetstream";
import { Backoff } from "../core/backoff.ts";
import { HallelujahError } from "../core/errors.ts";
import { CLUSTER_ANSWER_MS, CLUSTER_PATIENCE_MS, FLIGHT_MS } from "../core/limits.ts";
import { revisionConflict } from "../store/registry.ts";
import { type Cluster, jetStreamCode, WRONG_LAST_SEQUENCE } from "./cluster.ts";
import { clusterError, NAME_TAKEN, NOT_FOUND } from "./jetstream-error.ts";
import { Link } from "./link.ts";
import type { Values } from "./values.ts";

const RETRY_MS = 50;
const RETRY_MS_MAX = 1_000;
/** What a server adds to a payload that counts towards its limit: headers, subjects. */
const MESSAGE_OVERHEAD = 1_024;

export interface ValuesOptions {
  /** Of the JetStream stream: letters, digits, `-` and `_`. */
  name: string;
  /** What is in it, for its description and for messages: `state of STREAM in CLUSTER`. */
  what: string;
  /** Time without success after which a call is given up, ms. */
  patienceMs?: number;
}

export class ClusterValues implements Values {
  private readonly name: string;
  private readonly what: string;
  private readonly url: string;
  private readonly patienceMs: number;
  private readonly js: JetStreamClient;
  private readonly manager: JetStreamManager;
  private readonly link: Link;
  private readonly payloadMax: () => number;
  private readonly closing = new AbortController();

  private constructor(
    cluster: Cluster,
    js: JetStreamClient,
    manager: JetStreamManager,
    options: ValuesOptions,
  ) {
    const { name, what, patienceMs = CLUSTER_PATIENCE_MS } = options;
    this.name = name;
    this.what = `the ${what}`;
    this.url = cluster.url;
    this.patienceMs = patienceMs;
    this.js = js;
    this.manager = manager;
    this.link = Link.of(cluster.connection);
    setMaxListeners(0, this.closing.signal); // each call that is under way
    this.payloadMax = () => (cluster.connection.info?.max_payload ?? 2 ** 20) - MESSAGE_OVERHEAD;
  }

  /**
   * Opens the stream, and makes it if it is not there. Rejects with `cluster-foreign`, `cluster-refused`, `cluster-unreachable` or `disk-full`, as all calls do, and
   * they with `cluster-lost` if it was removed.
   */
  static async open(cluster: Cluster, options: ValuesOptions): Promise<ClusterValues> {
    const values = await ClusterValues.at(cluster, options);
    const info = await values.tried(
      async () => (await values.info()) ?? (await values.make(cluster.replicas)),
    );
    values.check(info);
    return values;
  }

  /** Removes the stream with all that is in it, if it is there. Rejects as `open` does. */
  static async remove(cluster: Cluster, options: ValuesOptions): Promise<void> {
    const values = await ClusterValues.at(cluster, options);
    await values.tried(async () => {
      const info = await values.info();
      if (!info) return;
      values.check(info);
      await values.manager.streams.delete(values.name).catch(ignoring(NOT_FOUND));
    });
  }

  private static async at(cluster: Cluster, options: ValuesOptions): Promise<ClusterValues> {
    if (!/^[\w-]{1,200}$/.test(options.name))
      throw new TypeError(`${JSON.stringify(options.name)} cannot be the name of a JetStream stream`);
    const js = jetstream(cluster.connection, { timeout: CLUSTER_ANSWER_MS });
    return new ClusterValues(cluster, js, await js.jetstreamManager(false), options);
  }

  get bytesMax(): number {
    return this.payloadMax();
  }

  put(name: string, bytes: Uint8Array, expected?: number): Promise<number> {
    const expect = expected === undefined ? undefined : { lastSubjectSequence: expected };
    return this.tried(async () => {
      try {
        const options = { timeout: FLIGHT_MS, ...(expect ? { expect } : {}) };
        return (await this.js.publish(`${this.name}.${name}`, bytes, options)).seq;
      } catch (error) {
        // Who sends to a stream that was removed is not told.
        if (jetStreamCode(error) === undefined && this.link.isUp) await this.manager.streams.info(this.name);
        if (!expect || jetStreamCode(error) !== WRONG_LAST_SEQUENCE) throw error;
        // It may have been this one, sent before.
        const there = await this.newest(name);
        if (there && Buffer.compare(there.bytes, bytes) === 0) return there.number;
        throw revisionConflict(name, there?.number ?? 0, expected!);
      }
    });
  }

  get(name: string, { isFixed = false } = {}): Promise<{ bytes: Buffer; number: number } | undefined> {
    return this.tried(async () => (isFixed ? await this.any(name) : undefined) ?? (await this.newest(name)));
  }

  list(prefix: string): Promise<string[]> {
    return this.tried(async () => {
      const { state } = await this.manager.streams.info(this.name, {
        subjects_filter: `${this.name}.${prefix}>`,
      });
      return Object.keys(state.subjects ?? {}).map((subject) => subject.slice(this.name.length + 1));
    });
  }

  async remove(name: string, below: number): Promise<void> {
    if (below <= 1) return; // which a server takes for no bound
    await this.tried(async () => {
      const filter = `${this.name}.${name}`;
      await this.manager.streams.purge(this.name, below === Infinity ? { filter } : { filter, seq: below });
    });
  }

  removeAll(prefix: string): Promise<void> {
    return this.tried(async () => {
      await this.manager.streams.purge(this.name, { filter: `${this.name}.${prefix}>` });
    });
  }

  up(): Promise<void> {
    return this.link.up(this.patienceMs);
  }

  close(): void {
    this.closing.abort();
  }

  /** As the leader of the stream has it. */
  private async newest(name: string): Promise<{ bytes: Buffer; number: number } | undefined> {
    const found = await this.manager.streams.getMessage(this.name, {
      last_by_subj: `${this.name}.${name}`,
    });
    return found ? valueOf(found) : undefined;
  }

  /** As any server of the cluster has it, which may be behind; as it is, and not as base64. */
  private async any(name: string): Promise<{ bytes: Buffer; number: number } | undefined> {
    const found = await this.manager.direct
      .getMessage(this.name, { last_by_subj: `${this.name}.${name}` })
      .catch(ignoring(NOT_FOUND));
    return found ? valueOf(found) : undefined;
  }

  /** Does something that can be done again, until it succeeds or patience is over. */
  private async tried<T>(work: () => Promise<T>): Promise<T> {
    const backoff = new Backoff(RETRY_MS, RETRY_MS_MAX);
    for (const until = performance.now() + this.patienceMs; ; ) {
      try {
        await this.link.up(Math.min(this.patienceMs, CLUSTER_ANSWER_MS));
        return await this.unlessLost(work);
      } catch (cause) {
        const error = clusterError(cause, this.what, this.url);
        const isTransient = error.code === "cluster-unreachable" || error.code === "cluster-refused";
        if (!isTransient || this.closing.signal.aborted || performance.now() > until) throw error;
        await backoff.pause(this.closing.signal);
      }
    }
  }

  /** Ends with the connection: an answer that was lost with it does not come. */
  private async unlessLost<T>(work: () => Promise<T>): Promise<T> {
    const { signal } = this.closing;
    let stop = () => {};
    const lost = new Promise<never>((_, fail) => {
      const end = (why: string) => () => fail(new Error(why));
      if (signal.aborted) end("it is closed")();
      const unwatch = this.link.watch(() => {
        if (!this.link.isUp) end("the connection was lost")();
      });
      const closed = end("it is closed");
      signal.addEventListener("abort", closed);
      stop = () => {
        unwatch();
        signal.removeEventListener("abort", closed);
      };
    });
    try {
      return await Promise.race([lost, work()]);
    } finally {
      stop();
    }
  }

  private async info(): Promise<StreamInfo | undefined> {
    return this.manager.streams.info(this.name).catch(ignoring(NOT_FOUND));
  }

  private async make(replicas: number): Promise<StreamInfo> {
    const made = await this.manager.streams
      .add({
        name: this.name,
        description: this.description,
        subjects: [`${this.name}.>`],
        retention: "limits",
        storage: "file",
        discard: "new",
        max_msgs_per_subject: 1,
        allow_direct: true,
        num_replicas: replicas,
      })
      .catch(ignoring(NAME_TAKEN));
    return made ?? this.manager.streams.info(this.name); // another host was quicker
  }

  private get description(): string {
    return `Hallelujah ${this.what.slice("the ".length)}, version 1`;
  }

  private check({ config }: StreamInfo): void {
    if (config.description === this.description && config.max_msgs_per_subject === 1) return;
    throw new HallelujahError(
      "cluster-foreign",
      `the JetStream stream ${this.name} at ${this.url} belongs to something else, or to another version of Hallelujah; give this cluster another name, or remove the stream`,
    );
  }
}

function valueOf({ data, seq }: StoredMsg): { bytes: Buffer; number: number } {
  return { bytes: Buffer.from(data.buffer, data.byteOffset, data.length), number: seq };
}

function ignoring(code: number): (error: unknown) => undefined {
  return (error) => {
    if (jetStreamCode(error) !== code) throw error;
    return undefined;
  };
}
