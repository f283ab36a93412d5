/**
 * Pieces of at most 512 KiB by the hash of their content, SHA-256: what is there is not sent again, and what is read is what was stored, or an error.
 * They are pages of snapshots, what tells which pages these are, and modules of kernels.
 */
import { createHash } from "node:crypto";
import { HallelujahError } from "../core/errors.ts";
import { BLOB_BYTES_MAX, BLOB_FLIGHT_BYTES, BLOBS_AT_ONCE } from "../core/limits.ts";
import { inParallel } from "./parallel.ts";
import type { Values } from "./values.ts";

/** In base64url: 43 letters that a subject of NATS takes. */
export function hashOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("base64url");
}

/** All calls reject with what `Values` rejects with, too. */
export class Blobs {
  private readonly values: Values;
  private readonly prefix: string;
  /** What need not be sent. */
  private known = new Set<string>();
  /** What is being sent. */
  private sending = new Map<string, Promise<void>>();
  private flightBytes = 0;
  private waiting: (() => void)[] = [];
  /** Bytes that were sent, and are there. */
  sentBytes = 0;

  /** `prefix` is parts of a name, each with a dot behind it; the blobs of another prefix are others. */
  constructor(values: Values, prefix: string) {
    this.values = values;
    this.prefix = prefix;
  }

  /** Stores a blob, unless it is known to be there; resolves with its hash when it is kept. `bytes` must stay as they are until then. */
  async put(bytes: Uint8Array, hash: string = hashOf(bytes)): Promise<string> {
    if (bytes.length > BLOB_BYTES_MAX) throw new TypeError(`a blob of ${bytes.length} bytes is too large`);
    if (this.known.has(hash)) return hash;
    let sending = this.sending.get(hash);
    if (!sending) {
      sending = this.send(hash, bytes, this.known, this.sending);
      this.sending.set(hash, sending);
    }
    await sending;
    return hash;
  }

  private async send(
    hash: string,
    bytes: Uint8Array,
    known: Set<string>,
    sending: Map<string, Promise<void>>,
  ): Promise<void> {
    while (this.flightBytes >= BLOB_FLIGHT_BYTES) await this.room();
    this.flightBytes += bytes.length;
    try {
      await this.values.put(this.prefix + hash, bytes);
      known.add(hash);
      this.sentBytes += bytes.length;
    } finally {
      sending.delete(hash);
      this.flightBytes -= bytes.length;
      for (const go of this.waiting.splice(0)) go();
    }
  }

  /** Resolves when another blob would be sent at once. */
  async room(): Promise<void> {
    while (this.flightBytes >= BLOB_FLIGHT_BYTES) await new Promise<void>((go) => this.waiting.push(go));
  }

  /** Whether a blob is known to be there. */
  has(hash: string): boolean {
    return this.known.has(hash);
  }

  /** Says which blobs are there and stay: nothing else is known from now on, and what is being sent now will not be. Answers what was known before. */
  trust(hashes: Set<string>): Set<string> {
    const before = this.known;
    this.known = hashes;
    this.sending = new Map();
    return before;
  }

  /** Rejects with `blob-missing` or `blob-damaged`. */
  async get(hash: string): Promise<Buffer> {
    const found = await this.values.get(this.prefix + hash, { isFixed: true });
    if (!found) throw this.missing(hash);
    if (hashOf(found.bytes) !== hash) throw this.error("blob-damaged", hash, "is not what was stored");
    return found.bytes;
  }

  missing(hash: string): HallelujahError {
    return this.error("blob-missing", hash, "is missing");
  }

  private error(code: string, hash: string, what: string): HallelujahError {
    return new HallelujahError(
      code,
      `the blob ${this.prefix}${hash} ${what} in the cluster; was something removed or changed there by hand?`,
    );
  }

  /** The hashes of all that are there. */
  async list(): Promise<Set<string>> {
    const names = await this.values.list(this.prefix);
    return new Set(names.map((name) => name.slice(this.prefix.length)));
  }

  /** Removes blobs, as far as they were stored by a write of a number below `below`. Which are there after an error is not known. */
  async drop(hashes: Iterable<string>, below = Infinity): Promise<void> {
    const dropped = [...hashes];
    for (const hash of dropped) this.known.delete(hash);
    await inParallel(dropped, BLOBS_AT_ONCE, (hash) => this.values.remove(this.prefix + hash, below));
  }
}

/** Stores bytes of any length, as blobs; resolves with their hashes, in order. */
export function putParts(blobs: Blobs, bytes: Uint8Array): Promise<string[]> {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += BLOB_BYTES_MAX)
    parts.push(bytes.subarray(at, at + BLOB_BYTES_MAX));
  return Promise.all(parts.map((part) => blobs.put(part)));
}

/** What `putParts` stored. */
export async function getParts(blobs: Blobs, hashes: readonly string[]): Promise<Buffer> {
  return Buffer.concat(await Promise.all(hashes.map((hash) => blobs.get(hash))));
}
