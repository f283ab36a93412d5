/**
 * Which Jah has which CPU: pure, driven by events and their times. There are never more Jahs than CPUs. A claim that
 * waits is met in its turn; if no CPU is free, one is taken back: from a Jah that has nothing to do, then from a stream
 * that has more than its share, then from whoever has had its turn longest. A claim that does not wait gets a CPU that
 * is free, or a refusal.
 */
import { TURN_MS } from "../core/limits.ts";
import type { JahKind, StreamLoad } from "../wire/congregation.ts";

/** A Jah that has had nothing to do for so long may be taken back, ms. */
const IDLE_MS = 250;
/** Whoever was asked for a CPU is asked again after this time, ms. */
const ASK_AGAIN_MS = 500;
/** A Jah that has not gone after this time is not counted on: another one is asked too, ms. */
const OBEY_MS = 5_000;

export interface Claim {
  jah: number;
  stream: string;
  kind: JahKind;
  waits: boolean;
}

export type LedgerCommand =
  | { type: "start"; jah: number; cpu: number; stream: string }
  | { type: "refuse"; jah: number }
  | { type: "reclaim"; jah: number };

interface Holder extends Claim {
  cpu: number;
  since: number;
  /** When it was first and last asked to give its CPU back; undefined if it need not. */
  asked: { firstAt: number; lastAt: number } | undefined;
  /** Its Hallelu has told it to end, so that its CPU comes free without asking. */
  ending: boolean;
}

export class Ledger {
  private readonly cpus: readonly number[];
  private readonly holders = new Map<number, Holder>();
  private waiting: Claim[] = [];
  private loads = new Map<string, StreamLoad>();

  constructor(cpus: readonly number[]) {
    this.cpus = cpus;
  }

  get free(): number {
    return this.cpus.length - this.holders.size;
  }

  /** Whether a CPU has no Jah, or one that has nothing to do. */
  get hasIdle(): boolean {
    return this.free > 0 || this.idle([...this.holders.values()]) !== undefined;
  }

  /** The CPU of a Jah; undefined if it has none. */
  cpuOf(jah: number): number | undefined {
    return this.holders.get(jah)?.cpu;
  }

  get jahs(): number[] {
    return [...this.holders.keys()];
  }

  claim(claim: Claim, now: number): LedgerCommand[] {
    if (!claim.waits && this.free <= this.waiting.length) return [{ type: "refuse", jah: claim.jah }];
    this.waiting.push(claim);
    return this.settle(now);
  }

  withdraw(jah: number): void {
    this.waiting = this.waiting.filter((claim) => claim.jah !== jah);
  }

  /** A Jah was told to end: its CPU is on its way back. */
  ending(jah: number): void {
    const holder = this.holders.get(jah);
    if (holder) holder.ending = true;
  }

  /** A Jah's process ended: its CPU is free. */
  exited(jah: number, now: number): LedgerCommand[] {
    this.holders.delete(jah);
    this.withdraw(jah);
    return this.settle(now);
  }

  /** How streams stand. */
  told(loads: StreamLoad[], now: number): LedgerCommand[] {
    this.loads = new Map(loads.map((load) => [load.stream, load]));
    // A stream may have got the Jahs of another since they were claimed.
    const streams = new Map(loads.flatMap(({ stream, jahs }) => jahs.map(({ jah }) => [jah, stream])));
    for (const claim of [...this.waiting, ...this.holders.values()])
      claim.stream = streams.get(claim.jah) ?? claim.stream;
    return this.settle(now);
  }

  /** Whoever claimed is gone, and all its claims with it. */
  forget(): void {
    this.waiting = [];
    this.loads.clear();
  }

  private settle(now: number): LedgerCommand[] {
    const commands: LedgerCommand[] = [];
    while (this.waiting.length && this.free > 0) {
      const claim = this.waiting.shift()!;
      const cpu = this.freeCpu();
      this.holders.set(claim.jah, { ...claim, cpu, since: now, asked: undefined, ending: false });
      commands.push({ type: "start", jah: claim.jah, cpu, stream: claim.stream });
    }
    const reclaim = (holder: Holder) => {
      holder.asked = { firstAt: holder.asked?.firstAt ?? now, lastAt: now };
      commands.push({ type: "reclaim", jah: holder.jah });
    };
    let lacking = this.waiting.length;
    for (const holder of this.holders.values()) if (holder.ending) lacking--;
    for (const holder of this.holders.values()) {
      if (!holder.asked || holder.ending) continue;
      const due = now - holder.asked.lastAt >= ASK_AGAIN_MS;
      if (lacking > 0 && due) reclaim(holder);
      // Nobody waits for it any more; it may have begun to leave, so that it counts for a while yet.
      else if (lacking <= 0 && due) holder.asked = undefined;
      if (holder.asked && now - holder.asked.firstAt < OBEY_MS) lacking--;
    }
    for (; lacking > 0; lacking--) {
      const victim = this.victim(now);
      if (!victim) break;
      reclaim(victim);
    }
    return commands;
  }

  private freeCpu(): number {
    const taken = new Set([...this.holders.values()].map(({ cpu }) => cpu));
    return this.cpus.find((cpu) => !taken.has(cpu))!;
  }

  /** Who gives a CPU for the claims that wait; undefined if nobody has to, for now. */
  private victim(now: number): Holder | undefined {
    const waiting = new Set(this.waiting.map(({ stream }) => stream));
    const all = [...this.holders.values()].filter((holder) => !isLeaving(holder));
    // A stream that waits alone takes nothing from itself, but that its state comes before its helpers.
    const own = (holder: Holder) => waiting.size === 1 && waiting.has(holder.stream);
    const others = all.filter((holder) => !own(holder));
    return (
      this.idle(others) ??
      this.rich(others) ??
      longestTurn(others, now, (stream) => this.minOf(stream)) ??
      (this.waiting.some(({ kind }) => kind === "persistent")
        ? all.findLast((holder) => own(holder) && holder.kind === "transient")
        : undefined)
    );
  }

  /** The Jah that has had nothing to do for the longest time. */
  private idle(candidates: Holder[]): Holder | undefined {
    return candidates
      .map((holder) => ({ holder, idleMs: this.idleMs(holder) }))
      .filter(({ idleMs }) => idleMs >= IDLE_MS)
      .toSorted((a, b) => b.idleMs - a.idleMs)[0]?.holder;
  }

  /** A Jah of a stream above its share: one that only maps, of the stream with the most, the newest. */
  private rich(candidates: Holder[]): Holder | undefined {
    return candidates
      .filter(({ stream }) => this.countOf(stream) > this.shareOf(stream))
      .toSorted(
        (a, b) =>
          Number(b.kind === "transient") - Number(a.kind === "transient") ||
          this.countOf(b.stream) - this.countOf(a.stream) ||
          b.jah - a.jah,
      )[0];
  }

  private idleMs({ jah, stream }: Holder): number {
    return this.loads.get(stream)?.jahs.find((each) => each.jah === jah)?.idleMs ?? 0;
  }

  private minOf(stream: string): number {
    return this.loads.get(stream)?.min ?? 1;
  }

  /** Jahs of a stream that are not on their way out. */
  private countOf(stream: string): number {
    return [...this.holders.values()].filter((holder) => holder.stream === stream && !isLeaving(holder))
      .length;
  }

  /** CPUs that a stream may have while others wait: its even part, its `min` at least, and one. */
  private shareOf(stream: string): number {
    const streams = new Set([...this.holders.values(), ...this.waiting].map((each) => each.stream));
    return Math.max(1, this.minOf(stream), Math.floor(this.cpus.length / streams.size));
  }
}

function isLeaving({ asked, ending }: Holder): boolean {
  return ending || asked !== undefined;
}

/** The Jah whose turn has lasted longest, if it is over; streams that may do without any come first. */
function longestTurn(
  candidates: Holder[],
  now: number,
  minOf: (stream: string) => number,
): Holder | undefined {
  return candidates
    .filter(({ since }) => now - since >= TURN_MS)
    .toSorted((a, b) => Math.sign(minOf(a.stream)) - Math.sign(minOf(b.stream)) || a.since - b.since)[0];
}
