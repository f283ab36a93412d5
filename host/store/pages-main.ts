/**
 * The thread in which all stores of a process have their RocksDB: it stops whoever writes for as long as the disk takes, which
 * must not be the thread that works on frames. `pages-thread.ts` is the other end.
 */
import { pathToFileURL } from "node:url";
import { parentPort } from "node:worker_threads";
import { HallelujahError, messageOf } from "../core/errors.ts";
import { PAGE_BYTES, PAGES_WRITE_BYTES } from "../core/limits.ts";
import { pageBytes } from "./keys.ts";
import type { Checkpoint } from "./page-store.ts";
import { PageVersions, type ReadPage } from "./page-versions.ts";
import type { OpenReplica, Replica, ReplicaEvent } from "./replica.ts";
import { loadRocks, RocksDatabase } from "./rocks-database.ts";

/** What a store is asked for; the requests of a store are answered in their order. */
export type PagesRequest =
  | { call: "open"; folder: string }
  | { call: "restore"; number: number }
  | { call: "write"; pages: Uint32Array; bytes: ArrayBuffer }
  | { call: "commit"; meta: unknown; end: number | undefined }
  | { call: "abandon" }
  | { call: "close" };

/** A message to the thread; `taken` acknowledges one of `pages`, and brings its memory back. `replicate` is answered by events alone. */
export type PagesMessage = { store: number } & (
  | PagesRequest
  | { call: "taken"; bytes: ArrayBuffer }
  | { call: "replicate"; module: string; target: unknown }
);

/** A message from it: the answer to the first request that has none yet, pages that belong to it, or what the replica tells. */
export type PagesReply = { store: number } & (
  | { kind: "pages"; pages: Uint32Array; bytes: ArrayBuffer }
  | { kind: "replica"; event: ReplicaEvent }
  | { kind: "done"; value: unknown; checkpoints: readonly Checkpoint[]; damage: PagesError | undefined }
  | { kind: "failed"; error: PagesError }
);

/** An error, as it goes from thread to thread. */
export interface PagesError {
  /** Empty for a mistake of the program, as a TypeError is. */
  code: string;
  message: string;
}

/** Messages of pages that may be on their way, so that reading and taking overlap and memory stays bounded. */
const AHEAD = 2;

const port = parentPort!;
const stores = new Map<number, Served>();

class Served {
  private store: Promise<PageVersions> | undefined;
  /** Messages of pages that are not acknowledged. */
  private ahead = 0;
  private onTaken: () => void = () => {};
  /** Memory that pages were sent in, to be used again: fresh memory costs more than the copy. */
  private spare: ArrayBuffer[] = [];
  private replica: Promise<Replica | undefined> | undefined;

  constructor(private readonly id: number) {}

  ask(request: PagesRequest): void {
    if (request.call === "open") this.store = RocksDatabase.open(request.folder).then(PageVersions.open);
    this.answer(request).catch((error: unknown) => {
      if (request.call === "open") stores.delete(this.id);
      this.reply({ store: this.id, kind: "failed", error: told(error) });
    });
  }

  taken(bytes: ArrayBuffer): void {
    this.ahead--;
    this.spare.push(bytes);
    this.onTaken();
  }

  /** Has a module take the checkpoints elsewhere, from now on; it is loaded here, as few processes need one. */
  replicate(module: string, target: unknown): void {
    const tell = (event: ReplicaEvent) => this.reply({ store: this.id, kind: "replica", event });
    const open = async () => {
      const { openReplica } = (await import(pathToFileURL(module).href)) as { openReplica: OpenReplica };
      return openReplica(await this.store!, target, tell);
    };
    this.replica = open().catch((error: unknown) => {
      tell({ kind: "failed", ...told(error), isOver: true });
      return undefined;
    });
  }

  private async answer(request: PagesRequest): Promise<void> {
    const store = await this.store!;
    let value: unknown;
    // A store does one after the other, so the answers come in the order of the requests.
    if (request.call === "restore")
      await store.send(request.number, (pages) => this.sendPages(pages)).finally(() => (this.spare = []));
    if (request.call === "write") value = await store.write(request.pages, request.bytes);
    if (request.call === "commit") value = await store.commit(request.meta, request.end);
    if (request.call === "abandon") value = await store.abandon();
    if (request.call === "close") {
      await (await this.replica)?.close();
      await store.close();
    }
    if (request.call === "restore" || request.call === "commit" || request.call === "abandon")
      void this.replica?.then((replica) => replica?.wake());
    const { checkpoints, damage } = store;
    this.reply(
      { store: this.id, kind: "done", value, checkpoints, damage: damage && told(damage) },
      value instanceof ArrayBuffer ? [value] : [],
    );
  }

  private async sendPages(read: ReadPage[]): Promise<void> {
    while (this.ahead >= AHEAD) await new Promise<void>((done) => (this.onTaken = done));
    this.ahead++;
    let bytes = this.spare.pop();
    const size = read.length * PAGE_BYTES;
    if (!bytes || bytes.byteLength < size) bytes = new ArrayBuffer(Math.max(size, PAGES_WRITE_BYTES));
    const into = new Uint8Array(bytes);
    read.forEach(({ value }, i) => into.set(pageBytes(value), i * PAGE_BYTES));
    const pages = Uint32Array.from(read, ({ page }) => page);
    this.reply({ store: this.id, kind: "pages", pages, bytes }, [bytes]);
  }

  private reply(message: PagesReply, transfer: ArrayBuffer[] = []): void {
    port.postMessage(message, transfer);
  }
}

function told(error: unknown): PagesError {
  return { code: error instanceof HallelujahError ? error.code : "", message: messageOf(error) };
}

port.on("message", (message: PagesMessage) => {
  let store = stores.get(message.store);
  if (!store) stores.set(message.store, (store = new Served(message.store)));
  if (message.call === "taken") return store.taken(message.bytes);
  if (message.call === "replicate") return store.replicate(message.module, message.target);
  store.ask(message);
  if (message.call === "close") stores.delete(message.store);
});
loadRocks();
