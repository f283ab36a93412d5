/** What the servers of a simulated cluster keep: buckets, logs and values, each change at one moment, as JetStream does; and how a process reaches them. */
import { JetStreamApiError } from "@nats-io/jetstream";
import { type KV, Kvm } from "@nats-io/kv";
import { messageOf } from "../../../host/core/errors.ts";
import { HallelujahError } from "../../../host/core/errors.ts";
import { type Cluster, jetStreamCode, WRONG_LAST_SEQUENCE } from "../../../host/substrate/cluster.ts";
import { clusterError } from "../../../host/substrate/jetstream-error.ts";
import type { Message } from "../../../host/substrate/log-message.ts";
import type { Values } from "../../../host/substrate/values.ts";
import { revisionConflict } from "../../../host/store/registry.ts";
import { replace } from "../broken.ts";
import type { Lane, Process } from "./network.ts";

const URL = "nats://simulated";
/** A write whose answer did not come is tried so often. */
const TRIES = 5;

interface Kept {
  /** Undefined if it was removed. */
  text: string | undefined;
  revision: number;
}

/** A key-value bucket. */
export class Bucket {
  readonly entries = new Map<string, Kept>();
  revision = 0;
  private readonly watchers = new Set<(key: string, kept: Kept, delta: number) => void>();
  /** Hear of what a process asks for right when it is done. */
  onWrite: (key: string, text: string | undefined, by: Process) => void = () => {};
  onRead: (key: string, by: Process) => void = () => {};

  read(key: string, by: Process): Kept | undefined {
    this.onRead(key, by);
    return this.entries.get(key);
  }

  write(by: Process, key: string, text: string | undefined, expected?: number): number {
    const there = this.entries.get(key);
    if (expected !== undefined && (there?.revision ?? 0) !== expected) {
      // A key that was removed is made anew.
      if (expected !== 0 || there?.text !== undefined) throw wrongSequence();
    }
    const kept = { text, revision: ++this.revision };
    this.onWrite(key, text, by);
    this.entries.set(key, kept);
    for (const watcher of this.watchers) watcher(key, kept, 0);
    return kept.revision;
  }

  /** What was there from the start. */
  fill(values: ReadonlyMap<string, unknown>): void {
    for (const [key, value] of values) {
      const text = JSON.stringify({ hallelujah: 1, write: "first", value });
      this.entries.set(key, { text, revision: ++this.revision });
    }
  }

  watch(watcher: (key: string, kept: Kept, delta: number) => void): () => void {
    const all = [...this.entries].sort(([, a], [, b]) => a.revision - b.revision);
    all.forEach(([key, kept], i) => watcher(key, kept, all.length - 1 - i));
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  }
}

function wrongSequence(): JetStreamApiError {
  return new JetStreamApiError({
    code: 400,
    err_code: WRONG_LAST_SEQUENCE,
    description: "wrong last sequence",
  });
}

/** The messages of a log. */
export class LogMessages {
  readonly all: Message[] = [];

  publish(term: string, payload: Buffer, expect: { next: number } | { last: number | undefined }): number {
    const number = this.all.length;
    if ("next" in expect ? expect.next !== number : expect.last !== this.lastTerm?.number)
      throw wrongSequence();
    this.all.push({ number, term, isTerm: "last" in expect, payload });
    return number;
  }

  get lastTerm(): Message | undefined {
    return this.all.findLast(({ isTerm }) => isTerm);
  }
}

/** Values under names. */
export class ValueStore {
  readonly values = new Map<string, { bytes: Buffer; number: number }>();
  private number = 0;
  /** Hears of each change right when it is made. */
  onPut: (name: string, bytes: Buffer) => void = () => {};

  put(name: string, bytes: Buffer, expected?: number): number {
    const there = this.values.get(name)?.number ?? 0;
    if (expected !== undefined && there !== expected) throw revisionConflict(name, there, expected);
    this.onPut(name, bytes);
    this.values.set(name, { bytes, number: ++this.number });
    return this.number;
  }
}

export class Servers {
  readonly buckets = new Map<string, Bucket>();
  readonly logs = new Map<string, LogMessages>();
  readonly values = new Map<string, ValueStore>();

  bucket(name: string): Bucket {
    return made(this.buckets, name, () => new Bucket());
  }

  log(name: string): LogMessages {
    return made(this.logs, name, () => new LogMessages());
  }

  store(name: string): ValueStore {
    return made(this.values, name, () => new ValueStore());
  }
}

function made<T>(all: Map<string, T>, name: string, make: () => T): T {
  let found = all.get(name);
  if (!found) all.set(name, (found = make()));
  return found;
}

/** The cluster as a process reaches it: all of it that the registry and membership ask for is its buckets. */
export function clusterOf(servers: Servers, process: Process): Cluster {
  const connection = {
    // Whether a process is connected is not simulated: those that do not beat are lost, in time.
    subscribe: () => ({ unsubscribe: () => {} }),
    async *status() {},
    closed: () => new Promise(() => {}),
    request: () => Promise.reject(new Error("nothing was heard")),
    nc: true,
    bucket: (name: string, { description }: { description?: string }) =>
      new KvOfProcess(servers.bucket(name), process, description),
  };
  return { connection, replicas: 1, url: URL } as unknown as Cluster;
}

/** Has the client for buckets reach the simulated servers; answers what undoes that. */
export function replaceBuckets(): () => void {
  return replace(
    Kvm,
    "create",
    () =>
      async function (
        this: { js: { bucket: (name: string, options: object) => KV } },
        name: string,
        options = {},
      ) {
        return this.js.bucket(name, options);
      },
  );
}

/** The client's view of a bucket, as far as it is used. */
class KvOfProcess {
  private readonly bucket: Bucket;
  private readonly process: Process;
  private readonly description: string | undefined;

  constructor(bucket: Bucket, process: Process, description: string | undefined) {
    this.bucket = bucket;
    this.process = process;
    this.description = description;
  }

  private ask<T>(serve: () => T, timeoutMs?: number): Promise<T> {
    return this.process.network.request(this.process, serve, timeoutMs);
  }

  status() {
    return this.ask(() => ({
      streamInfo: {
        state: { messages: this.bucket.entries.size, last_seq: this.bucket.revision },
        config: { description: this.description },
      },
    }));
  }

  put(key: string, text: string): Promise<number> {
    return this.ask(() => this.bucket.write(this.process, key, text));
  }

  create(key: string, text: string): Promise<number> {
    return this.update(key, text, 0);
  }

  update(key: string, text: string, expected: number, timeoutMs?: number): Promise<number> {
    return this.ask(() => this.bucket.write(this.process, key, text, expected), timeoutMs);
  }

  async delete(key: string, { previousSeq }: { previousSeq: number }): Promise<void> {
    await this.ask(() => this.bucket.write(this.process, key, undefined, previousSeq));
  }

  get(key: string) {
    return this.ask(() => {
      const kept = this.bucket.read(key, this.process);
      return kept ? entryOf(key, kept, 0) : null;
    });
  }

  /** What is there, then what changes. */
  async watch() {
    const told = new Told();
    const lane: Lane = { at: 0 };
    const { process, bucket } = this;
    await this.ask(() => {
      let unwatch: (() => void) | undefined;
      unwatch = bucket.watch((key, kept, delta) => {
        if (process.isDead) unwatch?.();
        else process.network.tell(process, lane, () => told.push(entryOf(key, kept, delta)));
      });
    });
    return told;
  }
}

function entryOf(key: string, { text, revision }: Kept, delta: number) {
  return { key, revision, delta, operation: text === undefined ? "DEL" : "PUT", string: () => text ?? "" };
}

/** What a watcher is told, one after the other. */
class Told implements AsyncIterable<ReturnType<typeof entryOf>> {
  private readonly queue: ReturnType<typeof entryOf>[] = [];
  private isOver = false;
  private wake = () => {};

  push(entry: ReturnType<typeof entryOf>): void {
    this.queue.push(entry);
    this.wake();
  }

  stop(): void {
    this.isOver = true;
    this.wake();
  }

  async *[Symbol.asyncIterator]() {
    while (!this.isOver) {
      for (const entry of this.queue.splice(0)) yield entry;
      if (!this.queue.length && !this.isOver)
        await new Promise<void>((done) => {
          this.wake = done;
        });
    }
  }
}

/** The JetStream stream of a log, as far as `Claim` and a writer use it. */
export class LogOfProcess {
  readonly name: string;
  readonly link = { up: () => Promise.resolve(), isUp: true };
  private readonly messages: LogMessages;
  private readonly process: Process;

  constructor(servers: Servers, process: Process, name: string) {
    this.name = name;
    this.messages = servers.log(name);
    this.process = process;
  }

  get isClosed(): boolean {
    return this.process.isDead;
  }

  error(cause: unknown): HallelujahError {
    return clusterError(cause, `the log ${this.name}`, URL);
  }

  private ask<T>(serve: () => T): Promise<T> {
    return this.process.network.request(this.process, serve);
  }

  extents(): Promise<{ first: number; next: number }> {
    return this.ask(() => ({ first: 0, next: this.messages.all.length }));
  }

  lastTerm(): Promise<Message | undefined> {
    return this.ask(() => this.messages.lastTerm);
  }

  sendTerm(last: number | undefined, term: string, payload: Buffer): Promise<number> {
    return this.ask(() => this.messages.publish(term, payload, { last }));
  }

  async sendEntry(number: number, term: string, payload: Buffer): Promise<void> {
    await this.ask(() => this.messages.publish(term, payload, { next: number }));
  }

  /** Messages [0, to). */
  read(to: number): Promise<Message[]> {
    return this.ask(() => this.messages.all.slice(0, to));
  }
}

/** Values as a process reaches them: what was not answered is tried again, as in `ClusterValues`. */
export class ValuesOfProcess implements Values {
  readonly bytesMax: number = 2 ** 20;
  private readonly store: ValueStore;
  private readonly process: Process;

  constructor(servers: Servers, process: Process, name: string) {
    this.store = servers.store(name);
    this.process = process;
  }

  async put(name: string, bytes: Uint8Array, expected?: number): Promise<number> {
    const kept = Buffer.from(bytes);
    return this.tried(() => {
      const there = this.store.values.get(name);
      // It may have been this one, sent before.
      if (expected !== undefined && there && there.number > expected && there.bytes.equals(kept))
        return there.number;
      return this.store.put(name, kept, expected);
    });
  }

  get(name: string): Promise<{ bytes: Buffer; number: number } | undefined> {
    return this.tried(() => this.store.values.get(name));
  }

  list(prefix: string): Promise<string[]> {
    return this.tried(() => [...this.store.values.keys()].filter((name) => name.startsWith(prefix)));
  }

  async remove(name: string, below: number): Promise<void> {
    await this.tried(() => {
      const there = this.store.values.get(name);
      if (there && there.number < below) this.store.values.delete(name);
    });
  }

  async removeAll(prefix: string): Promise<void> {
    for (const name of await this.list(prefix)) await this.remove(name, Infinity);
  }

  async up(): Promise<void> {}

  close(): void {}

  private async tried<T>(serve: () => T): Promise<T> {
    for (let tries = 1; ; tries++) {
      try {
        return await this.process.network.request(this.process, serve);
      } catch (error) {
        if (error instanceof HallelujahError || jetStreamCode(error) !== undefined) throw error;
        if (tries === TRIES)
          throw new HallelujahError("cluster-unreachable", messageOf(error), { cause: error });
      }
    }
  }
}
