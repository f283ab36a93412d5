/**
 * Records as they are, on their way to `fold` at the owner of their key. While a frame is mapped they are kept in the
 * frame heap; then they are written out by owner, in the order of (partition, place in the input), in which their
 * owner folds them. So what `fold` emits has the same order however many owners there are.
 *
 *   kept:    { u32 next, u32 partition, u32 bytes, u32 0 } then the record as it is sent
 *   section: { u32 RECORDS, u32 records } then each record: { u32 bytes, u32 0 } struct, texts, up to a multiple of 8
 *
 * A section that is not wholly folded, as what was emitted has to be fetched first, is left with a new header before
 * the first record to come.
 */
import { OUTPUT_END, OWNERS, RECORDS } from "./abi";
import { takeFrame } from "./heap";

const KEPT_HEADER: usize = 16;
export const RECORD_HEADER: usize = 8;
/** Per partition: first and last record kept, u32 each; then how many, u32 each. */
const lists: usize = memory.data(256 * 12, 8);
const COUNTS: usize = 256 * 8;
let kept: u32 = 0;

/** Before a part of a frame. */
export function resetRecords(): void {
  memory.fill(lists, 0, 256 * 12);
  kept = 0;
}

/** Room for a record of `partition` whose struct and texts take `bytes`; returns where the struct goes. */
export function keepRecord(partition: u32, bytes: usize): usize {
  const size = (RECORD_HEADER + bytes + 7) & ~7;
  const at = takeFrame(KEPT_HEADER + size + 32, true);
  store<u64>(at, (<u64>partition) << 32);
  store<u64>(at, size, 8);
  store<u64>(at, size, KEPT_HEADER);
  const list = lists + ((<usize>partition) << 3);
  if (load<u32>(list)) store<u32>(load<u32>(list, 4), <u32>at);
  else store<u32>(list, <u32>at);
  store<u32>(list, <u32>at, 4);
  const count = lists + COUNTS + ((<usize>partition) << 2);
  store<u32>(count, load<u32>(count) + 1);
  kept++;
  return at + KEPT_HEADER + RECORD_HEADER;
}

/** Writes the section of one owner at `o`; returns its end, `o` if it has no record. */
export function encodeRecords(owner: u32, o: usize): usize {
  if (!kept) return o;
  const start = o;
  let count: u32 = 0;
  o += 8;
  for (let partition: usize = 0; partition < 256; partition++) {
    if (<u32>load<u8>(OWNERS + partition) != owner) continue;
    count += load<u32>(lists + COUNTS + (partition << 2));
    let at = <usize>load<u32>(lists + (partition << 3));
    while (at) {
      const size = <usize>load<u32>(at, 8);
      if (o + size > OUTPUT_END) throw new Error("the records of one frame are larger than the output window (16 MiB)");
      memory.copy(o, at + KEPT_HEADER, size);
      o += size;
      at = load<u32>(at);
    }
  }
  if (!count) return start;
  sectionAt(start, count);
  return o;
}

/** A section of `count` records starts here. */
export function sectionAt(at: usize, count: u32): void {
  store<u32>(at, RECORDS);
  store<u32>(at, count, 4);
}
