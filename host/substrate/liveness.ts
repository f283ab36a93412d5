/**
 * Who is there, by beats; pure. A member renews its lease by a write that names the one before, so that of two with one name only one goes on.
 * Nobody compares clocks of machines: a holder counts from when it sent its last renewal, an observer from when it first saw it.
 *
 *   holder      sends a beat every `beatMs`; holds its lease for `holdMs` from when it sent the last one that was written
 *   observer    takes a member for lost when it saw the same beat for `lostMs`, which is longer than `holdMs` by what clocks may differ in speed
 *
 * Each member is observed by the few that follow it in the order of names, whoever they are: what a host sends and reads does not depend on how
 * many there are. An observer that could not read for a while begins anew: it may have been away itself.
 */

/** Times of a cluster, ms. */
export interface Times {
  beatMs: number;
  holdMs: number;
  lostMs: number;
}

export function timesOf(lostMs: number): Times {
  return { beatMs: lostMs / 5, holdMs: lostMs * 0.6, lostMs };
}

/** Members that observe each. */
const OBSERVERS = 2;

/** Those that `me` observes: the ones before it in the order of names, around the ring. */
export function observedBy(me: string, members: Iterable<string>): string[] {
  const ring = [...new Set([...members, me])].toSorted();
  const at = ring.indexOf(me);
  const count = Math.min(OBSERVERS, ring.length - 1);
  return Array.from({ length: count }, (_, i) => ring[(at - 1 - i + ring.length) % ring.length]);
}

/** The lease of this process. */
export class Lease {
  private readonly times: Times;
  private heldSince = -Infinity;

  constructor(times: Times) {
    this.times = times;
  }

  /** A beat that was sent at `sentAt` is written. */
  renewed(sentAt: number): void {
    this.heldSince = Math.max(this.heldSince, sentAt);
  }

  /** Whether nobody can have taken this process for lost yet. */
  isHeld(now: number): boolean {
    return now - this.heldSince < this.times.holdMs;
  }
}

/** What an observer knows of others. */
export class Observer {
  private readonly times: Times;
  private readonly seen = new Map<string, { beat: number; since: number }>();
  private readAt = -Infinity;

  constructor(times: Times) {
    this.times = times;
  }

  /**
   * The beats as they were read just now, by member; 0 for none. `askedAt` is when they were asked for: they may be as old as that. Answers those that
   * are lost, each with the beat that was its last. To be asked every `beatMs`.
   */
  read(
    beats: ReadonlyMap<string, number>,
    now: number,
    askedAt: number = now,
  ): { member: string; beat: number }[] {
    const wasAway = now - this.readAt > this.times.holdMs;
    this.readAt = now;
    if (wasAway) this.seen.clear();
    for (const member of this.seen.keys()) if (!beats.has(member)) this.seen.delete(member);
    const lost = [];
    for (const [member, beat] of beats) {
      const known = this.seen.get(member);
      if (known?.beat !== beat) this.seen.set(member, { beat, since: now });
      else if (askedAt - known.since >= this.times.lostMs) lost.push({ member, beat });
    }
    return lost;
  }
}
