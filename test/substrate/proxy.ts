/** A TCP proxy in front of a server of a test: it cuts what goes through it, anywhere. */
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

export class Proxy {
  private readonly server: Server;
  private readonly target: number;
  private readonly sockets = new Set<Socket>();
  /** Bytes that go through, either way, before all connections are cut. */
  private left = Infinity;
  private isShut = false;
  cuts = 0;

  private constructor(server: Server, target: number) {
    this.server = server;
    this.target = target;
    server.on("connection", (socket) => this.accept(socket));
  }

  static async to(target: number): Promise<Proxy> {
    const server = createServer();
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    return new Proxy(server, target);
  }

  get url(): string {
    return `nats://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** So many bytes go through, and then all connections are cut, once. */
  cutAfter(bytes: number): void {
    this.left = bytes;
  }

  cut(): void {
    this.cuts++;
    this.left = Infinity;
    for (const socket of this.sockets) socket.destroy();
    this.sockets.clear();
  }

  /** Nothing goes through any more, or all does again. */
  shut(isShut: boolean): void {
    this.isShut = isShut;
    if (isShut) this.cut();
  }

  close(): void {
    this.shut(true);
    this.server.close();
  }

  private accept(socket: Socket): void {
    if (this.isShut) {
      socket.destroy();
      return;
    }
    const upstream = connect(this.target, "127.0.0.1");
    for (const [from, to] of [
      [socket, upstream],
      [upstream, socket],
    ]) {
      this.sockets.add(from);
      from.on("data", (chunk: Buffer) => {
        const part = chunk.subarray(0, Math.min(chunk.length, this.left));
        this.left -= part.length;
        to.write(part);
        if (part.length < chunk.length) setImmediate(() => this.cut());
      });
      from.on("error", () => {});
      from.on("close", () => {
        this.sockets.delete(from);
        to.end();
      });
    }
  }
}
