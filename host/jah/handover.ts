/**
 * Partitions that change their owner. At the first frame of the routing that says so, the donor writes their entries out
 * in the form of routed sections, a chunk a turn, and forgets them; the receiver takes them in before it applies that
 * frame. Both do it between two frames, so each frame meets each entry once.
 *
 * A transfer is batches of kind TRANSFER: `frame` is the routing. `source` is 2 in the first one, whose payload is the state of
 * the clocks, by which the entries that follow know when they are due; and 1 in the last one, which says where the
 * donor's last frame of each source ended (JSON).
 */
import { HallelujahError } from "../core/errors.ts";
import type { KernelInstance } from "../kernel/instance.ts";
import * as map from "../kernel/memory-map.ts";
import { markDirty } from "../kernel/pages.ts";
import type { HttpPeers } from "../shuffle/http-peers.ts";
import { type Batch, encodeBatch, partsOf, TRANSFER } from "../wire/batch.ts";
import type { LiveRouting } from "../wire/live.ts";
import type { Inbox } from "./inbox.ts";

type Move = LiveRouting["moves"][number];

interface Expected {
  routing: number;
  /** Frame before which it happens. */
  start: number;
  move: Move;
  gives: boolean;
  began: boolean;
}

/**
 * What a step came to: nothing to do, waiting for somebody, more of the same to do, or an end: which partitions were
 * given away or received.
 */
export type Step = "none" | "waiting" | "progress" | { routing: number; move: Move; received: boolean };

export class Handover {
  private readonly kernel: () => KernelInstance;
  private readonly inbox: Inbox;
  private readonly peers: HttpPeers;
  private readonly expected: Expected[] = [];
  private readonly known = new Set<string>();
  private readonly arrived = new Map<number, Batch[]>();

  constructor(kernel: () => KernelInstance, inbox: Inbox, peers: HttpPeers) {
    this.kernel = kernel;
    this.inbox = inbox;
    this.peers = peers;
  }

  /** This Jah, `self`, takes part in a move. */
  expect({ id, start }: LiveRouting, move: Move, self: number): void {
    // A later routing from the same frame on names it again.
    const name = `${start} ${move.donor} ${move.receiver} ${move.from} ${move.to}`;
    if (this.known.has(name)) return;
    this.known.add(name);
    this.expected.push({ routing: id, start, move, gives: move.donor === self, began: false });
  }

  /** A chunk came from a donor, maybe before this Jah is at its frame. */
  receive(batch: Batch): void {
    const list = this.arrived.get(batch.frame);
    if (list) list.push(batch);
    else this.arrived.set(batch.frame, [batch]);
  }

  /** Whether something has to be done before the next frame is applied. */
  get busy(): boolean {
    return this.expected.some(({ start }) => start <= this.inbox.next);
  }

  /** Whether a part of what it gives is on its way: the instance that gives it must stand until all is. */
  get isGiving(): boolean {
    return this.expected.some(({ began }) => began);
  }

  /** Does a part of what has to be done before the next frame is applied. */
  step(): Step {
    const next = this.expected.find(({ start }) => start <= this.inbox.next);
    if (!next) return "none";
    return next.gives ? this.give(next) : this.take(next);
  }

  private give(expected: Expected): Step {
    const { move, routing } = expected;
    const { exports } = this.kernel();
    if (this.peers.full) return "waiting";
    if (!expected.began) {
      exports.exportStart(move.from, move.to);
      expected.began = true;
      this.peers.send(move.receiver, encodeBatch({ ...EMPTY, frame: routing, source: 2 }, [this.clocks()]));
    }
    const end = exports.exportStep();
    if (end) {
      const chunk = this.kernel().bytes.subarray(map.ENTRIES, end);
      this.peers.send(move.receiver, encodeBatch({ ...EMPTY, frame: routing }, [chunk]));
      return "progress";
    }
    const places = Buffer.from(JSON.stringify(this.inbox.places));
    const last = { ...EMPTY, frame: routing, source: 1 };
    this.peers.send(move.receiver, encodeBatch(last, [places]));
    exports.removeStart(move.from, move.to);
    while (exports.removeStep());
    this.forget(expected);
    return { routing, move, received: false };
  }

  private take(expected: Expected): Step {
    const chunks = this.arrived.get(expected.routing);
    const chunk = chunks?.shift();
    if (!chunk) return "waiting";
    const kernel = this.kernel();
    if (chunk.source === 2) {
      const [clocks] = partsOf(chunk.payload);
      if (clocks?.length !== map.CLOCKS_END - map.CLOCKS) throw damaged("its clocks are not whole");
      kernel.bytes.set(clocks, map.CLOCKS);
      markDirty(kernel.memory, map.CLOCKS, clocks.length);
      return "progress";
    }
    if (chunk.source !== 1) {
      for (const part of partsOf(chunk.payload)) {
        kernel.exports.apply(map.INPUT, kernel.place(part));
      }
      return "progress";
    }
    const [places] = partsOf(chunk.payload);
    this.inbox.goOn(placesIn(places));
    this.arrived.delete(expected.routing);
    this.forget(expected);
    return { routing: expected.routing, move: expected.move, received: true };
  }

  private clocks(): Uint8Array {
    return this.kernel().bytes.slice(map.CLOCKS, map.CLOCKS_END);
  }

  private forget(expected: Expected): void {
    this.expected.splice(this.expected.indexOf(expected), 1);
  }

  /** Forgets what an image holds beyond partitions [from, to). */
  dropOutside(from: number, to: number): void {
    const { exports } = this.kernel();
    for (const [a, b] of [
      [0, from],
      [to, 256],
    ]) {
      if (a === b) continue;
      exports.removeStart(a, b);
      while (exports.removeStep());
    }
  }
}

/** Where the donor's last frame of each source ended. Throws `batch-invalid`. */
function placesIn(part: Buffer | undefined): [source: number, end: number][] {
  let places: unknown;
  try {
    places = JSON.parse(String(part));
  } catch {
    // Said below.
  }
  if (!Array.isArray(places) || !places.every(isPlace)) throw damaged("it does not say where its frames end");
  return places;
}

function isPlace(place: unknown): place is [number, number] {
  return Array.isArray(place) && place.length === 2 && place.every(Number.isFinite);
}

function damaged(why: string): HallelujahError {
  return new HallelujahError("batch-invalid", `state that changes its owner cannot be taken in: ${why}`);
}

const EMPTY = { kind: TRANSFER, source: 0, start: 0, end: 0, time: -Infinity, clock: 0 };
