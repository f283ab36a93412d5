/**
 * When entries are due: a binary heap (Williams, "Algorithm 232: Heapsort", 1964) in a block of the arena, one timer for
 * each entry of a table with windows or sessions. Each entry holds the place of its timer, so that it can be taken out
 * when the entry is removed, or follow it when it moves. `place` is where in an entry that is.
 *
 *   timer: { i64 time, u32 entry, u32 0 }
 */
import { touch } from "../dirty";
import { giveBlock, takeBlock } from "../heap";
import { Home } from "./home";

const BYTES: usize = 16;
const FIRST_ROOM: u32 = 64;


@inline function timerAt(home: Home, i: u32): usize {
  return <usize>home.timers + <usize>i * BYTES;
}


@inline function put(home: Home, i: u32, time: i64, entry: usize, place: usize): void {
  const at = timerAt(home, i);
  store<i64>(at, time);
  store<u64>(at, entry, 8);
  store<u32>(entry + place, i);
  touch(at);
  touch(entry + place);
}

function up(home: Home, from: u32, time: i64, entry: usize, place: usize): void {
  let i = from;
  while (i) {
    const parent = (i - 1) >> 1;
    const at = timerAt(home, parent);
    if (load<i64>(at) <= time) break;
    put(home, i, load<i64>(at), load<u32>(at, 8), place);
    i = parent;
  }
  put(home, i, time, entry, place);
}

function down(home: Home, from: u32, time: i64, entry: usize, place: usize): void {
  const count = home.timerCount;
  let i = from;
  while (true) {
    let child = (i << 1) + 1;
    if (child >= count) break;
    if (child + 1 < count && load<i64>(timerAt(home, child + 1)) < load<i64>(timerAt(home, child))) child++;
    const at = timerAt(home, child);
    if (load<i64>(at) >= time) break;
    put(home, i, load<i64>(at), load<u32>(at, 8), place);
    i = child;
  }
  put(home, i, time, entry, place);
}

/** A new timer for an entry. To be called while blocks come from the arena. */
export function addTimer(home: Home, time: i64, entry: usize, place: usize): void {
  if (home.timerCount == home.timerRoom) {
    const room = home.timerRoom ? home.timerRoom << 1 : FIRST_ROOM;
    const block = takeBlock(<usize>room * BYTES);
    if (home.timerRoom) {
      memory.copy(block, home.timers, <usize>home.timerCount * BYTES);
      giveBlock(home.timers, <usize>home.timerRoom * BYTES);
    }
    home.timers = <u32>block;
    home.timerRoom = room;
  }
  up(home, home.timerCount++, time, entry, place);
}

/** The entry that is due first; 0 if there is none. */
@inline export function firstTimed(home: Home): usize {
  return home.timerCount ? <usize>load<u32>(home.timers, 8) : 0;
}

/** When it is due. */
@inline export function firstTime(home: Home): i64 {
  return load<i64>(home.timers);
}

/** The first timer is for a later time. */
export function putOff(home: Home, time: i64, place: usize): void {
  down(home, 0, time, <usize>load<u32>(home.timers, 8), place);
}

/** Takes out timer `i`. */
export function removeTimer(home: Home, i: u32, place: usize): void {
  const last = --home.timerCount;
  if (i == last) return;
  const at = timerAt(home, last);
  const time = load<i64>(at);
  const entry = <usize>load<u32>(at, 8);
  const parent = timerAt(home, (i - 1) >> 1);
  if (i && load<i64>(parent) > time) up(home, i, time, entry, place);
  else down(home, i, time, entry, place);
}

/** The entry of timer `i` lies elsewhere now. */
@inline export function moveTimer(home: Home, i: u32, entry: usize): void {
  const at = timerAt(home, i);
  touch(at);
  store<u32>(at, <u32>entry, 8);
}
