/**
 * The Jahs of this host as their Hallelu sees them: claimed from the Congregation, taken in when they call, asked things
 * over their channel, and let go.
 */
import { timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { HallelujahError } from "../core/errors.ts";
import { JAH_END_GRACE_MS, JAH_START_MS } from "../core/limits.ts";
import { Channel, CHANNEL_PROTOCOL } from "../wire/channel.ts";
import type { FromHallelu, JahKind, ToHallelu } from "../wire/congregation.ts";
import type { FromLiveJah, LiveMethods, LiveStart, Restored, ToLiveJah, Work } from "../wire/live.ts";

/** Whoever claimed a Jah hears of it: `ready` or `refused` first, `lost` last, unless it was ended. */
export interface JahOwner {
  name: string;
  /** What the Jah is told when it calls. */
  startOf(jah: Jah): Omit<LiveStart, "type" | "jah">;
  ready(jah: Jah, next: number, restored: Restored[]): void;
  refused(jah: Jah): void;
  message(jah: Jah, message: FromLiveJah): void;
  /** Its process ended, or cannot be heard any more. `reason` is a sentence. */
  lost(jah: Jah, reason: string): void;
  /** Its CPU is needed elsewhere. */
  reclaim(jah: Jah): void;
}

/** The way to a Jah: a channel, or something in its place within this process. */
export interface Line {
  send(message: ToLiveJah): void;
  destroy(): void;
}

export class Jah {
  readonly id: number;
  readonly kind: JahKind;
  readonly owner: JahOwner;
  state: "claimed" | "starting" | "working" | "leaving" | "gone" = "claimed";
  /** The version of the kernel that its state is of. */
  version = 0;
  /** When that last changed, and for how long nothing had been applied, ms. */
  switched: { at: number; idleMs: number } | undefined;
  /** Port where it takes in batches. */
  port = 0;
  pid = 0;
  cpu = -1;
  /** When it was last heard of, ms (performance.now). */
  heardAt = performance.now();
  /** Since when it works. */
  readyAt = Infinity;
  /** When it last had something to do. */
  busyAt = performance.now();
  /** The last it told of its work, and over which time, ms. */
  work: Work | undefined;
  workMs = 0;
  /** When it last told. */
  workAt = performance.now();
  /** When the first window in its state is over, in event time, ms; Infinity if none is open. */
  nextClose = Infinity;
  /** The visit whose kernel did not return, for which it was killed. */
  stuckVisit: number | undefined;
  /** Ends it if it does not get ready. */
  startTimer: NodeJS.Timeout | undefined;
  private line: Line | undefined;
  private readonly calls = new Map<
    number,
    { done: (value: unknown) => void; fail: (error: Error) => void }
  >();
  private nextCall = 0;

  constructor(id: number, kind: JahKind, owner: JahOwner) {
    this.id = id;
    this.kind = kind;
    this.owner = owner;
  }

  send(message: ToLiveJah): void {
    this.line?.send(message);
  }

  /** Asks for something between two frames. Rejects with `jah-lost` if the Jah ends before it answers. */
  call<M extends keyof LiveMethods>(
    method: M,
    argument: LiveMethods[M]["argument"],
  ): Promise<LiveMethods[M]["answer"]> {
    const id = this.nextCall++;
    return new Promise((done, fail) => {
      if (this.state === "gone") return fail(lostError(this.id));
      this.calls.set(id, { done: done as (value: unknown) => void, fail });
      this.send({ type: "call", id, method, argument });
    });
  }

  /** The Jah has called: it gets its start. What it says is for `receive`. */
  attach(line: Line): void {
    this.line = line;
    this.send({ type: "start", jah: this.id, ...this.owner.startOf(this) });
  }

  /** A message of the Jah. */
  receive(message: FromLiveJah): void {
    this.heardAt = performance.now();
    if (this.state === "gone") return;
    if (message.type === "answer") {
      const call = this.calls.get(message.id);
      this.calls.delete(message.id);
      if (message.error) call?.fail(errorOf(message.error));
      else call?.done(message.value);
      return;
    }
    if (message.type === "switched") {
      this.version = message.version;
      this.switched = { at: this.heardAt, idleMs: message.idleMs };
    }
    if (message.type === "work") {
      this.work = message.work;
      this.workMs = this.heardAt - this.workAt;
      this.workAt = this.heardAt;
      if (message.work.mapMs + message.work.applyMs > 0) this.busyAt = this.heardAt;
    }
    if (message.type === "ready") {
      clearTimeout(this.startTimer);
      this.port = message.port;
      this.state = "working";
      this.readyAt = this.heardAt;
      this.workAt = this.heardAt;
      this.busyAt = this.heardAt;
      this.version = message.version;
      this.owner.ready(this, message.next, message.restored);
    } else this.owner.message(this, message);
  }

  /** For `Jahs`: nothing more comes from it. */
  close(): void {
    this.state = "gone";
    clearTimeout(this.startTimer);
    this.line?.destroy();
    for (const { fail } of this.calls.values()) fail(lostError(this.id));
    this.calls.clear();
  }
}

/** An error of a Jah; the stack of a kernel that stopped is its cause's. */
function errorOf({
  code,
  message,
  stack,
}: {
  code: string;
  message: string;
  stack?: string;
}): HallelujahError {
  const cause = stack === undefined ? {} : { cause: Object.assign(new Error(message), { stack }) };
  return new HallelujahError(code, message, cause);
}

function lostError(id: number): HallelujahError {
  return new HallelujahError("jah-lost", `Jah ${id} ended before it answered; ask again`);
}

export class Jahs {
  readonly all = new Map<number, Jah>();
  private readonly tell: (message: FromHallelu) => void;
  private readonly secret: Buffer;
  /** Processes that were told to end, or are about to, by their numbers. */
  private readonly ending = new Map<number, JahOwner>();
  private server: Server | undefined;
  private next: number;

  /** `tell` reaches the Congregation. `first` is a number above all that were given before. */
  constructor(tell: (message: FromHallelu) => void, secret: string, first: number) {
    this.tell = tell;
    this.secret = Buffer.from(secret);
    this.next = first;
  }

  /** Takes in Jahs on loopback; the port. */
  async listen(): Promise<number> {
    this.server = createServer((_request, response) => response.writeHead(404).end());
    this.server.on("upgrade", (request, socket, head) => this.takeIn(request, socket, head));
    this.server.listen(0, "127.0.0.1");
    await once(this.server, "listening");
    return (this.server.address() as AddressInfo).port;
  }

  close(): void {
    this.server?.close();
    for (const jah of this.all.values()) jah.close();
  }

  /** Wants a Jah. A claim that waits is met in turn; another one is met or refused at once. */
  claim(owner: JahOwner, kind: JahKind, waits: boolean): Jah {
    const jah = new Jah(this.next++, kind, owner);
    this.all.set(jah.id, jah);
    this.tell({ type: "claim", jah: jah.id, stream: owner.name, kind, waits });
    return jah;
  }

  /** The Jah is not needed any more: it ends, and its owner hears nothing of it. */
  end(jah: Jah): void {
    if (jah.state === "gone") return;
    if (jah.state === "claimed") this.tell({ type: "withdraw", jah: jah.id });
    jah.send({ type: "end" });
    this.tell({ type: "end", jah: jah.id, graceMs: JAH_END_GRACE_MS });
    this.forget(jah);
  }

  /** Ends a Jah at once, as it does not answer or holds what nobody needs; its owner hears that it is lost. */
  kill(jah: Jah, reason: string): void {
    if (jah.state === "gone") return;
    this.tell({ type: "end", jah: jah.id, graceMs: 0 });
    this.forget(jah);
    jah.owner.lost(jah, reason);
  }

  /** Whether a process that was a Jah of this owner has yet to end: it may have a store open. */
  isEnding(owner: JahOwner): boolean {
    return [...this.ending.values()].includes(owner);
  }

  private forget(jah: Jah): void {
    this.all.delete(jah.id);
    if (jah.state !== "claimed") this.ending.set(jah.id, jah.owner);
    // What was sent last should leave before the channel is closed.
    setImmediate(() => setImmediate(() => jah.close()));
    jah.state = "gone";
  }

  /** What the Congregation says of Jahs. */
  hear(message: ToHallelu): void {
    if (!("jah" in message)) return;
    if (message.type === "exited") this.ending.delete(message.jah);
    const jah = this.all.get(message.jah);
    if (!jah) return;
    switch (message.type) {
      case "granted":
        jah.cpu = message.cpu;
        jah.pid = message.pid;
        // It may have called before this word came.
        if (jah.state !== "claimed") break;
        jah.state = "starting";
        jah.startTimer = setTimeout(
          () => this.kill(jah, `Jah ${jah.id} was not ready ${JAH_START_MS / 1000} s after its start`),
          JAH_START_MS,
        ).unref();
        break;
      case "refused":
        this.all.delete(jah.id);
        jah.close();
        jah.owner.refused(jah);
        break;
      case "exited": {
        const how = message.signal ? `by ${message.signal}` : `with code ${message.code}`;
        this.lose(jah, `Jah ${jah.id} ended ${how}${message.complaint ? `: ${message.complaint}` : ""}`);
        break;
      }
      case "reclaim":
        jah.owner.reclaim(jah);
        break;
    }
  }

  private lose(jah: Jah, reason: string): void {
    if (jah.state === "gone") return;
    this.all.delete(jah.id);
    jah.close();
    jah.owner.lost(jah, reason);
  }

  private takeIn(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on("error", () => {}); // whoever calls may be gone before the answer, and is nobody's loss
    const secret = Buffer.from(String(request.headers["hallelujah-secret"] ?? ""));
    const jah = this.all.get(Number(/^\/jahs\/(\d+)$/.exec(request.url ?? "")?.[1]));
    const trusted = secret.length === this.secret.length && timingSafeEqual(secret, this.secret);
    if (!trusted || !jah || jah.state === "gone" || request.headers.upgrade !== CHANNEL_PROTOCOL) {
      socket.end("HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n");
      return;
    }
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${CHANNEL_PROTOCOL}\r\n\r\n`,
    );
    // A Jah whose channel breaks ends itself; the Congregation's word of its end may come later.
    const channel = new Channel<ToLiveJah, FromLiveJah>(
      socket,
      (message) => jah.receive(message),
      () => {
        if (jah.state !== "gone") this.ending.set(jah.id, jah.owner);
        this.lose(jah, `Jah ${jah.id} closed its channel`);
      },
    );
    channel.start(head);
    jah.attach(channel);
  }
}
