/**
 * The two heaps of state. Tables and their aggregates live in the frame heap while a frame is mapped, and in the
 * arena when they last. The code is the same; `lasting` says which heap serves.
 *
 * The arena starts with its directory:
 *
 *   +0x0000  u32 magic   u32 version   u32 top (next free byte)   u32 reserved
 *   +0x0010  u32 free[32]: heads of the lists of free blocks, by power of two
 *   +0x0100  MAX_TABLES x 64 bytes: the lasting home of each table (state/home.ts)
 *   +0x1100  CLOCKS: how far each source of event time has got, and the watermark (clock.ts)
 *   +0x1900  DATASETS: MAX_DATASETS x 64 bytes: the home of each dataset (state/chunks.ts)
 *   +0x1d00  up to 64 KiB: reserved, but for
 *   +0x2000  ASIDE: the home of a table of the kernel before, while its entries are taken over (state/entries.ts)
 */
import { ABI_VERSION, ARENA, CLOCKS, FRAME_HEAP, FULL_TABLE, INPUT, PART_BYTES, VISITING, WATERMARK } from "./abi";
import { touch, touchRange } from "./dirty";

const MAGIC: u32 = 0x6a616821; // "!haj"
const TOP: usize = ARENA + 8;
const FREE: usize = ARENA + 0x10;
const FIRST: usize = ARENA + 0x10000;
/** More has no power of two in 32 bits. */
const BLOCK_BYTES_MAX: usize = 1 << 31;
/** Memory behind the last byte in use: wide loads run past the end of what they read. */
const SLACK: usize = 64;

let frameTop: usize = FRAME_HEAP;
/** Bytes taken from the frame heap for entries and blocks; indexes do not count, so parts depend on bytes alone. */
let frameBytes: usize = 0;
/** Whether the frame's tables are to be flushed as a further part, once the record at hand is done. */
export let partFull: bool = false;
/** Whether blocks come from the arena (entries are applied) or from the frame heap (a frame is mapped). */
export let lasting: bool = false;

export function setLasting(on: bool): void {
  lasting = on;
  if (on) touch(ARENA);
}

export function endPart(): void {
  partFull = true;
}

export function releaseFrame(): void {
  frameTop = FRAME_HEAP;
  frameBytes = 0;
  partFull = false;
}

/**
 * Texts from this address on are a dataset's, which is visited, and stay where they are; nothing lies there in other kernels. What the
 * host said is read once, as it holds for the instance.
 */
export let residentFrom: usize = load<u32>(VISITING) ? ARENA : <usize>-1;

/** Whether the arena is that of another kernel, which this one visits: nothing in it may change, and no table lasts. */
@inline export function visiting(): bool {
  return residentFrom == ARENA;
}

/** A new arena gets its directory; one in use stays as it is. */
function openArena(): void {
  if (load<u32>(ARENA) == MAGIC || visiting()) return;
  touch(ARENA);
  store<u32>(ARENA, MAGIC);
  store<u32>(ARENA, ABI_VERSION, 4);
  store<u32>(TOP, <u32>FIRST);
  for (let at = CLOCKS; at < WATERMARK; at += 8) store<f64>(at, NaN);
  store<f64>(WATERMARK, -Infinity);
}

/** `bytes` is a multiple of 8. `counted` is false for what depends on earlier frames, such as an index. */
@inline export function takeFrame(bytes: usize, counted: bool): usize {
  const at = frameTop;
  const end = at + bytes;
  if (end > INPUT) throw new Error("one record fills the frame's tables (48 MiB)");
  frameTop = end;
  if (counted) countFrame(bytes);
  return at;
}

/** Bytes that a part of the frame will take, beyond those that it takes in the frame heap. */
@inline export function countFrame(bytes: usize): void {
  frameBytes += bytes;
  if (frameBytes > PART_BYTES) partFull = true;
}

/** Fresh bytes at the end of the arena, zero; traps when the memory limit is reached. */
export function bumpArena(bytes: usize): usize {
  const at = <usize>load<u32>(TOP);
  const end = at + ((bytes + 7) & ~7);
  const have = (<usize>memory.size()) << 16;
  if (end + SLACK < at) outOfMemory();
  if (end + SLACK > have) {
    // Grow by an eighth, so that growing is rare; when that is refused, by what is needed.
    const need = <i32>((end + SLACK - have + 0xffff) >> 16);
    const wish = max<i32>(need, <i32>min<usize>((have - ARENA) >> 19, 1024));
    if (memory.grow(wish) < 0 && memory.grow(need) < 0) outOfMemory();
  }
  store<u32>(TOP, <u32>end);
  return at;
}

function outOfMemory(): void {
  throw new Error("out of memory");
}

/** Where the arena's used bytes end: what lies from ARENA up to there is all of the state. */
export function arenaEnd(): usize {
  return <usize>load<u32>(TOP);
}

/** Names the table on whose behalf the arena grows; the host reads it when memory runs out. */
@inline export function growing(table: u32): void {
  store<u32>(FULL_TABLE, table + 1);
}

/** log2 of the block that holds `bytes`: at least 16 bytes. */
@inline function classOf(bytes: usize): u32 {
  return max<u32>(4, 32 - <u32>clz<u32>(<u32>bytes - 1));
}

/** What a block of at least `bytes` really holds. */
export function blockBytes(bytes: usize): usize {
  return (<usize>1) << classOf(bytes);
}

/** A block of at least `bytes` (rounded up to a power of two) from the heap in use, with any content. */
export function takeBlock(bytes: usize): usize {
  if (bytes > BLOCK_BYTES_MAX) outOfMemory();
  const size = blockBytes(bytes);
  if (!lasting) return takeFrame(size, true);
  const list = FREE + ((<usize>classOf(bytes)) << 2);
  let block = <usize>load<u32>(list);
  if (block) store<u32>(list, load<u32>(block));
  else block = bumpArena(size);
  touchRange(block, bytes);
  return block;
}

/** Gives a block back. In the frame heap that does nothing: the whole heap is released with the frame. */
export function giveBlock(at: usize, bytes: usize): void {
  if (!lasting) return;
  const list = FREE + ((<usize>classOf(bytes)) << 2);
  touch(at);
  store<u32>(at, load<u32>(list));
  store<u32>(list, <u32>at);
}

openArena(); // before any table of the kernel is made
