/**
 * Jah to Jah on one host: a socket from each to each, on which batches follow one another. The socket is the window: a
 * receiver that has enough stops reading, and what the sender cannot write waits in its outbox.
 *
 * Sockets rather than HTTP, as these Jahs start together, live as long as their job and need neither routes nor
 * resending; loading undici's client alone took 26 ms in each of them. TCP rather than Unix sockets: those hold 208 KiB,
 * which is less than one frame's entries, and a Jah looks at its sockets only between two frames. As any process of the
 * machine can connect, a connection starts with the job's secret.
 */
import { timingSafeEqual } from "node:crypto";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { HallelujahError, messageOf } from "../core/errors.ts";
import { OUTBOX_BYTES } from "../core/limits.ts";
import { BATCH_HEADER, type Batch, batchBytes, decodeBatch } from "../wire/batch.ts";

/** Takes a batch; false if no more should come until `release` is called. */
export type Receive = (batch: Batch) => boolean;

export class Peers {
  private readonly outboxes = new Map<
    number,
    { socket: Socket | undefined; waiting: Buffer[]; bytes: number }
  >();
  private readonly paused = new Set<Socket>();
  private readonly job: { jah: number; jahs: number; secret: Uint8Array };
  private readonly onDrain: () => void;
  private readonly onFailure: (error: Error) => void;
  private server: Server | undefined;

  /** `onDrain` is called when an outbox has room again, `onFailure` when a peer cannot be reached. */
  constructor(
    job: { jah: number; jahs: number; secret: Uint8Array },
    onDrain: () => void,
    onFailure: (error: Error) => void,
  ) {
    this.job = job;
    this.onDrain = onDrain;
    this.onFailure = onFailure;
    for (let peer = 0; peer < job.jahs; peer++) {
      if (peer !== job.jah) this.outboxes.set(peer, { socket: undefined, waiting: [], bytes: 0 });
    }
  }

  /** Serves this Jah's socket; the port on which it listens. */
  async listen(receive: Receive): Promise<number> {
    const server = createServer({ noDelay: true }, (socket) => {
      const reader = new BatchReader(this.job.secret);
      socket.on("data", (chunk: Buffer) => {
        try {
          for (const batch of reader.read(chunk)) {
            if (receive(batch)) continue;
            socket.pause();
            this.paused.add(socket);
          }
        } catch (error) {
          reader.refused = true;
          this.onFailure(error as Error);
        }
        if (reader.refused) socket.destroy();
      });
      socket.on("error", (cause) => {
        if (reader.trusted) this.fail(cause);
      });
    });
    this.server = server;
    await new Promise<void>((done, fail) => {
      server.once("error", fail);
      server.listen(0, "127.0.0.1", done);
    });
    return (server.address() as AddressInfo).port;
  }

  /** Connects to each other Jah, once all of them listen; what waited is sent. `ports` has a port for each Jah. */
  connect(ports: number[]): void {
    for (const [peer, outbox] of this.outboxes) {
      const socket = connect({ port: ports[peer], host: "127.0.0.1", noDelay: true });
      socket.on("error", (cause) => this.fail(cause));
      socket.write(this.job.secret);
      outbox.socket = socket;
      for (const batch of outbox.waiting.splice(0)) this.write(outbox, socket, batch);
    }
  }

  /** Hands a batch to a peer. Never blocks; ask `full` before making more. */
  send(peer: number, batch: Buffer): void {
    const outbox = this.outboxes.get(peer)!;
    outbox.bytes += batch.length;
    if (outbox.socket) this.write(outbox, outbox.socket, batch);
    else outbox.waiting.push(batch);
  }

  private write(outbox: { bytes: number }, socket: Socket, batch: Buffer): void {
    socket.write(batch, () => {
      const wasFull = this.full;
      outbox.bytes -= batch.length;
      if (wasFull && !this.full) this.onDrain();
    });
  }

  /** Whether so much waits for some peer that no more work should be taken on. */
  get full(): boolean {
    for (const { bytes } of this.outboxes.values()) if (bytes > OUTBOX_BYTES) return true;
    return false;
  }

  /** There is room for more batches. */
  release(): void {
    for (const socket of this.paused) socket.resume();
    this.paused.clear();
  }

  private fail(cause: Error): void {
    this.onFailure(
      new HallelujahError("peer-lost", `another Jah cannot be reached: ${messageOf(cause)}`, { cause }),
    );
  }
}

/** Puts batches together from the chunks in which they arrive, behind the secret. */
export class BatchReader {
  /** Whether the secret came, or something else. */
  trusted = false;
  refused = false;
  private readonly secret: Uint8Array;
  private chunks: Buffer[] = [];
  private length = 0;
  /** Bytes of the batch at hand; of its header as long as that is not whole. */
  private wanted: number;

  constructor(secret: Uint8Array) {
    this.secret = secret;
    this.wanted = secret.length;
  }

  /** The batches that are whole with this chunk. Throws `batch-invalid`; nothing can be read behind that. */
  *read(chunk: Buffer): Generator<Batch> {
    if (this.refused) return;
    this.chunks.push(chunk);
    this.length += chunk.length;
    while (this.length >= this.wanted) {
      const bytes = this.chunks.length === 1 ? this.chunks[0] : Buffer.concat(this.chunks, this.length);
      this.chunks = [bytes];
      if (this.trusted) {
        this.wanted = batchBytes(bytes)!;
        if (this.length < this.wanted) return;
        yield decodeBatch(bytes.subarray(0, this.wanted));
      } else if (timingSafeEqual(bytes.subarray(0, this.wanted), this.secret)) this.trusted = true;
      else {
        this.refused = true;
        return;
      }
      this.chunks = [bytes.subarray(this.wanted)];
      this.length -= this.wanted;
      this.wanted = BATCH_HEADER;
    }
  }
}
