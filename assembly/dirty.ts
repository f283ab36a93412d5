/**
 * The dirty map: which pages of the arena were changed since the host last looked. Whoever writes into the arena marks what it
 * writes, in the same call from the host, as the map is read and cleared between frames. A missed mark is state that is
 * lost in a crash; one too many costs writing 64 KiB. Who marks what:
 *
 *   directory   `setLasting`, as nothing in it changes but while blocks come from the arena; clock.ts
 *   blocks      `takeBlock` marks the whole block, `giveBlock` the link that it leaves there
 *   entries     `Home` marks entries and slots that it moves and removes, `Entries.touchNew` those that are made, timers.ts
 *               the places of timers
 *   values      `Entries.touchState` before a lasting value is merged into or handed to the kernel, and with it the
 *               blocks of its aggregates, each by its `touch`
 *
 * Marks are not made to depend on where the address lies: those of the frame heap are cheaper than the question, and
 * nobody reads them.
 */
import { DIRTY } from "./abi";

const PAGE: usize = 0x10000;

/** Marks the page of an address. */
@inline export function touch(address: usize): void {
  store<u8>(address >> 16, 1, DIRTY);
}

/** Marks the pages of `bytes` bytes; at least one. */
@inline export function touchRange(address: usize, bytes: usize): void {
  touch(address);
  touch(address + bytes - 1);
  if (bytes > PAGE) touchBetween(address, address + bytes - 1);
}

function touchBetween(first: usize, last: usize): void {
  const from = (first >> 16) + 1;
  memory.fill(DIRTY + from, 1, (last >> 16) - from);
}
