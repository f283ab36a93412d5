/** A call for a stream of another host: it is made there, and what that answers is passed on as it comes. */
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import { PassThrough } from "node:stream";
import { pipeline } from "node:stream/promises";
import { Agent } from "undici";
import { HallelujahError, messageOf } from "../../core/errors.ts";
import { HOSTS, SERVED_BY, VIA } from "../../wire/headers.ts";
import type { Neighbour, Neighbours } from "../neighbours.ts";
import { dropRest } from "./refuse.ts";

/** Hosts that a client is told of: it needs another one, not all. */
const HOSTS_MAX = 8;
/** Time in which another host has to take a connection, ms. */
const CONNECT_MS = 2_000;
/** Headers of one connection (RFC 9110, 7.6.1), and those that the other connection has of its own. */
const HOPS = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "expect",
  "host",
  "origin", // it was checked here
  HOSTS, // each host tells of the others, and so of the one that answers
]);
const STREAM = /^\/v1\/streams\/([^/?]+)/;

/** The streams of this host. */
export interface OwnStreams {
  has: (name: string) => boolean;
  /** See `Lease.doubted`; undefined where there is no doubt that this host leads a stream. */
  doubt: (name: string) => Promise<number> | undefined;
}

export class Forwarding {
  private readonly neighbours: Neighbours;
  private readonly own: OwnStreams;
  /** The calls that go on, each with what ends it. */
  private readonly calls = new Map<AbortController, Neighbour>();
  // An answer may take as long as it takes: whoever asked leaves when it is too long, and it ends when the cluster loses the other host.
  private readonly agent = new Agent({ connect: { timeout: CONNECT_MS }, headersTimeout: 0, bodyTimeout: 0 });

  constructor(neighbours: Neighbours, own: OwnStreams) {
    this.neighbours = neighbours;
    this.own = own;
    neighbours.onChange(() => this.endLost());
  }

  /** Ends the calls of hosts that are not there any more: a machine that is gone closes no connection. */
  private endLost(): void {
    for (const [stop, to] of this.calls)
      if (!this.neighbours.isUp(to)) stop.abort(new Error("the cluster has lost it"));
  }

  /** Where some of the others serve, separated by spaces. */
  get hosts(): string {
    return this.neighbours.urls.slice(0, HOSTS_MAX).join(" ");
  }

  /** The other host that a call is for, if it is for another one. Throws `host-lost`, `stream-moved` or `cluster-unreachable`. */
  target({ url, method, headers }: IncomingMessage): Neighbour | undefined {
    const [, encoded] = STREAM.exec(url!) ?? [];
    if (encoded === undefined) return undefined;
    const name = decoded(encoded);
    if (name === undefined || this.own.has(name)) return undefined;
    const isNew = method === "PUT" && headers["if-match"] === undefined;
    if (headers[VIA] !== undefined) {
      if (!isNew) this.neighbours.refuseUnlessOwn(name);
      return undefined;
    }
    const there = this.neighbours.elsewhere(name);
    if (!there && !isNew) this.neighbours.refuseUnlessWhole(name);
    return there || !isNew || this.neighbours.leads(name) ? there : this.place(url!);
  }

  /**
   * For a call that is served here, of a stream of which it is not sure that this host leads it: resolves with how old an answer may be, s; 0 if it is not. Rejects
   * with `stream-moved`; and with `cluster-unreachable` for a call that changes something.
   */
  doubt({ url, method }: IncomingMessage): Promise<number> | undefined {
    const name = decoded(STREAM.exec(url!)?.[1] ?? "");
    const doubted = name ? this.own.doubt(name) : undefined;
    const isRecords = /^\/v1\/streams\/[^/?]+\/records/.test(url!);
    return doubted?.then((age) => {
      if (age && isRecords && method === "POST")
        throw new HallelujahError(
          "cluster-unreachable",
          `this host has not reached its cluster for ${age} s, and so takes no records of ${name}; send them again in a moment`,
        );
      return age;
    });
  }

  /** The other host that a new stream goes to: that of its user's choice, or of the streams that it needs, or that has the most room. */
  private place(url: string): Neighbour | undefined {
    const query = new URLSearchParams(url.split("?")[1]);
    const host = query.get("host");
    if (host !== null) return this.neighbours.named(host);
    const from = query.get("from");
    if (from !== null) return this.own.has(from) ? undefined : this.neighbours.elsewhere(from);
    // Files of this host.
    return query.has("source") || query.has("sink") ? undefined : this.neighbours.roomiest;
  }

  /**
   * Resolves when the answer is passed on, or its client has left. Rejects with `host-lost` if there is none: then something of the request's
   * body may still be to come.
   */
  async forward(to: Neighbour, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const stop = new AbortController();
    this.calls.set(stop, to);
    response.once("close", () => stop.abort());
    const body = bodyOf(request);
    try {
      const answer = await this.agent.request({
        origin: to.url,
        path: request.url!,
        method: request.method as "GET",
        headers: { ...passedOn(request.headers), [VIA]: this.neighbours.self },
        body,
        signal: stop.signal,
      });
      response.writeHead(answer.statusCode, { ...passedOn(answer.headers), [SERVED_BY]: to.url });
      response.flushHeaders();
      await pipeline(answer.body, response);
    } catch (cause) {
      if (response.headersSent || response.destroyed) return void response.destroy();
      const message = `host ${to.name} does not answer at ${to.url}: ${messageOf(cause)}; whether it has taken what was sent is not known, try again`;
      throw new HallelujahError("host-lost", message, { cause });
    } finally {
      this.calls.delete(stop);
      if (body) request.unpipe(body);
    }
    dropRest(request);
  }

  close(): void {
    void this.agent.destroy();
  }
}

/**
 * The body of a request, if it has one: a stream of its own, as undici takes its socket from a request that it does not send whole, and the rest
 * could not be read any more.
 */
function bodyOf(request: IncomingMessage): PassThrough | null {
  const { "content-length": length, "transfer-encoding": encoding } = request.headers;
  if (length === undefined && encoding === undefined) return null;
  // What goes wrong with it goes wrong with its call.
  return request.pipe(new PassThrough().on("error", () => {}));
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

function passedOn(headers: IncomingHttpHeaders): Record<string, string | string[]> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) =>
      value === undefined || HOPS.has(name) ? [] : [[name, value]],
    ),
  );
}
