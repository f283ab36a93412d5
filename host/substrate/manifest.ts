/**
 * How the state of a shard lies in a cluster. All but the head are blobs, which never change; so two manifests share what is the same in both.
 *
 *   SHARD.head            JSON: who may write, and the last two manifests; written as a whole, by whoever knows the number of the one before
 *     -> manifest         JSON, in parts of 512 KiB: what the checkpoint says beside its pages, and its leaves
 *          -> leaf        hashes of 256 pages, 32 bytes each, as many as there are up to the last page that is not all zeros
 *               -> page   64 KiB
 *
 *   leaf  +0   SHA-256 of page 256 n, or zeros: that page is all zeros
 *         +32  of page 256 n + 1, and so on
 */
import { HallelujahError } from "../core/errors.ts";
import { PAGE_BYTES, PAGES_MAX } from "../core/limits.ts";
import { type Blobs, getParts, hashOf } from "./blobs.ts";

/** Few enough that little of a table is written again, many enough that a manifest of 1 GiB names 64 leaves. */
export const LEAF_PAGES = 256;
const HASH_BYTES = 32;
const NO_HASH = Buffer.alloc(HASH_BYTES);

/** Of a page that is all zeros, which is left out. */
export const ZERO_PAGE: string = hashOf(new Uint8Array(PAGE_BYTES));

/** A hash for each page, in order; undefined for one that is all zeros. */
export type PageTable = readonly (string | undefined)[];

export interface ManifestEntry {
  /** The lowest frame that is not in its state. */
  frame: number;
  /** Of the leader that wrote it. */
  epoch: number;
  /** Blobs that together are the manifest. */
  parts: string[];
}

export interface Head {
  format: 1;
  /** Of the leader that may write. */
  epoch: number;
  host: string;
  /** Of this head alone: what was written last by whom. */
  write: string;
  /** Newest first, at most two. */
  manifests: ManifestEntry[];
}

/** What a manifest leads to. */
export interface Snapshot {
  entry: ManifestEntry;
  meta: unknown;
  leaves: (string | undefined)[];
  pages: PageTable;
}

export function encodeHead(head: Head): Buffer {
  return Buffer.from(JSON.stringify(head));
}

/** Throws `snapshot-damaged`. */
export function decodeHead(bytes: Buffer, name: string): Head {
  const head = parsed(bytes) as Partial<Head> | undefined;
  const isWhole =
    head?.format === 1 &&
    typeof head.epoch === "number" &&
    typeof head.host === "string" &&
    typeof head.write === "string" &&
    Array.isArray(head.manifests);
  if (isWhole) return head as Head;
  throw new HallelujahError(
    "snapshot-damaged",
    `${name} in the cluster is not what Hallelujah wrote there, or another version did; put back what was there, or remove it`,
  );
}

export function encodeManifest(meta: unknown, leaves: readonly (string | undefined)[]): Buffer {
  return Buffer.from(JSON.stringify({ format: 1, meta, leaves: Array.from(leaves, (leaf) => leaf ?? null) }));
}

export function encodeLeaf(pages: PageTable, leaf: number): Buffer {
  const hashes = pages.slice(leaf * LEAF_PAGES, (leaf + 1) * LEAF_PAGES);
  const last = hashes.findLastIndex((hash) => hash !== undefined);
  return Buffer.concat(
    Array.from({ length: last + 1 }, (_, i) => {
      const hash = hashes[i];
      return hash === undefined ? NO_HASH : Buffer.from(hash, "base64url");
    }),
  );
}

/** Reads what a manifest leads to, but the pages. Rejects with `blob-missing`, `blob-damaged` or `snapshot-version`, or as a home does. */
export async function readSnapshot(blobs: Blobs, entry: ManifestEntry): Promise<Snapshot> {
  const manifest = parsed(await getParts(blobs, entry.parts)) as
    | { format?: number; meta?: unknown; leaves?: (string | null)[] }
    | undefined;
  if (
    manifest?.format !== 1 ||
    !Array.isArray(manifest.leaves) ||
    manifest.leaves.length > PAGES_MAX / LEAF_PAGES
  )
    throw new HallelujahError(
      "snapshot-version",
      `the manifest of frame ${entry.frame} is of another version of Hallelujah; a host with that version can read it`,
    );
  const leaves = manifest.leaves.map((leaf) => leaf ?? undefined);
  const tables = await Promise.all(
    leaves.map(async (leaf) => (leaf === undefined ? undefined : await blobs.get(leaf))),
  );
  const pages: (string | undefined)[] = Array.from({ length: leaves.length * LEAF_PAGES });
  for (const [i, table] of tables.entries())
    for (let at = 0; table && at + HASH_BYTES <= table.length; at += HASH_BYTES) {
      const hash = table.subarray(at, at + HASH_BYTES);
      if (!hash.equals(NO_HASH)) pages[i * LEAF_PAGES + at / HASH_BYTES] = hash.toString("base64url");
    }
  return { entry, meta: manifest.meta, leaves, pages };
}

/** All blobs that a snapshot needs. */
export function* blobsOf({ entry, leaves, pages }: Snapshot): Generator<string> {
  yield* entry.parts;
  for (const hashes of [leaves, pages]) for (const hash of hashes) if (hash !== undefined) yield hash;
}

function parsed(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    return undefined;
  }
}
