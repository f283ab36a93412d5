/**
 * One stream on virtual time: the real Dispatch and Inbox, with Jahs that are slow, die and come back, batches that are
 * delayed, doubled and overtake one another, and partitions that move meanwhile. Everything follows from a seed.
 */
import { Dispatch, PARTITIONS, type Routing, type Target } from "../../host/hallelu/dispatch.ts";
import { Inbox } from "../../host/jah/inbox.ts";
import { ROUTED } from "../../host/wire/batch.ts";
import { random } from "../run.ts";

class SimulatedJah {
  readonly id: number;
  readonly inbox: Inbox;
  /** Frames applied per partition that it owns; -1 where it owns nothing. */
  readonly applied = new Int32Array(PARTITIONS).fill(-1);
  readonly tasks: { routing: number; frame: number }[] = [];
  readonly routings = new Map<number, Routing>();
  /** Moves that it takes part in and has not done. */
  moves: { start: number; from: number; to: number; gives: boolean; other: number }[] = [];
  arrived: { from: number; to: number; donor: number; applied: Int32Array }[] = [];
  owns = false;
  leaving = false;

  constructor(id: number, next: number) {
    this.id = id;
    this.inbox = new Inbox(next);
  }
}

interface Flight {
  at: number;
  to: number;
  deliver: (jah: SimulatedJah) => void;
}

export class Simulation {
  readonly story: string[] = [];
  private readonly chance: () => number;
  private readonly jahs = new Map<number, SimulatedJah>();
  private readonly dispatch: Dispatch;
  private flights: Flight[] = [];
  private now = 0;
  private nextJah = 1;
  private starting: { at: number; jah: SimulatedJah }[] = [];
  /** State moves, or a Jah leaves: one step at a time, as the scaler does it. */
  private moving: { donor: number; receiver: number; leaves: boolean } | undefined;
  private announced = new Set<string>();

  constructor(seed: number) {
    this.chance = random(seed);
    this.dispatch = new Dispatch([{ jah: 0, from: 0, to: PARTITIONS }], 0, () => 1000);
    const first = new SimulatedJah(0, 0);
    first.applied.fill(0);
    first.owns = true;
    this.jahs.set(0, first);
    this.dispatch.joined(0);
  }

  /** Runs `steps` events, then lets all that is logged be applied. Throws when a rule is broken. */
  run(steps: number): { frames: number } {
    for (let i = 0; i < steps; i++) this.step(true);
    for (let i = 0; this.dispatch.lowest < this.dispatch.head; i++) {
      if (i > 200_000)
        throw new Error(`it does not come to an end: ${this.dispatch.lowest} of ${this.dispatch.head}`);
      this.step(false);
    }
    for (const { jah, from, to } of this.dispatch.routing.targets) {
      const owner = this.jahs.get(jah)!;
      for (let p = from; p < to; p++)
        if (owner.applied[p] !== this.dispatch.head && !owner.moves.length)
          throw new Error(`partition ${p} has ${owner.applied[p]} of ${this.dispatch.head} frames`);
    }
    return { frames: this.dispatch.head };
  }

  private pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.chance() * list.length)];
  }

  private step(eventful: boolean): void {
    this.now++;
    for (const { jah } of this.starting.filter(({ at }) => at <= this.now)) this.arrive(jah);
    this.starting = this.starting.filter(({ at }) => at > this.now);
    const due = this.flights.filter(({ at }) => at <= this.now);
    this.flights = this.flights.filter(({ at }) => at > this.now);
    for (const { to, deliver } of due) {
      const jah = this.jahs.get(to);
      if (jah) deliver(jah);
    }
    if (eventful) this.happen();
    for (const jah of this.jahs.values()) if (this.chance() < 0.6) this.work(jah);
    for (const { jah, routing, frames } of this.dispatch.handOut()) {
      this.announce();
      const to = this.jahs.get(jah)!;
      to.tasks.push(...frames.map((frame) => ({ routing, frame })));
    }
    this.release();
  }

  private happen(): void {
    const roll = this.chance();
    if (roll < 0.3) this.dispatch.logged(this.dispatch.head + 1 + Math.floor(this.chance() * 10));
    else if (roll < 0.34) this.addMapper();
    else if (roll < 0.38) this.split();
    else if (roll < 0.41) this.join();
    else if (roll < 0.43 && this.jahs.size) this.kill(this.pick([...this.jahs.keys()]));
  }

  private addMapper(): void {
    if (this.jahs.size + this.starting.length > 6) return;
    const jah = new SimulatedJah(this.nextJah++, 0);
    this.starting.push({ at: this.now + Math.floor(this.chance() * 20), jah });
  }

  private arrive(jah: SimulatedJah): void {
    this.jahs.set(jah.id, jah);
    this.dispatch.joined(jah.id);
    this.announce();
  }

  private get settled(): boolean {
    return !this.moving && this.dispatch.routing.targets.every(({ jah }) => this.jahs.has(jah));
  }

  private split(): void {
    if (!this.settled) return;
    const { targets } = this.dispatch.routing;
    const free = [...this.jahs.values()].filter(
      ({ id, leaving }) => !leaving && !targets.some(({ jah }) => jah === id),
    );
    const wide = targets.filter(({ from, to }) => to - from > 1);
    if (!free.length || !wide.length) return;
    const { jah: donor, from, to } = this.pick(wide);
    const at = from + 1 + Math.floor(this.chance() * (to - from - 1));
    this.move(donor, this.pick(free).id, at, to, false);
  }

  private join(): void {
    const { targets } = this.dispatch.routing;
    if (!this.settled || targets.length < 2) return;
    const i = Math.floor(this.chance() * targets.length);
    this.move(targets[i].jah, targets[i ? i - 1 : 1].jah, targets[i].from, targets[i].to, true);
  }

  private move(donor: number, receiver: number, from: number, to: number, leaves: boolean): void {
    this.story.push(`${this.now}: [${from}, ${to}) from ${donor} to ${receiver} at ${this.dispatch.head}`);
    this.moving = { donor, receiver, leaves };
    this.dispatch.move([{ from, to, donor, receiver }]);
    this.announce();
  }

  private kill(id: number): void {
    this.story.push(`${this.now}: ${id} dies`);
    const lost = this.lose(id);
    const moving = this.moving;
    if (moving && (moving.donor === id || moving.receiver === id)) {
      this.moving = undefined;
      lost.push(...this.lose(moving.donor === id ? moving.receiver : moving.donor));
    }
    for (const target of lost) this.recover(target);
  }

  private lose(id: number): Target[] {
    this.jahs.delete(id);
    this.flights = this.flights.filter(({ to }) => to !== id || this.chance() < 0.5);
    return this.dispatch.lost(id);
  }

  /** From nothing, as if there were no image. */
  private recover(target: Target): void {
    const jah = new SimulatedJah(this.nextJah++, 0);
    jah.owns = true;
    jah.applied.fill(0, target.from, target.to);
    this.dispatch.recover({ ...target, jah: jah.id }, 0);
    this.starting.push({ at: this.now + 5 + Math.floor(this.chance() * 50), jah });
  }

  private announce(): void {
    for (const routing of this.dispatch.routings) {
      for (const jah of this.jahs.values()) {
        const name = `${routing.id} ${jah.id}`;
        if (this.announced.has(name)) continue;
        this.announced.add(name);
        // A channel keeps its order, but takes its time.
        this.flights.push({ at: this.now + 1, to: jah.id, deliver: (to) => this.learn(to, routing) });
      }
    }
  }

  private learn(jah: SimulatedJah, routing: Routing): void {
    jah.routings.set(routing.id, routing);
    for (const { from, to, donor, receiver } of routing.moves) {
      if (donor !== jah.id && receiver !== jah.id) continue;
      const gives = donor === jah.id;
      const again = jah.moves.some(
        (move) => move.start === routing.start && move.from === from && move.gives === gives,
      );
      if (again || this.done.has(`${routing.start} ${donor} ${receiver} ${from}`)) continue;
      if (!gives && !jah.owns) jah.inbox.next = routing.start;
      jah.owns = true;
      jah.moves.push({ start: routing.start, from, to, gives, other: gives ? receiver : donor });
    }
  }

  private readonly done = new Set<string>();

  private work(jah: SimulatedJah): void {
    const handover = this.handOver(jah);
    if (handover === "did") return;
    const batch = handover === "waits" ? undefined : jah.inbox.take((id) => jah.routings.has(id));
    if (batch) return this.apply(jah, batch.frame, batch.routing);
    const task = jah.tasks[0];
    if (!task || !jah.routings.has(task.routing)) return;
    jah.tasks.shift();
    const routing = jah.routings.get(task.routing)!;
    for (const { jah: owner } of routing.targets) {
      const times = this.chance() < 0.1 ? 2 : 1;
      for (let i = 0; i < times; i++) {
        const at = this.now + 1 + Math.floor(this.chance() * 15);
        this.flights.push({ at, to: owner, deliver: (to) => to.inbox.add(batchOf(task.frame, routing.id)) });
      }
    }
    this.flights.push({ at: this.now, to: jah.id, deliver: () => {} });
    this.dispatch.mapped(jah.id, task.routing, task.frame);
  }

  private handOver(jah: SimulatedJah): "none" | "waits" | "did" {
    const move = jah.moves.find(({ start }) => start <= jah.inbox.next);
    if (!move) return "none";
    const { from, to, other, start } = move;
    if (move.gives) {
      const applied = jah.applied.slice(from, to);
      jah.applied.fill(-1, from, to);
      jah.moves.splice(jah.moves.indexOf(move), 1);
      this.done.add(`${start} ${jah.id} ${other} ${from}`);
      const at = this.now + 1 + Math.floor(this.chance() * 10);
      this.flights.push({
        at,
        to: other,
        deliver: (receiver) => receiver.arrived.push({ from, to, donor: jah.id, applied }),
      });
      return "did";
    }
    const chunk = jah.arrived.find((each) => each.donor === other && each.from === from);
    if (!chunk) return "waits";
    jah.arrived.splice(jah.arrived.indexOf(chunk), 1);
    jah.applied.set(chunk.applied, from);
    jah.moves.splice(jah.moves.indexOf(move), 1);
    this.done.add(`${start} ${other} ${jah.id} ${from}`);
    if (this.moving?.receiver === jah.id) {
      if (this.moving.leaves) {
        this.dispatch.leaving(other);
        const donor = this.jahs.get(other);
        if (donor) donor.leaving = true;
      }
      this.moving = undefined;
    }
    return "did";
  }

  /** Each partition of the target gets this frame, and it must be the next one for it. */
  private apply(jah: SimulatedJah, frame: number, id: number): void {
    const target = jah.routings.get(id)!.targets.find((each) => each.jah === jah.id);
    if (!target) throw new Error(`Jah ${jah.id} has no part in routing ${id}`);
    for (let p = target.from; p < target.to; p++) {
      if (jah.applied[p] !== frame)
        throw new Error(
          `partition ${p} at Jah ${jah.id} gets frame ${frame} after ${jah.applied[p]} (step ${this.now})`,
        );
      jah.applied[p] = frame + 1;
    }
    this.dispatch.appliedUpTo(jah.id, jah.inbox.next);
  }

  private release(): void {
    for (const jah of this.jahs.values()) {
      if (!jah.leaving || !this.dispatch.isDone(jah.id)) continue;
      this.dispatch.lost(jah.id);
      this.jahs.delete(jah.id);
    }
  }
}

function batchOf(frame: number, routing: number) {
  const place = { source: 0, start: 0, end: 0, time: -Infinity, clock: 0 };
  return { kind: ROUTED, frame, routing, version: 0, ...place, payload: Buffer.alloc(8) };
}
