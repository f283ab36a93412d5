/**
 * The runtime of kernels (`asc --runtime`): a bump allocator over the record heap with mark and release.
 * Nothing is ever collected: what a kernel allocates while it handles a record is gone after that record.
 */
import { BLOCK, BLOCK_OVERHEAD, OBJECT, OBJECT_OVERHEAD, OBJECT_MAXSIZE, AL_MASK } from "rt/common";
import { E_ALLOCATION_TOO_LARGE } from "util/error";
import { FRAME_HEAP } from "./abi";

let top: usize = ((__heap_base + BLOCK_OVERHEAD + AL_MASK) & ~AL_MASK) - BLOCK_OVERHEAD;
let mark: usize = top;

/** Everything allocated so far stays: called once, after the module's own objects were made. */
// @ts-ignore: decorator
@global export function __heap_mark(): void {
  mark = top;
}

/** Forgets everything allocated since the mark. */
// @ts-ignore: decorator
@global @inline export function __heap_release(): void {
  top = mark;
}


@inline function computeSize(size: usize): usize {
  return ((size + BLOCK_OVERHEAD + AL_MASK) & ~AL_MASK) - BLOCK_OVERHEAD;
}

// @ts-ignore: decorator
@global @unsafe export function __alloc(size: usize): usize {
  const block = changetype<BLOCK>(top);
  const pointer = top + BLOCK_OVERHEAD;
  const payload = computeSize(size);
  if (size > OBJECT_MAXSIZE || pointer + payload > FRAME_HEAP) throw new Error(E_ALLOCATION_TOO_LARGE);
  top = pointer + payload;
  block.mmInfo = payload;
  return pointer;
}

// @ts-ignore: decorator
@global @unsafe export function __realloc(pointer: usize, size: usize): usize {
  const before = changetype<BLOCK>(pointer - BLOCK_OVERHEAD).mmInfo;
  if (size <= before) return pointer;
  const moved = __alloc(max<usize>(size, before << 1));
  memory.copy(moved, pointer, before);
  return moved;
}

// @ts-ignore: decorator
@global @unsafe export function __free(pointer: usize): void {}

// @ts-ignore: decorator
@global @unsafe export function __new(size: usize, id: u32): usize {
  if (size > OBJECT_MAXSIZE) throw new Error(E_ALLOCATION_TOO_LARGE);
  const pointer = __alloc(OBJECT_OVERHEAD + size);
  const object = changetype<OBJECT>(pointer - BLOCK_OVERHEAD);
  object.gcInfo = 0;
  object.gcInfo2 = 0;
  object.rtId = id;
  object.rtSize = <u32>size;
  memory.fill(pointer + OBJECT_OVERHEAD, 0, size);
  return pointer + OBJECT_OVERHEAD;
}

// @ts-ignore: decorator
@global @unsafe export function __renew(pointer: usize, size: usize): usize {
  const moved = __realloc(pointer - OBJECT_OVERHEAD, OBJECT_OVERHEAD + size);
  changetype<OBJECT>(moved - BLOCK_OVERHEAD).rtSize = <u32>size;
  return moved + OBJECT_OVERHEAD;
}

// @ts-ignore: decorator
@global @unsafe export function __link(parent: usize, child: usize, expectMultiple: bool): void {}

// @ts-ignore: decorator
@global @unsafe export function __pin(pointer: usize): usize {
  return pointer;
}

// @ts-ignore: decorator
@global @unsafe export function __unpin(pointer: usize): void {}

// @ts-ignore: decorator
@global @unsafe export function __visit(pointer: usize, cookie: u32): void {}

// @ts-ignore: decorator
@global @unsafe export function __collect(): void {}
