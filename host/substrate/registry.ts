/**
 * The registry of a cluster: what all its hosts must agree on, in a key-value bucket of JetStream. Each process reads a copy of its own, which
 * the server keeps up to date; it may be behind for a moment, so whoever decides by a value names its revision when he writes.
 *
 * A value is kept as JSON with the number of its write. So a write whose answer was lost is found again, and is not taken for that of someone
 * else; and what was edited by hand is told from what was written here.
 */
import { type KV, Kvm, type KvWatchEntry } from "@nats-io/kv";
import { HallelujahError, messageOf } from "../core/errors.ts";
import { type Registry, revisionConflict, Watchers } from "../store/registry.ts";
import { type Cluster, jetStreamCode, WRONG_LAST_SEQUENCE } from "./cluster.ts";
import { Link } from "./link.ts";

/** What the bucket says of itself: by that, one is known that belongs to someone else. */
const DESCRIPTION = "Hallelujah registry, version 1";
/** A message of a server holds 1 MiB, its headers included. */
const VALUE_BYTES_MAX = 1_000_000;
/** Time within which all values have to be there at the start, ms. */
const FILL_MS = 10_000;
/** Pause before changes are asked for again, ms. */
const FILL_RETRY_MS = 200;
/** How often it is asked how many changes there are, ms: what tells of them may have ended unnoticed, and says so after a minute only. */
const LOOK_MS = 1_000;

interface Kept {
  /** Undefined if it was removed. */
  text: string | undefined;
  revision: number;
  /** What the text says, once it was asked for. */
  read?: { value: unknown };
}

export class ClusterRegistry implements Registry {
  private readonly kv: KV;
  private readonly bucket: string;
  private readonly watchers = new Watchers();
  private readonly entries = new Map<string, Kept>();
  /** All changes up to this revision were told. */
  private told = 0;
  /** The latest revision that is known, as an answer to a write may tell of it first. */
  private latest = 0;
  /** Keys that are known to be removed, until all changes before were told. */
  private readonly removed = new Set<string>();
  /** How many changes are still to be told that are there: of keys that changed more than once, the last one is told alone, and its place with it. */
  private pending = 0;
  /** The last revision that was there when that was last asked. */
  private there = 0;
  private timer: NodeJS.Timeout | undefined;
  private stopWatching: () => void = () => {};
  private stopListening: () => void = () => {};
  private isClosed = false;
  private count = 0;
  /** Makes the numbers of writes those of this process alone. */
  private readonly writer = crypto.randomUUID();

  private constructor(kv: KV, bucket: string) {
    this.kv = kv;
    this.bucket = bucket;
  }

  /** Opens a bucket, and makes it if it is not there. Rejects with `cluster-foreign`, `cluster-refused` or `cluster-unreachable`. */
  static async open({ connection, replicas, url }: Cluster, bucket: string): Promise<ClusterRegistry> {
    let kv: KV;
    let status;
    try {
      kv = await new Kvm(connection).create(bucket, { history: 1, replicas, description: DESCRIPTION });
      status = await kv.status();
    } catch (cause) {
      const message = `the bucket ${bucket} cannot be had of ${url}: ${messageOf(cause)}`;
      throw new HallelujahError("cluster-refused", message, { cause });
    }
    const { state, config } = status.streamInfo;
    if (config.description !== DESCRIPTION)
      throw new HallelujahError(
        "cluster-foreign",
        `the bucket ${bucket} at ${url} belongs to something else, or to another version of Hallelujah; give this cluster another name, or remove the bucket`,
      );
    const registry = new ClusterRegistry(kv, bucket);
    try {
      await registry.fill(state.messages > 0);
    } catch (error) {
      registry.close();
      throw error;
    }
    registry.lookLater();
    const link = Link.of(connection);
    // What told of changes over the connection before tells nothing over this one.
    registry.stopListening = link.watch(() => {
      if (link.isUp) registry.stopWatching();
    });
    return registry;
  }

  get(key: string): { value: unknown; revision: number } | undefined {
    const kept = this.entries.get(key);
    if (kept?.text === undefined) return undefined;
    kept.read ??= { value: this.read(key, kept.text) };
    return { value: kept.read.value, revision: kept.revision };
  }

  get isWhole(): boolean {
    return this.pending === 0 && this.told >= this.latest;
  }

  list(prefix: string): string[] {
    const there = [...this.entries].filter(([key, { text }]) => text !== undefined && key.startsWith(prefix));
    return there.map(([key]) => key).toSorted();
  }

  async put(key: string, value: unknown, expected?: number): Promise<number> {
    const write = `${this.writer}.${++this.count}`;
    const text = JSON.stringify({ hallelujah: 1, write, value });
    if (Buffer.byteLength(text) > VALUE_BYTES_MAX)
      throw new HallelujahError(
        "registry-too-large",
        `${key} would take more than ${VALUE_BYTES_MAX} bytes in the registry, which is what a server keeps of one value`,
      );
    const revision = await this.write(key, write, expected, (at) => {
      if (expected === undefined) return this.kv.put(at, text);
      return expected === 0 ? this.kv.create(at, text) : this.kv.update(at, text, expected);
    });
    this.learn(key, { text, revision });
    return revision;
  }

  async delete(key: string, expected?: number): Promise<void> {
    const there = this.entries.get(key);
    if (expected !== undefined && (there?.text === undefined ? 0 : there.revision) !== expected)
      throw revisionConflict(key, there?.revision ?? 0, expected);
    if (there?.text === undefined) return;
    const { revision } = there;
    await this.write(key, undefined, expected ?? revision, (at) =>
      this.kv.delete(at, { previousSeq: revision }).then(() => revision),
    );
    // Its own number is told later; what comes between is of someone who wrote the key again.
    this.learn(key, { text: undefined, revision: revision + 1 });
  }

  watch(prefix: string, listener: (key: string) => void): () => void {
    return this.watchers.add(prefix, listener);
  }

  close(): void {
    this.isClosed = true;
    clearTimeout(this.timer);
    this.stopListening();
    this.stopWatching();
  }

  /** Carries a write out. One whose answer was lost counts if it is there. */
  private async write(
    key: string,
    write: string | undefined,
    expected: number | undefined,
    carryOut: (at: string) => Promise<number>,
  ): Promise<number> {
    const at = encodeKey(key);
    try {
      return await carryOut(at);
    } catch (cause) {
      const found = await this.kv.get(at).catch(() => undefined);
      const text = found && found.operation === "PUT" ? found.string() : undefined;
      if (write !== undefined && text !== undefined && writeOf(text) === write) return found!.revision;
      if (jetStreamCode(cause) === WRONG_LAST_SEQUENCE) {
        if (found) this.learn(key, { text, revision: found.revision });
        throw revisionConflict(key, text === undefined ? 0 : found!.revision, expected ?? 0);
      }
      const message = `${key} cannot be written to the registry of the cluster: ${messageOf(cause)}; it is not known whether it was`;
      throw new HallelujahError("registry-unwritable", message, { cause });
    }
  }

  /** Takes in all that is there, and goes on with what changes. */
  private async fill(hasAny: boolean): Promise<void> {
    const { there } = this; // what the watch begins with has all of these
    if (this.entries.size) this.pending = Infinity;
    const watch = await this.kv.watch();
    this.stopWatching = () => watch.stop();
    let filled = () => {};
    const all = new Promise<void>((done) => {
      filled = () => {
        // What was removed by hand is not told.
        this.told = Math.max(this.told, there);
        filled = () => {};
        done();
      };
    });
    const follow = async () => {
      for await (const entry of watch) {
        this.hear(entry);
        if (entry.delta === 0) filled();
      }
    };
    void follow()
      .catch(() => {})
      .then(() => this.watchAgain());
    if (!hasAny) return;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, fail) => {
      const error = new HallelujahError(
        "cluster-unreachable",
        `the bucket ${this.bucket} did not come within ${FILL_MS / 1000} s; is a server of the cluster missing?`,
      );
      timer = setTimeout(() => fail(error), FILL_MS);
    });
    try {
      await Promise.race([all, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** What told of changes has ended, as the bucket was made anew, or its server was away for too long. */
  private async watchAgain(): Promise<void> {
    while (!this.isClosed) {
      await new Promise((done) => setTimeout(done, FILL_RETRY_MS).unref());
      if (this.isClosed) return;
      try {
        return await this.fill(false);
      } catch {
        // The connection says why, and is made again.
      }
    }
  }

  private lookLater(): void {
    this.timer = setTimeout(() => {
      void this.look()
        .catch(() => {}) // the connection says why, and is made again
        .then(() => {
          if (!this.isClosed) this.lookLater();
        });
    }, LOOK_MS).unref();
  }

  /** Has changes told anew if those are not told that were there the last time. */
  private async look(): Promise<void> {
    if (this.told < this.there) this.stopWatching();
    const { streamInfo } = await this.kv.status();
    this.there = Math.max(this.there, streamInfo.state.last_seq);
    if (!streamInfo.state.messages) this.pending = 0;
  }

  private hear(entry: KvWatchEntry): void {
    if (this.isClosed) return;
    this.told = Math.max(this.told, entry.revision);
    this.pending = entry.delta ?? 0;
    const key = decodeKey(entry.key);
    this.learn(key, {
      text: entry.operation === "PUT" ? entry.string() : undefined,
      revision: entry.revision,
    });
    for (const each of this.removed) {
      const kept = this.entries.get(each);
      if (kept?.text === undefined && kept && kept.revision > this.told) continue;
      if (kept?.text === undefined) this.entries.delete(each);
      this.removed.delete(each);
    }
  }

  private learn(key: string, kept: Kept): void {
    const known = this.entries.get(key);
    if (known && known.revision >= kept.revision) return;
    this.latest = Math.max(this.latest, kept.revision);
    this.entries.set(key, kept);
    if (kept.text === undefined) this.removed.add(key);
    if (known?.text !== kept.text) this.watchers.tell(key);
  }

  private read(key: string, text: string): unknown {
    if (writeOf(text) === undefined)
      throw new HallelujahError(
        "registry-damaged",
        `${key} in the bucket ${this.bucket} is not what Hallelujah wrote there; put back what was there, or remove the key`,
      );
    return (JSON.parse(text) as { value: unknown }).value;
  }
}

/** The number of the write that made a value; undefined if it was made by something else. */
function writeOf(text: string): string | undefined {
  try {
    const { hallelujah, write } = JSON.parse(text) as { hallelujah?: unknown; write?: unknown };
    return hallelujah === 1 && typeof write === "string" ? write : undefined;
  } catch {
    return undefined;
  }
}

/** Keys of a bucket have letters, digits, `-`, `_`, `/` and `.`; any other byte is written as `=` and two hexadecimal digits. */
export function encodeKey(key: string): string {
  return [...Buffer.from(key)]
    .map((byte) => {
      const letter = String.fromCharCode(byte);
      return /[\w/-]/.test(letter) ? letter : `=${byte.toString(16).padStart(2, "0")}`;
    })
    .join("");
}

function decodeKey(encoded: string): string {
  const bytes = encoded.replace(/=([0-9a-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(bytes, "latin1").toString();
}
