/**
 * The life of a stream as a state machine. Pure: an event leads from one state to the next and names what has to be done
 * for it; stream.ts tells the events and carries the effects out.
 *
 *   parked, paused                 --start, wake-->  starting, waking
 *   starting, waking, recovering   --ready-->        running
 *   starting, waking, running      --lose-->         recovering
 *   all of these                   --park-->         parking   --parked, paused-->  parked, paused
 *   all of these                   --close-->        closing   --parked, paused-->  closed
 *   all of these                   --fail-->         failed
 *   all of these                   --remove-->       removed, for good
 */
import type { StreamState } from "../wire/http.ts";

export type State =
  /** What users see (wire/http.ts). */
  | StreamState
  /** Its state is brought together and written; users see what it was before. */
  | "parking"
  /** The same, and it will not wake again in this process. */
  | "closing"
  /** Parked for good: the next process opens it anew. */
  | "closed"
  | "removed";

export type Event =
  /** Shards without a Jah are to have one: nothing was ever logged, or something was. */
  | "start"
  | "wake"
  /** Every shard has a Jah that works. */
  | "ready"
  /** A shard's Jah ended. */
  | "lose"
  /** It is to rest: it is idle, its CPU is needed, or its user says so. */
  | "park"
  /** Its state is written and its Jahs are gone; the second by its user's wish. */
  | "parked"
  | "paused"
  | "fail"
  /** The process of the Hallelu ends. */
  | "close"
  | "remove";

export type Effect =
  /** Claim a Jah for each shard that has none. */
  | "claim"
  /** Bring the state together, write it, and let all Jahs go; then tell `parked` or `paused`. */
  | "save"
  /** Let all Jahs go as they are. */
  | "drop"
  /** Wake again if there is work. */
  | "resume";

export interface Transition {
  to: State;
  effects: readonly Effect[];
}

/** The event changes nothing: what it asks for is under way, or comes too late. */
const STAYS = "stays";
type Row = Partial<Record<Event, Transition | typeof STAYS>>;

const to = (state: State, ...effects: Effect[]): Transition => ({ to: state, effects });

/** It ends, however it stands. */
const ENDS: Row = { fail: to("failed", "drop"), remove: to("removed", "drop") };

/** No Jahs, and it may have some. */
const RESTS: Row = {
  ...ENDS,
  start: to("starting", "claim"),
  wake: to("waking", "claim"),
  park: to("parking", "save"),
  close: to("closing", "save"),
};

/** Jahs, or claims for some. */
const WORKS: Row = { ...RESTS, ready: to("running"), lose: to("recovering", "claim") };

/** No shard gets a Jah any more, and none is waited for. */
const REFUSES: Row = { start: STAYS, wake: STAYS, lose: STAYS, park: STAYS, close: STAYS };

/** What is not here must not happen. */
const TABLE: Record<State, Row> = {
  starting: WORKS,
  waking: WORKS,
  recovering: WORKS,
  running: WORKS,
  parking: {
    ...REFUSES,
    ...ENDS,
    parked: to("parked", "resume"),
    paused: to("paused"),
    close: to("closing"),
  },
  parked: RESTS,
  paused: RESTS,
  closing: { ...REFUSES, ...ENDS, parked: to("closed"), paused: to("closed") },
  // What was being written when it closed may still fail.
  closed: { ...REFUSES, ...ENDS },
  failed: { ...REFUSES, parked: STAYS, paused: STAYS, fail: STAYS, remove: to("removed", "drop") },
  removed: { ...REFUSES, parked: STAYS, paused: STAYS, fail: STAYS, remove: STAYS },
};

/** What users see of a state; `before` is what they saw last. */
function shownAs(state: State, before: StreamState): StreamState {
  switch (state) {
    case "parking":
    case "closing":
    case "removed":
      return before;
    case "closed":
      return "parked";
    default:
      return state;
  }
}

/** Where an event leads, and what it takes. A `TypeError` if it cannot happen in this state. */
export function transition(state: State, event: Event): Transition {
  const found = TABLE[state][event];
  if (!found) throw new TypeError(`a stream that is ${state} cannot be told "${event}"`);
  return found === STAYS ? to(state) : found;
}

/** Where one stream stands. */
export class Lifecycle {
  private at: State = "starting";
  private seen: StreamState = "starting";

  get state(): State {
    return this.at;
  }

  /** The state as users see it. */
  get shown(): StreamState {
    return this.seen;
  }

  /** Whether it never works again in this process. */
  get isOver(): boolean {
    return this.at === "failed" || this.at === "closing" || this.at === "closed" || this.at === "removed";
  }

  /** Whether its Jahs get nothing new, as its state is being written. */
  get isParking(): boolean {
    return this.at === "parking" || this.at === "closing";
  }

  /** An event happened; what has to be done for it. */
  take(event: Event): readonly Effect[] {
    const { to: state, effects } = transition(this.at, event);
    this.at = state;
    this.seen = shownAs(state, this.seen);
    return effects;
  }
}
