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
  /** When it was last asked to give its CPU back. */
  askedAt: number | undefined;
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

  /** A Jah's process ended: its CPU is free. */
  exited(jah: number, now: number): LedgerCommand[] {
    this.holders.delete(jah);
    this.withdraw(jah);
    return this.settle(now);
  }

  /** How streams stand. */
  told(loads: StreamLoad[], now: number): LedgerCommand[] {
    this.loads = new Map(loads.map((load) => [load.stream, load]));
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
      const cpu = this.cpus.find(
        (each) => ![...this.holders.values()].some((holder) => holder.cpu === each),
      )!;
      this.holders.set(claim.jah, { ...claim, cpu, since: now, askedAt: undefined });
      commands.push({ type: "start", jah: claim.jah, cpu, stream: claim.stream });
    }
    let lacking = this.waiting.length;
    for (const holder of this.holders.values()) {
      if (holder.askedAt === undefined) continue;
      lacking--;
      if (lacking < 0 || now - holder.askedAt < ASK_AGAIN_MS) continue;
      holder.askedAt = now;
      commands.push({ type: "reclaim", jah: holder.jah });
    }
    for (; lacking > 0; lacking--) {
      const victim = this.victim(now);
      if (!victim) break;
      victim.askedAt = now;
      commands.push({ type: "reclaim", jah: victim.jah });
    }
    return commands;
  }

  /** Who gives a CPU for the claims that wait; undefined if nobody has to, for now. */
  private victim(now: number): Holder | undefined {
    const waiting = new Set(this.waiting.map(({ stream }) => stream));
    const candidates = [...this.holders.values()].filter(
      ({ askedAt, stream }) => askedAt === undefined && !(waiting.size === 1 && waiting.has(stream)),
    );
    const idle = candidates
      .map((holder) => ({ holder, idleMs: this.idleMs(holder) }))
      .filter(({ idleMs }) => idleMs >= IDLE_MS)
      .toSorted((a, b) => b.idleMs - a.idleMs)[0]?.holder;
    if (idle) return idle;
    const rich = candidates
      .filter((holder) => this.countOf(holder.stream) > this.shareOf(holder.stream))
      .toSorted(
        (a, b) =>
          Number(b.kind === "transient") - Number(a.kind === "transient") ||
          this.countOf(b.stream) - this.countOf(a.stream) ||
          b.jah - a.jah,
      )[0];
    if (rich) return rich;
    return candidates
      .filter(({ since }) => now - since >= TURN_MS)
      .toSorted(
        (a, b) => Math.sign(this.minOf(a.stream)) - Math.sign(this.minOf(b.stream)) || a.since - b.since,
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
    return [...this.holders.values()].filter(
      (holder) => holder.stream === stream && holder.askedAt === undefined,
    ).length;
  }

  /** CPUs that a stream may have while others wait: its even part, its `min` at least, and one. */
  private shareOf(stream: string): number {
    const streams = new Set([...this.holders.values(), ...this.waiting].map((each) => each.stream));
    return Math.max(1, this.minOf(stream), Math.floor(this.cpus.length / streams.size));
  }
}
