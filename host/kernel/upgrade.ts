/**
 * Another kernel over the same state: the directory of the arena gets its tables, and values that lie otherwise are moved.
 * Between two frames; what is not changed is not touched, so a swap of code alone takes as long as an instance (40 µs),
 * and one that changes a table some 50 ns for each of its entries.
 */
import { KernelInstance } from "./instance.ts";
import type { Copy, StateFit, TableFit } from "../wire/fit.ts";
import * as map from "./memory-map.ts";
import { markDirty } from "./pages.ts";

// Words of a home (assembly/state/home.ts).
const STRIDE = 8;
const TABLE = 9;
const HOME_WORDS = map.HOME_BYTES / 4;
/** A home that holds nothing and needs nothing. */
const NOTHING = new Uint32Array(HOME_WORDS).fill(1, STRIDE, STRIDE + 1);

/**
 * The instance of `next` over the arena that `old` worked on, by a fit without misfits. Throws what a kernel throws that stops at its
 * start, or for want of memory; the state is lost then.
 */
export function upgrade(old: KernelInstance, next: WebAssembly.Module, fit: StateFit): KernelInstance {
  const { memory } = old;
  const homes = readHomes(memory);
  const given = (from: number | undefined) => (from === undefined ? undefined : homes[from]);
  empty(
    old,
    homes,
    fit.removed.map(({ from }) => from),
  );
  const directory = fit.tables.map(({ from, copies }) => (copies ? undefined : given(from)));
  writeHomes(memory, directory);
  const kernel = new KernelInstance(next, memory);
  fit.tables.forEach((table, number) => {
    const { copies, from } = table;
    if (!copies || from === undefined) return;
    putAside(memory, homes[from]);
    writePlan(memory, table);
    kernel.exports.takeOver(number);
  });
  for (const { from } of fit.removed) {
    putAside(memory, homes[from]);
    kernel.exports.freeAside();
  }
  putAside(memory, new Uint32Array(HOME_WORDS));
  return kernel;
}

/** Has the old kernel remove all entries of some tables, whose homes are read anew then. */
function empty(old: KernelInstance, homes: Uint32Array[], tables: number[]): void {
  if (!tables.length) return;
  const { memory, exports } = old;
  writeHomes(
    memory,
    homes.map((home, i) => (tables.includes(i) ? home : NOTHING)),
    false,
  );
  exports.removeStart(0, 256);
  while (exports.removeStep());
  const after = readHomes(memory);
  for (const table of tables) homes[table] = after[table];
}

function homesOf(memory: WebAssembly.Memory): Uint32Array {
  return new Uint32Array(memory.buffer, map.HOMES, map.MAX_TABLES * HOME_WORDS);
}

function readHomes(memory: WebAssembly.Memory): Uint32Array[] {
  const words = homesOf(memory).slice();
  return Array.from({ length: map.MAX_TABLES }, (_, i) =>
    words.subarray(i * HOME_WORDS, (i + 1) * HOME_WORDS),
  );
}

/** Places without a home are for the kernel to open. `numbered`: homes learn the number of their new place. */
function writeHomes(memory: WebAssembly.Memory, homes: (Uint32Array | undefined)[], numbered = true): void {
  const words = homesOf(memory);
  words.fill(0);
  homes.forEach((home, i) => {
    if (!home?.[STRIDE]) return;
    words.set(home, i * HOME_WORDS);
    if (numbered) words[i * HOME_WORDS + TABLE] = i;
  });
  markDirty(memory, map.HOMES, words.byteLength);
}

function putAside(memory: WebAssembly.Memory, home: Uint32Array): void {
  new Uint32Array(memory.buffer, map.ASIDE, HOME_WORDS).set(home);
  markDirty(memory, map.ASIDE, map.HOME_BYTES);
}

/** What of a value stays, then what of it the kernel's `upgrade` is given; each ends with an item of 0 bytes. */
function writePlan(memory: WebAssembly.Memory, { copies = [], upgrade = [] }: TableFit): void {
  const items = (list: Copy[]) => [...list.flatMap(({ from, to, bytes }) => [from, to, bytes]), 0, 0, 0];
  const plan = [...items(copies), ...items(upgrade)];
  new Uint32Array(memory.buffer, map.INPUT, plan.length).set(plan);
}
