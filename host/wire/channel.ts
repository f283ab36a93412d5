/**
 * Messages over a socket, each { u32 bytes, the message in V8's serialization }. Both ends are of the same version of
 * the engine, and the socket is opened with the host's secret. A message that cannot be read closes the channel.
 */
import type { Duplex } from "node:stream";
import { deserialize, serialize } from "node:v8";

/** Name of the protocol in the HTTP upgrade that opens a channel. */
export const CHANNEL_PROTOCOL = "hallelujah-jah";

const HEADER = 4;

export class Channel<Out, In> {
  private readonly socket: Duplex;
  private chunks: Buffer[] = [];
  private length = 0;
  private wanted = HEADER;
  private header = true;
  private corked = false;

  private readonly onMessage: (message: In) => void;

  /** `onMessage` is called for each message in turn, once `start` was called; `onClose` once. */
  constructor(socket: Duplex, onMessage: (message: In) => void, onClose: () => void) {
    this.socket = socket;
    this.onMessage = onMessage;
    socket.on("error", () => {});
    socket.on("close", onClose);
  }

  /** Begins to read. `head` are bytes that came with the upgrade. */
  start(head: Buffer): void {
    if (head.length) this.read(head);
    this.socket.on("data", (chunk: Buffer) => this.read(chunk));
  }

  /** Sends a message; nothing happens if the other end has gone. */
  send(message: Out): void {
    if (this.socket.destroyed || this.socket.writableEnded) return;
    if (!this.corked) {
      this.corked = true;
      this.socket.cork();
      setImmediate(() => this.flush());
    }
    const body = serialize(message);
    const header = Buffer.allocUnsafe(HEADER);
    header.writeUInt32LE(body.length, 0);
    this.socket.write(header);
    this.socket.write(body);
  }

  /** Sends what waits for the end of this turn of the event loop. */
  flush(): void {
    if (!this.corked) return;
    this.corked = false;
    this.socket.uncork();
  }

  /** Ends the channel once what was sent has left. */
  end(): void {
    this.flush();
    this.socket.end();
  }

  destroy(): void {
    this.socket.destroy();
  }

  private read(chunk: Buffer): void {
    if (this.socket.destroyed) return;
    this.chunks.push(chunk);
    this.length += chunk.length;
    while (this.length >= this.wanted) {
      const bytes = this.chunks.length === 1 ? this.chunks[0] : Buffer.concat(this.chunks, this.length);
      const part = bytes.subarray(0, this.wanted);
      this.chunks = [bytes.subarray(this.wanted)];
      this.length -= this.wanted;
      if (this.header) this.wanted = part.readUInt32LE(0);
      else {
        this.wanted = HEADER;
        let message: In;
        try {
          message = deserialize(part) as In;
        } catch {
          // Nothing behind it can be trusted; that the channel is closed is told to both ends.
          this.chunks = [];
          this.length = 0;
          this.socket.destroy();
          return;
        }
        this.onMessage(message);
      }
      this.header = !this.header;
    }
  }
}
