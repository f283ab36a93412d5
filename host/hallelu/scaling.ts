/**
 * How many Jahs a stream should have, and of which kind: pure, from what its Jahs told. Rates are true ones, bytes per
 * second of useful time rather than of wall time (DS2: Kalavri et al., "Three steps is all you need", OSDI 2018), so one
 * step leads to the right number.
 *
 * Each byte of input costs m seconds of mapping, which any Jah can do, and a seconds of applying, which the owner of
 * its partitions has to do. N Jahs, S of them with a shard, get through T bytes a second, where
 *
 *   T (m + a) <= N   and   T a <= S (shards of even size)
 *
 * Jahs are added while there is backlog and T is too small: one with a shard where the second bound is the lower one, else
 * transient ones. They are removed when fewer would do with room to spare, for a while that grows when loads come and go.
 * A step that did not help is taken back, and not tried again for a while that doubles.
 */

/** Backlog beyond which something is done about it, s at the present rate. */
const BACKLOG_LINE_S = 0.25;
/** Time in which a backlog should be gone, s. */
const DRAIN_S = 2;
/** Share of their time that the Jahs which are left may need after one is removed. */
const HEADROOM = 0.6;
/** Time that fewer Jahs would have done before one is removed, ms; doubles when it had to be added again soon. */
const CALM_MS = 3_000;
const CALM_MS_MAX = 60_000;
/** A Jah that is added within this time after one was removed was removed too early, ms. */
const REGRET_MS = 15_000;
/**
 * Time after which a step must have shown that it helps, from when all that it took is over, ms (what rates.ts takes a rate
 * over); and by how much of the rate before: so much, or half of what as many Jahs more should bring.
 */
const PROOF_MS = 3_000;
const PROOF_SHARE = 0.1;
/** Useful time after which what Jahs told of their work counts as known, s. */
const KNOWN_S = 1;
/** Share more of Jahs from which on a step can be held against what they should do, rather than against what they did. */
const LARGE_STEP = 0.5;
/** Time for which a step that did not help is not tried again, ms; doubles. */
const BLOCK_MS = 15_000;
const BLOCK_MS_MAX = 600_000;

export interface JahFacts {
  jah: number;
  /** Its partitions, [from, to); none of a transient one. */
  shard?: { from: number; to: number };
}

export interface StreamFacts {
  /** ms, from any start. */
  now: number;
  min: number;
  max: number;
  /** CPUs that are free. */
  free: number;
  backlogBytes: number;
  /** Bytes logged, and bytes that were mapped and applied everywhere, per second of wall time. */
  inBytesPerSecond: number;
  outBytesPerSecond: number;
  /** Useful seconds per byte of input: mapping, and applying (all owners together). 0: not known yet. */
  mapSecondsPerByte: number;
  applySecondsPerByte: number;
  /** Useful time that these two were taken from, s. */
  measuredSeconds: number;
  jahs: JahFacts[];
  /** How many of them should hold a shard, as the user wants it; 0: as many as is good. */
  shards: number;
  /** Whether a step is under way: a Jah starts, leaves, or state moves. */
  changing: boolean;
  /** Whether state that moved is being saved: no other may move. */
  saving: boolean;
}

export type ScalingCommand =
  | { type: "none" }
  | { type: "add-transient"; count: number }
  /** Half of a shard, from partition `at` on, goes to a new Jah. */
  | { type: "split"; jah: number; at: number }
  /** All partitions of a Jah go to a neighbour, and it leaves. */
  | { type: "join"; jah: number; into: number }
  | { type: "remove-transient"; jahs: number[] };

export interface ScalingMemory {
  calmMs: number;
  calmSince: number | undefined;
  removedAt: number;
  /** Since when there has been a backlog beyond the line. */
  behindSince: number | undefined;
  /** When a step was last under way: a rate over a time before says nothing of the Jahs that there are. */
  changedAt: number;
  /** What was added and has not proved itself: what there was before. */
  step: { rate: number; jahs: number; shards: number } | undefined;
  /** What was added and did not help goes again, down to so many. */
  undo: { jahs: number; shards: number } | undefined;
  blockedUntil: number;
  blockMs: number;
}

export const NO_MEMORY: ScalingMemory = {
  calmMs: CALM_MS,
  calmSince: undefined,
  removedAt: -Infinity,
  behindSince: undefined,
  changedAt: -Infinity,
  step: undefined,
  undo: undefined,
  blockedUntil: -Infinity,
  blockMs: BLOCK_MS,
};

const NONE: ScalingCommand = { type: "none" };

/** What to do now, and what to remember for the next time. To be asked some ten times a second. */
export function decideScaling(
  facts: StreamFacts,
  before: ScalingMemory,
): { command: ScalingCommand; memory: ScalingMemory } {
  const { jahs, max, min, now } = facts;
  const behindSince = backlogSeconds(facts) < BACKLOG_LINE_S ? undefined : (before.behindSince ?? now);
  const changedAt = facts.changing ? now : before.changedAt;
  const memory = { ...before, behindSince, changedAt };
  if (facts.changing) return { command: NONE, memory };
  if (jahs.length > Math.max(1, max))
    return {
      command: remove(facts, jahs.length - Math.max(1, max)),
      memory: { ...memory, step: undefined, undo: undefined },
    };
  const fixed = fixShards(facts);
  if (fixed) return { command: fixed, memory };
  const undone = memory.undo && takeBack(facts, memory.undo);
  if (undone) return { command: undone, memory };
  const proved = prove(facts, { ...memory, undo: undefined });
  if (proved.undo) return decideScaling(facts, proved);
  const limit = Math.min(max, jahs.length + facts.free);
  if (jahs.length < min && limit > jahs.length) {
    const count = Math.min(min, limit) - jahs.length;
    return { command: { type: "add-transient", count }, memory: proved };
  }
  const wanted = jahsWanted(facts, limit);
  return wanted > jahs.length ? grow(facts, proved, wanted - jahs.length) : shrink(facts, proved);
}

function grow(
  facts: StreamFacts,
  memory: ScalingMemory,
  count: number,
): { command: ScalingCommand; memory: ScalingMemory } {
  const { now } = facts;
  const calm = { ...memory, calmSince: undefined };
  if (now < memory.blockedUntil) return { command: NONE, memory: calm };
  const command = add(facts, count);
  if (command.type === "none") return { command, memory: calm };
  const regret = now - memory.removedAt < REGRET_MS;
  const calmMs = regret ? Math.min(memory.calmMs * 2, CALM_MS_MAX) : Math.max(memory.calmMs / 2, CALM_MS);
  const added = command.type === "add-transient" ? command.count : 1;
  // Steps that follow one another are one, and prove themselves together.
  return { command, memory: { ...calm, calmMs, step: firstStep(facts, memory, added), changedAt: now } };
}

/** What there was before the first of the steps that have not proved themselves. */
function firstStep(
  facts: StreamFacts,
  { step, behindSince, changedAt }: ScalingMemory,
  added: number,
): { rate: number; jahs: number; shards: number } {
  if (step) return step;
  const { now, jahs, measuredSeconds, outBytesPerSecond } = facts;
  const shards = shardsOf(facts);
  // A load, or Jahs, that were not there for all of the time that the rate is taken over: what was done says too little.
  const isNew = now - Math.max(behindSince ?? now, changedAt) < PROOF_MS;
  const canTell = measuredSeconds >= KNOWN_S && added >= LARGE_STEP * jahs.length;
  const could = isNew && canTell ? capacity(facts, jahs.length, shards) : 0;
  return { rate: Math.max(outBytesPerSecond, could), jahs: jahs.length, shards };
}

/** Seconds that the backlog takes at what the Jahs can do. */
export function backlogSeconds(facts: StreamFacts): number {
  if (!facts.backlogBytes) return 0;
  const rate = capacity(facts, facts.jahs.length, shardsOf(facts));
  return rate ? facts.backlogBytes / rate : 0;
}

function shardsOf({ jahs }: StreamFacts): number {
  return jahs.filter(({ shard }) => shard).length;
}

/** Bytes a second that so many Jahs get through; Infinity if that is not known. */
function capacity(
  { mapSecondsPerByte: m, applySecondsPerByte: a }: StreamFacts,
  jahs: number,
  shards: number,
): number {
  if (!m && !a) return Infinity;
  return Math.min(jahs / (m + a), a ? shards / a : Infinity);
}

function jahsWanted(facts: StreamFacts, limit: number): number {
  const { jahs, backlogBytes, inBytesPerSecond } = facts;
  if (backlogSeconds(facts) < BACKLOG_LINE_S) return jahs.length;
  const needed = inBytesPerSecond + backlogBytes / DRAIN_S;
  for (let count = jahs.length; count < limit; count++) {
    // Whoever is added may hold a shard.
    if (capacity(facts, count, count) >= needed) return count === jahs.length ? count + 1 : count;
  }
  return limit;
}

function add(facts: StreamFacts, count: number): ScalingCommand {
  const { mapSecondsPerByte: m, applySecondsPerByte: a, jahs } = facts;
  // With one Jah more: is it the owners that limit?
  const limits = a && shardsOf(facts) / a < (jahs.length + 1) / (m + a);
  if (limits && !facts.shards && facts.saving) return NONE; // a split, as soon as one can be
  const split = limits && !facts.shards ? splitWidest(facts) : NONE;
  return split.type === "none" ? { type: "add-transient", count } : split;
}

function splitWidest({ jahs, saving }: StreamFacts): ScalingCommand {
  if (saving) return NONE;
  const [widest] = jahs
    .filter(({ shard }) => shard)
    .toSorted((x, y) => y.shard!.to - y.shard!.from - (x.shard!.to - x.shard!.from));
  if (!widest) return NONE;
  const { from, to } = widest.shard!;
  return to - from > 1 ? { type: "split", jah: widest.jah, at: (from + to) >> 1 } : NONE;
}

/** A step towards the number of shards that the user wants; undefined if there is none to take. */
function fixShards(facts: StreamFacts): ScalingCommand | undefined {
  const { shards, jahs, max, free } = facts;
  if (!shards) return undefined;
  const there = shardsOf(facts);
  if (there > shards) return remove({ ...facts, jahs: jahs.filter(({ shard }) => shard) });
  if (there >= Math.min(shards, max)) return undefined;
  if (jahs.length < max && free > 0) return splitWidest(facts);
  const transient = jahs.find(({ shard }) => !shard);
  return transient ? { type: "remove-transient", jahs: [transient.jah] } : undefined;
}

/** What to remember once it is known whether the last steps helped; `undo` if they did not. */
function prove(facts: StreamFacts, memory: ScalingMemory): ScalingMemory {
  const { step } = memory;
  if (!step) return memory;
  const { now, jahs, outBytesPerSecond } = facts;
  const added = jahs.length - step.jahs;
  // It was refused, or its CPU was needed elsewhere: that says nothing of how good it was.
  if (added <= 0) return { ...memory, step: undefined };
  if (now - memory.changedAt < PROOF_MS) return memory;
  const share = Math.min(PROOF_SHARE, added / step.jahs / 2);
  const helped = outBytesPerSecond > step.rate * (1 + share) || backlogSeconds(facts) < BACKLOG_LINE_S;
  if (helped) return { ...memory, step: undefined, blockMs: BLOCK_MS };
  return {
    ...memory,
    step: undefined,
    undo: { jahs: step.jahs, shards: step.shards },
    blockedUntil: now + memory.blockMs,
    blockMs: Math.min(memory.blockMs * 2, BLOCK_MS_MAX),
  };
}

/** The next of what did not help: Jahs that only map, then shards that were split off. Undefined if nothing is left. */
function takeBack(facts: StreamFacts, undo: { jahs: number; shards: number }): ScalingCommand | undefined {
  const { jahs } = facts;
  const count = jahs.length - undo.jahs;
  if (count <= 0) return undefined;
  const owners = jahs.filter(({ shard }) => shard);
  const transient = count - Math.max(0, owners.length - undo.shards);
  return transient > 0 ? remove(facts, transient) : remove({ ...facts, jahs: owners });
}

function shrink(
  facts: StreamFacts,
  memory: ScalingMemory,
): { command: ScalingCommand; memory: ScalingMemory } {
  const { now, jahs, min, inBytesPerSecond } = facts;
  const fewer = jahs.length - 1;
  const enough =
    fewer >= Math.min(facts.shards, facts.max) &&
    fewer >= Math.max(1, min) &&
    backlogSeconds(facts) < BACKLOG_LINE_S &&
    inBytesPerSecond <= HEADROOM * capacity(facts, fewer, Math.min(fewer, shardsOf(facts)));
  if (!enough) return { command: NONE, memory: { ...memory, calmSince: undefined } };
  const calmSince = memory.calmSince ?? now;
  if (now - calmSince < memory.calmMs) return { command: NONE, memory: { ...memory, calmSince } };
  const command = remove(facts);
  if (command.type === "none") return { command, memory: { ...memory, calmSince } };
  return { command, memory: { ...memory, calmSince: undefined, removedAt: now, step: undefined } };
}

/** Transient Jahs go first, up to `count`, the newest; then the smallest shard into its neighbour, as soon as state may move. */
function remove({ jahs, saving }: StreamFacts, count = 1): ScalingCommand {
  const transient = jahs.filter(({ shard }) => !shard).map(({ jah }) => jah);
  if (transient.length) return { type: "remove-transient", jahs: transient.slice(-count) };
  const owners = jahs.filter(({ shard }) => shard).toSorted((x, y) => x.shard!.from - y.shard!.from);
  if (saving || owners.length < 2) return NONE;
  const widthOf = (i: number) => owners[i].shard!.to - owners[i].shard!.from;
  // A shard that is unavailable may lie between two.
  const touch = (i: number) =>
    i > 0 && i < owners.length && owners[i - 1].shard!.to === owners[i].shard!.from;
  let smallest = -1;
  for (let i = owners.length - 1; i >= 0; i--) {
    if (!touch(i) && !touch(i + 1)) continue;
    if (smallest < 0 || widthOf(i) < widthOf(smallest)) smallest = i;
  }
  if (smallest < 0) return NONE;
  const left = touch(smallest) ? widthOf(smallest - 1) : Infinity;
  const right = touch(smallest + 1) ? widthOf(smallest + 1) : Infinity;
  const into = left <= right ? smallest - 1 : smallest + 1;
  return { type: "join", jah: owners[smallest].jah, into: owners[into].jah };
}
