/**
 * Who is there, by beats; pure. A member renews its lease by a write that names the one before, so that of two with one name only one goes on.
 * Nobody compares clocks of machines: a holder counts from when it sent its last renewal, an observer from when it first saw it.
 *
 *   holder      sends a beat every `beatMs`; holds its lease for `holdMs` from when it sent the last one that was written
 *   observer    takes a member for lost when it saw the same beat for `lostMs`, which is longer than `holdMs` by what clocks may differ in speed;
 *               or sooner, when for `goneMs` its server said, each time it was asked, that nobody listens for its process, and no beat came
 *
 * The connection of a process that is killed ends with it, and its server knows at once. A process whose connection broke may be taken for lost
 * so while it holds its lease: what it does then is refused by its epoch. One that has not answered yet is never lost by what a server says, as it
 * may be of a version that does not listen, or not allowed to.
 *
 * Each member is observed by the few that follow it in the order of names, whoever they are: what a host sends and reads does not depend on how
 * many there are. An observer that could not read for a while begins anew: it may have been away itself.
 */

/** Times of a cluster, ms. */
export interface Times {
  beatMs: number;
  holdMs: number;
  goneMs: number;
  lostMs: number;
}

/** A process whose server dies may need as long to be connected to another one, ms. */
const GONE_MS_MIN = 500;

export function timesOf(lostMs: number): Times {
  return { beatMs: lostMs / 5, holdMs: lostMs * 0.6, goneMs: Math.max(lostMs / 4, GONE_MS_MIN), lostMs };
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

/** What came of asking a process whether it is there: it answered, its server said that nobody listens, or nothing was heard in time. */
export interface Asked {
  process: string;
  word: "here" | "nobody" | "nothing";
}

export interface Loss {
  member: string;
  /** Its last one. */
  beat: number;
  /** It did not beat for `lostMs`; or its connection has ended, as its server says. */
  why: "silent" | "gone";
}

/** Times that a server has to say that nobody listens. */
const DENIALS_MIN = 2;

interface Seen {
  beat: number;
  since: number;
  /** Its process, once that has answered. */
  process: string | undefined;
  /** How often its server has said, one time after the other, that nobody listens for it; and the last time that it did not. */
  denials: number;
  undeniedAt: number;
}

/** What an observer knows of others. */
export class Observer {
  private readonly times: Times;
  private readonly seen = new Map<string, Seen>();
  private readAt = -Infinity;

  constructor(times: Times) {
    this.times = times;
  }

  /**
   * The beats as they were read just now, by member, 0 for none; and what came of asking. `askedAt` is when they were asked for: they may be as old as
   * that. Answers those that are lost. To be asked every `beatMs`.
   */
  read(
    beats: ReadonlyMap<string, number>,
    now: number,
    { asked = new Map(), askedAt = now }: { asked?: ReadonlyMap<string, Asked>; askedAt?: number } = {},
  ): Loss[] {
    const wasAway = now - this.readAt > this.times.holdMs;
    this.readAt = now;
    if (wasAway) this.seen.clear();
    for (const member of this.seen.keys()) if (!beats.has(member)) this.seen.delete(member);
    const lost: Loss[] = [];
    for (const [member, beat] of beats) {
      const seen = next(this.seen.get(member), beat, now, asked.get(member));
      this.seen.set(member, seen);
      const why = this.whyLost(seen, now, askedAt);
      if (why) lost.push({ member, beat, why });
    }
    return lost;
  }

  /** Nothing that was seen so far counts: the beats may be older than they seem. */
  away(): void {
    this.seen.clear();
  }

  private whyLost(
    { since, denials, undeniedAt }: Seen,
    now: number,
    askedAt: number,
  ): Loss["why"] | undefined {
    if (askedAt - since >= this.times.lostMs) return "silent";
    if (denials >= DENIALS_MIN && now - undeniedAt >= this.times.goneMs) return "gone";
    return undefined;
  }
}

function next(known: Seen | undefined, beat: number, now: number, asked: Asked | undefined): Seen {
  const isNew = known?.beat !== beat;
  const since = isNew ? now : known.since;
  if (asked?.word === "here") return { beat, since, process: asked.process, denials: 0, undeniedAt: now };
  const isDenied = asked?.word === "nobody";
  // A beat that is new at the first denial may be older than that; later on it says that the server's word means nothing.
  if (isDenied && known?.process === asked.process && !(isNew && known.denials))
    return { ...known, beat, since, denials: known.denials + 1 };
  return { beat, since, process: isDenied ? undefined : known?.process, denials: 0, undeniedAt: now };
}
