/**
 * The arena as pages of 64 KiB, for checkpoints: which ones changed (the SDK marks them, assembly/dirty.ts), their bytes out, and
 * back into another memory. A page's number is that of its addresses, `address >>> 16`, so that the first one is
 * FIRST_PAGE. All of this is for the time between two frames: while a frame is applied, marks may come before what they mark.
 */
import * as map from "./memory-map.ts";

export const PAGE_BYTES = 65536;
export const FIRST_PAGE = map.ARENA / PAGE_BYTES;

/** Pages that hold state where the arena ends at `arenaEnd`: [FIRST_PAGE, pagesEnd). */
export function pagesEnd(arenaEnd: number): number {
  return Math.ceil(arenaEnd / PAGE_BYTES);
}

/** The pages below `arenaEnd` that are marked, in ascending order. About 10 µs for each GiB, and what they are many. */
export function dirtyPages(memory: WebAssembly.Memory, arenaEnd: number): number[] {
  const end = pagesEnd(arenaEnd);
  const marks = new Uint8Array(memory.buffer, map.DIRTY, PAGE_BYTES);
  // Eight marks at a time: as a float they are 0 only together, as there is no sign bit.
  const eights = new Float64Array(memory.buffer, map.DIRTY, PAGE_BYTES / 8);
  const pages: number[] = [];
  for (let i = FIRST_PAGE >>> 3; i << 3 < end; i++) {
    if (eights[i] === 0) continue;
    for (let page = i << 3; page < (i + 1) << 3 && page < end; page++) if (marks[page]) pages.push(page);
  }
  return pages;
}

/** Forgets all marks. */
export function clearDirty(memory: WebAssembly.Memory): void {
  new Uint8Array(memory.buffer, map.DIRTY, PAGE_BYTES).fill(0);
}

/** Marks the pages of `bytes` bytes, at least one, that the host itself wrote into the arena. */
export function markDirty(memory: WebAssembly.Memory, address: number, bytes: number): void {
  const marks = new Uint8Array(memory.buffer, map.DIRTY, PAGE_BYTES);
  marks.fill(1, Math.floor(address / PAGE_BYTES), pagesEnd(address + bytes));
}

/** The bytes of pages, one behind the other, in a buffer that may be transferred: `used`, if it has their size. */
export function copyPages(
  memory: WebAssembly.Memory,
  pages: readonly number[],
  used?: ArrayBuffer,
): ArrayBuffer {
  const size = pages.length * PAGE_BYTES;
  const buffer = used?.byteLength === size ? used : new ArrayBuffer(size);
  const copy = new Uint8Array(buffer);
  const bytes = new Uint8Array(memory.buffer);
  pages.forEach((page, i) => {
    copy.set(bytes.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES), i * PAGE_BYTES);
  });
  return buffer;
}

/**
 * Makes room for an arena that ends at `arenaEnd`, in a memory in which no kernel was instantiated yet, and whose pages are to be
 * put back. Pages that are not keep their zeros, as they were never changed. Throws a RangeError where the memory may
 * not grow as far.
 */
export function growForPages(memory: WebAssembly.Memory, arenaEnd: number): void {
  // One page more than it ends in, as wide loads run past the end.
  const missing = pagesEnd(arenaEnd) + 1 - memory.buffer.byteLength / PAGE_BYTES;
  if (missing > 0) memory.grow(missing);
}

/** Puts the bytes of a page back. */
export function putPage(memory: WebAssembly.Memory, page: number, bytes: Uint8Array): void {
  if (page < FIRST_PAGE || bytes.length !== PAGE_BYTES) throw new TypeError(`this is no page ${page}`);
  new Uint8Array(memory.buffer, page * PAGE_BYTES, PAGE_BYTES).set(bytes);
}
