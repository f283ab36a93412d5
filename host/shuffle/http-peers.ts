/**
 * Jah to Jah in a live stream: batches as undici POSTs. A request carries some batches, its sender and a number that
 * counts up; it is answered when they are taken in and there is room for more, and sent again if the connection breaks.
 * A receiver takes each number once. So a slow receiver slows its senders, by one request each.
 */
import { timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "undici";
import { OUTBOX_BYTES, PEER_REQUEST_BYTES, PEER_RETRY_MS } from "../core/limits.ts";
import { type Batch, decodeBatches } from "../wire/batch.ts";

/** Takes a batch in; false if no more should come until `release` is called. */
export type Receive = (batch: Batch, from: number) => boolean;

interface Outbox {
  port: number;
  waiting: Buffer[];
  bytes: number;
  sending: boolean;
  sequence: number;
  gone: boolean;
  client: Client | undefined;
}

export class HttpPeers {
  private readonly jah: number;
  private readonly secret: Buffer;
  private readonly receive: Receive;
  private readonly onDrain: () => void;
  private readonly outboxes = new Map<number, Outbox>();
  /** The last request taken in from each Jah. */
  private readonly taken = new Map<number, number>();
  /** Answers that wait for room. */
  private readonly held: ServerResponse[] = [];
  private server: Server | undefined;
  private closed = false;

  /** `onDrain` is called when an outbox has room again. */
  constructor(jah: number, secret: string, receive: Receive, onDrain: () => void) {
    this.jah = jah;
    this.secret = Buffer.from(secret);
    this.receive = receive;
    this.onDrain = onDrain;
  }

  /** Listens on loopback; the port. */
  async listen(): Promise<number> {
    this.server = createServer({ keepAliveTimeout: 0, requestTimeout: 0 }, (request, response) => {
      this.handle(request, response).catch(() => response.destroy());
    });
    this.server.listen(0, "127.0.0.1");
    await once(this.server, "listening");
    return (this.server.address() as AddressInfo).port;
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const secret = Buffer.from(String(request.headers["hallelujah-secret"] ?? ""));
    if (secret.length !== this.secret.length || !timingSafeEqual(secret, this.secret)) {
      response.writeHead(403).end();
      return;
    }
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const bytes = chunks.length === 1 ? chunks[0] : Buffer.concat(chunks);
    const from = Number(request.headers["hallelujah-jah"]);
    const sequence = Number(request.headers["hallelujah-sequence"]);
    if (!isNumber(from) || !isNumber(sequence)) return void response.writeHead(400, NO_BODY).end();
    let room = true;
    if (sequence > (this.taken.get(from) ?? 0)) {
      // All of it or nothing, so that what cannot be read does not count as taken.
      let batches: Batch[];
      try {
        batches = decodeBatches(bytes);
      } catch {
        return void response.writeHead(400, NO_BODY).end();
      }
      this.taken.set(from, sequence);
      for (const batch of batches) room = this.receive(batch, from);
    }
    if (room) response.writeHead(200, NO_BODY).end();
    else this.held.push(response);
  }

  /** There is room for more batches. */
  release(): void {
    for (const response of this.held.splice(0)) response.writeHead(200, NO_BODY).end();
  }

  /** Names a Jah's port before batches are sent to it. */
  meet(jah: number, port: number): void {
    if (this.outboxes.has(jah)) return;
    const empty = { waiting: [], bytes: 0, sending: false, sequence: 0, gone: false, client: undefined };
    this.outboxes.set(jah, { ...empty, port });
  }

  /** The Jah ended: what waits for it is dropped, as is all that comes to be sent to it. */
  forget(jah: number): void {
    const outbox = this.outboxes.get(jah);
    if (!outbox) return;
    const wasFull = this.full;
    outbox.gone = true;
    outbox.waiting = [];
    outbox.bytes = 0;
    void outbox.client?.destroy();
    if (wasFull && !this.full) this.onDrain();
  }

  /** Hands a batch to a peer. Never blocks; ask `full` before making more. */
  send(jah: number, batch: Buffer): void {
    const outbox = this.outboxes.get(jah);
    if (!outbox) throw new TypeError(`Jah ${jah} was not met`);
    if (outbox.gone) return;
    outbox.waiting.push(batch);
    outbox.bytes += batch.length;
    if (outbox.sending) return;
    outbox.sending = true;
    setImmediate(() => void this.drain(outbox));
  }

  /** Whether so much waits for some peer that no more work should be taken on. */
  get full(): boolean {
    for (const { bytes } of this.outboxes.values()) if (bytes > OUTBOX_BYTES) return true;
    return false;
  }

  /** Bytes that wait to be sent or acknowledged. */
  get bytes(): number {
    let bytes = 0;
    for (const outbox of this.outboxes.values()) bytes += outbox.bytes;
    return bytes;
  }

  private async drain(outbox: Outbox): Promise<void> {
    while (outbox.waiting.length && !outbox.gone && !this.closed) {
      let count = 0;
      let bytes = 0;
      while (
        count < outbox.waiting.length &&
        (!count || bytes + outbox.waiting[count].length <= PEER_REQUEST_BYTES)
      )
        bytes += outbox.waiting[count++].length;
      const batches = outbox.waiting.splice(0, count);
      const body = count === 1 ? batches[0] : Buffer.concat(batches, bytes);
      outbox.sequence++;
      while (!outbox.gone && !this.closed && !(await this.post(outbox, body))) await sleep(PEER_RETRY_MS);
      if (outbox.gone) break;
      const wasFull = this.full;
      outbox.bytes -= bytes;
      if (wasFull && !this.full) this.onDrain();
    }
    outbox.sending = false;
  }

  /** Whether the request was acknowledged. */
  private async post(outbox: Outbox, body: Buffer): Promise<boolean> {
    outbox.client ??= await connect(outbox.port);
    const { client } = outbox;
    return new Promise((done) => {
      let status = 0;
      client.dispatch(
        {
          method: "POST",
          path: "/batches",
          headers: {
            "hallelujah-secret": this.secret.toString(),
            "hallelujah-jah": String(this.jah),
            "hallelujah-sequence": String(outbox.sequence),
          },
          body,
        },
        {
          onRequestStart() {},
          onResponseStart(_controller, code) {
            status = code;
          },
          onResponseData() {},
          onResponseEnd: () => done(status === 200),
          onResponseError: () => done(false),
        },
      );
    });
  }

  close(): void {
    this.closed = true;
    this.server?.closeAllConnections();
    this.server?.close();
    for (const { client } of this.outboxes.values()) void client?.destroy();
  }
}

const NO_BODY = { "content-length": "0" };

function isNumber(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

/** Undici's client alone, which takes 30 ms to load: whoever may have to send soon asks for it early. */
export async function loadClient(): Promise<typeof Client> {
  // @ts-expect-error: the file has no types of its own
  const { default: Lean } = (await import("undici/lib/dispatcher/client.js")) as { default: typeof Client };
  return Lean;
}

async function connect(port: number): Promise<Client> {
  const Lean = await loadClient();
  // A receiver answers when it has room: that may take as long as it likes.
  return new Lean(`http://127.0.0.1:${port}`, { headersTimeout: 0, bodyTimeout: 0, pipelining: 1 });
}
