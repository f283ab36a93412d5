/**
 * Jah to Jah over undici: each Jah serves one socket, each request carries a bounded body of batches and is answered
 * when the receiver has room for more. What cannot be sent yet waits in the outbox of that peer.
 */
import { createServer, type Server, type ServerResponse } from "node:http";
import { join } from "node:path";
import type { Client } from "undici";
import { HallelujahError, messageOf } from "../core/errors.ts";
import { OUTBOX_BYTES, REQUEST_BYTES } from "../core/limits.ts";

/** Takes a request's body; false if it is to be answered only when `release` is called. */
export type Receive = (body: Buffer) => boolean;

interface Outbox {
  /** Undefined until every peer listens. */
  client: Client | undefined;
  waiting: Buffer[];
  waitingBytes: number;
  sending: boolean;
}

export class Peers {
  private readonly outboxes = new Map<number, Outbox>();
  private readonly held: ServerResponse[] = [];
  private readonly folder: string;
  private readonly onDrain: () => void;
  private readonly onFailure: (error: Error) => void;
  private server: Server | undefined;

  private readonly self: number;

  /** `onDrain` is called when an outbox has room again, `onFailure` when a peer cannot be reached. */
  constructor(
    job: { jah: number; jahs: number; sockets: string },
    onDrain: () => void,
    onFailure: (error: Error) => void,
  ) {
    this.self = job.jah;
    this.folder = job.sockets;
    this.onDrain = onDrain;
    this.onFailure = onFailure;
    for (let peer = 0; peer < job.jahs; peer++) {
      if (peer === job.jah) continue;
      this.outboxes.set(peer, { client: undefined, waiting: [], waitingBytes: 0, sending: false });
    }
  }

  /** Serves this Jah's socket. */
  async listen(receive: Receive): Promise<void> {
    const server = createServer({ keepAliveTimeout: 0, requestTimeout: 0 }, (request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const body = chunks.length === 1 ? chunks[0] : Buffer.concat(chunks);
        if (receive(body)) response.end();
        else this.held.push(response);
      });
    });
    this.server = server;
    await new Promise<void>((done, fail) => {
      server.once("error", fail);
      server.listen(socketPath(this.folder, this.self), done);
    });
  }

  /** Opens a client to each other Jah, once all of them listen; what waited is sent. */
  async connect(): Promise<void> {
    if (!this.outboxes.size) return;
    const { default: UndiciClient } = await import("undici/lib/dispatcher/client.js");
    for (const [peer, outbox] of this.outboxes) {
      outbox.client = new UndiciClient("http://jah", {
        socketPath: socketPath(this.folder, peer),
        headersTimeout: 0,
        bodyTimeout: 0,
      });
      void this.drain(outbox);
    }
  }

  /** Hands a batch to a peer. Never blocks; ask `full` before making more. */
  send(peer: number, batch: Buffer): void {
    const outbox = this.outboxes.get(peer)!;
    outbox.waiting.push(batch);
    outbox.waitingBytes += batch.length;
    if (outbox.client && !outbox.sending) void this.drain(outbox);
  }

  /** Whether so much waits for some peer that no more work should be taken on. */
  get full(): boolean {
    for (const outbox of this.outboxes.values()) if (outbox.waitingBytes > OUTBOX_BYTES) return true;
    return false;
  }

  /** Answers the requests that were held back. */
  release(): void {
    for (const response of this.held.splice(0)) response.end();
  }

  private async drain(outbox: Outbox): Promise<void> {
    outbox.sending = true;
    try {
      while (outbox.waiting.length) {
        let bytes = 0;
        let count = 0;
        while (count < outbox.waiting.length && (count === 0 || bytes + outbox.waiting[count].length <= REQUEST_BYTES)) {
          bytes += outbox.waiting[count++].length;
        }
        const body = Buffer.concat(outbox.waiting.splice(0, count), bytes);
        await post(outbox.client!, body);
        const wasFull = this.full;
        outbox.waitingBytes -= bytes;
        if (wasFull && !this.full) this.onDrain();
      }
    } catch (cause) {
      this.onFailure(new HallelujahError("peer-lost", `another Jah cannot be reached: ${messageOf(cause)}`, { cause }));
    } finally {
      outbox.sending = false;
    }
  }
}

/** One request; resolves when the peer has answered it. */
function post(client: Client, body: Buffer): Promise<void> {
  return new Promise((done, fail) => {
    client.dispatch(
      { path: "/batches", method: "POST", body },
      {
        onRequestStart: () => {},
        onResponseStart: () => {},
        onResponseData: () => {},
        onResponseEnd: () => done(),
        onResponseError: (_, error) => fail(error),
      },
    );
  });
}

function socketPath(folder: string, jah: number): string {
  return process.platform === "win32" ? `\\\\.\\pipe\\${folder.replaceAll(/[\\/:]/g, "-")}-${jah}` : join(folder, `${jah}`);
}
