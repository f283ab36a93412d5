/**
 * Records that were decoded, as rows of words of 8 bytes: kept by the kernel that decodes a frame, for others that take the same records and
 * then need not decode them (host/hallelu/decoded.ts says when). A text is a view of the frame's bytes at INPUT, which whoever reads the
 * rows has in the same place. Records whose texts lie elsewhere, as escapes in them were resolved, are not kept, nor are those of their frame.
 */
import { DECODED_BYTES, DECODED_PLACES, DECODED_ROWS } from "../abi";

/** Where the next row goes; 0 if none is kept. */
export let decodedTo: usize = 0;
let placesEnd: usize = 0;
let stride: usize = 0;

/** Keeps of each record from now on the words whose offsets are the first `words` of DECODED_PLACES. */
export function startDecoded(words: u32): void {
  decodedTo = DECODED_ROWS;
  placesEnd = DECODED_PLACES + ((<usize>words) << 2);
  stride = (<usize>words) << 3;
}

/** Ends that. How many records were kept, or -1 if not all could be. */
export function endDecoded(): i32 {
  const rows = decodedTo ? <i32>((decodedTo - DECODED_ROWS) / stride) : -1;
  decodedTo = 0;
  return rows;
}

/** What was kept is not all of the frame. */
export function dropDecoded(): void {
  decodedTo = 0;
}

/** Keeps the record at hand. */
export function keepDecoded(record: usize): void {
  let to = decodedTo;
  if (to + stride > DECODED_ROWS + DECODED_BYTES) return dropDecoded();
  for (let place = DECODED_PLACES; place < placesEnd; place += 4) {
    store<u64>(to, load<u64>(record + <usize>load<u32>(place)));
    to += 8;
  }
  decodedTo = to;
}

/** Whether the text in [start, start + length) is one of the frame that ends at `end`. */
@inline export function isInFrame(view: usize, start: usize, end: usize): bool {
  const at = <usize>load<u32>(view);
  return at >= start && at <= end && <usize>load<u32>(view, 4) <= end - at;
}
