/** The part of `hallelujah/generated` that takes records which another kernel has decoded (assembly/record/decoded.ts). */
import type { RecordField } from "./descriptor.ts";

/**
 * The loop over decoded rows. Where the words of each field lie in a row is said at DECODED_PLACES, one place for each field in the order
 * of the record; an optional one takes two words there as here.
 */
export function decodedRows(fields: RecordField[]): string {
  const places = fields.map((_, i) => `  const place${i} = <usize>load<u32>(DECODED_PLACES + ${i * 4});`);
  const copies = fields.flatMap(({ offset, optional }, i) => [
    `    store<u64>(RECORD + ${offset}, load<u64>(at + place${i}));`,
    ...(optional ? [`    store<u64>(RECORD + ${offset + 8}, load<u64>(at + place${i}, 8));`] : []),
  ]);
  const texts = fields.flatMap(({ type, optional }, i) => {
    if (type !== "Text") return [];
    const lies = `isInFrame(at + place${i}${optional ? " + 8" : ""}, INPUT, end)`;
    return [`    if (${optional ? `load<u64>(at + place${i}) && ` : ""}!${lies}) return false;`];
  });
  return `
/** Maps the decoded rows [from, to), which fit. Returns the row behind the last one that was mapped. */
export function mapDecodedRows(from: u32, to: u32, stride: usize): u32 {
${places.join("\n")}
  let at = DECODED_ROWS + (<usize>from) * stride;
  let row = from;
  while (row < to) {
${copies.join("\n")}
    at += stride;
    row++;
    each();
    __heap_release();
    if (partFull) break;
  }
  return row;
}

/** Whether the texts of \`rows\` decoded rows lie in the frame that ends at \`end\`. */
export function decodedTextsFit(rows: u32, stride: usize, end: usize): bool {
${texts.length ? places.filter((_, i) => fields[i].type === "Text").join("\n") : ""}
  let at = DECODED_ROWS;
  for (let row: u32 = 0; row < rows; row++) {
${texts.join("\n")}
    at += stride;
  }
  return true;
}`;
}
