/**
 * The host boundary: the map of a Jah's linear memory and every number that both sides must agree on.
 * `host/kernel/memory-map.ts` states the same; a test holds the two against each other.
 *
 *   0x0000_0000  null page, never used
 *   0x0001_0000  kernel: static data, then the record heap (bump, released after every record)
 *   0x0100_0000  frame heap: per-frame tables and their blocks (bump, released after every flush)
 *   0x0400_0000  input window: one frame, and slack for wide loads
 *   0x0500_0000  in its upper half, if the frame ends below: records that were decoded, as rows (record/decoded.ts)
 *   0x05fe_0000  dirty map: a byte for each page of 64 KiB, 1 where the state was changed (dirty.ts)
 *   0x05ff_0000  control block: plan of the columns, problems found, texts for errors
 *   0x0600_0000  output window: routed entries, emitted records, rendered rows
 *   0x0800_0000  arena: directory, then chunks, indexes and blocks; grows to 4 GiB
 */

export const KERNEL_BASE: usize = 0x0001_0000;
export const FRAME_HEAP: usize = 0x0100_0000;
export const INPUT: usize = 0x0400_0000;
/** Which words of a record a decoded row has, or where it has those of the record; a u32 each. Frames that end below may have such rows. */
export const DECODED_PLACES: usize = 0x0500_0000;
export const DECODED_PLACES_MAX: u32 = 128;
/** Behind it the rows: so many bytes at most. */
export const DECODED_ROWS: usize = DECODED_PLACES + 0x200;
export const DECODED_BYTES: usize = 4 << 20;
/** Where the input window ends and the dirty map starts. */
export const DIRTY: usize = 0x05fe_0000;
export const CONTROL: usize = 0x05ff_0000;
export const OUTPUT: usize = 0x0600_0000;
export const ARENA: usize = 0x0800_0000;

/** Bytes of entries and blocks after which the frame's tables are flushed as a further part. */
export const PART_BYTES: usize = 12 << 20;
/** Bytes of emitted records after which a part is flushed, too. */
export const EMIT_BYTES: usize = 12 << 20;
/** The lower half of the output window takes emitted records while a frame is mapped. */
export const EMIT_END: usize = OUTPUT + (16 << 20);
export const ENTRIES: usize = EMIT_END;
export const OUTPUT_END: usize = ARENA;

/** In the arena's directory: how far each source of event time has got, f64 ms each; see clock.ts. */
export const CLOCKS: usize = ARENA + 0x1100;
export const CLOCKS_MAX: u32 = 255;
/** Behind them, up to which time all sources have come: f64 ms. */
export const WATERMARK: usize = CLOCKS + 0x7f8;
export const CLOCKS_END: usize = CLOCKS + 0x800;
/** In the arena's directory: the lasting homes of the tables (state/home.ts), by their numbers. */
export const HOMES: usize = ARENA + 0x100;
export const HOME_BYTES: usize = 64;
/** Where a home is put that belongs to no table of the kernel: what another kernel left behind. */
export const ASIDE: usize = ARENA + 0x2000;
/** Behind the clocks: the home of each dataset (state/chunks.ts). */
export const DATASETS: usize = ARENA + 0x1900;
export const DATASET_BYTES: usize = 64;
/** The "table" of the section that holds records as they are, for `fold`. */
export const RECORDS: u32 = 0xffffffff;
/** The "table" of the section that holds rows of the first dataset; those of the others follow it. */
export const ROWS: u32 = 0xffffff00;

export const MAX_TABLES: u32 = 64;
export const MAX_DATASETS: u32 = 16;
/** Most rows of a chunk of a dataset; fewer where it keeps few rows. */
export const CHUNK_ROWS: u32 = 16384;
/** Fields of an input record: a bit each in FIELDS_SEEN. */
export const MAX_FIELDS: u32 = 64;
/** Version of the layouts in this file; a built module carries it. */
export const ABI_VERSION: u32 = 3;

// The control block, from CONTROL on.
//   +0x0000  u32 status of the last map call    u32 rows good    u32 rows bad    u32 problems listed
//   +0x0010  u32 next: where mapping goes on    u32 end: just behind the last record
//   +0x0018  u32 table that ran out of memory + 1; FULL_ROWS + a dataset + 1
//   +0x0020  u64 fields seen in any record, a bit each
//   +0x0028  u32 whether a quoted field was seen    u32 records that came too late, of the last apply call
//   +0x0030  f64 greatest event time of the frame's good records, ms; -Infinity if there is none
//   +0x0038  u32 VISITING: set by the host before instantiation, where the arena is another kernel's
//   +0x0100  PROBLEMS: up to 16 of { u32 offset in the input window, u32 reason, u32 field, u32 detail }
//   +0x0300  OWNERS: for each of the 256 partitions (hash >> 24) the number of its owner, 0xff for nobody
//   +0x0400  PLAN: u16 skip, u16 field, per wanted column in column order; ends with field 0xffff
//   +0x0f00  SILENT: a byte for each partition, 1 where windows close without a word to the kernel
//   +0x1000  NAMES: what the NDJSON decoder learned of the order of keys
export const STATUS: usize = CONTROL;
export const ROWS_GOOD: usize = CONTROL + 4;
export const ROWS_BAD: usize = CONTROL + 8;
export const PROBLEM_COUNT: usize = CONTROL + 12;
export const NEXT: usize = CONTROL + 16;
export const FRAME_END: usize = CONTROL + 20;
export const FULL_TABLE: usize = CONTROL + 24;
export const FULL_ROWS: u32 = 0x10000;
export const FIELDS_SEEN: usize = CONTROL + 32;
export const QUOTED: usize = CONTROL + 40;
export const LATE: usize = CONTROL + 44;
export const EVENT_TIME: usize = CONTROL + 48;
export const VISITING: usize = CONTROL + 56;
export const PROBLEMS: usize = CONTROL + 0x100;
export const PROBLEMS_MAX: u32 = 16;
export const OWNERS: usize = CONTROL + 0x300;
export const NOBODY: u32 = 0xff;
export const PLAN: usize = CONTROL + 0x400;
export const PLAN_END: u32 = 0xffff;
export const SILENT: usize = CONTROL + 0xf00;
export const NAMES: usize = CONTROL + 0x1000;
export const NAMES_END: usize = CONTROL + 0xf000;

// What a map call ends with.
export const DONE: u32 = 0;
/** The frame's tables or emitted records are full: flush a part, then call again from NEXT. */
export const PART: u32 = 1;
/** The last record runs past the bytes that are there: read more, then call again from NEXT. */
export const MORE: u32 = 2;

// Why a record is bad. The host has the sentences.
export const TOO_FEW_FIELDS: u32 = 1;
export const TOO_MANY_FIELDS: u32 = 2;
export const NOT_A_NUMBER: u32 = 3;
export const NOT_AN_INTEGER: u32 = 4;
export const NOT_A_BOOLEAN: u32 = 5;
export const NOT_A_TIME: u32 = 6;
export const NOT_A_DECIMAL: u32 = 7;
export const MISSING: u32 = 8;
export const IS_NULL: u32 = 9;
export const BAD_JSON: u32 = 10;
export const NOT_AN_OBJECT: u32 = 11;
export const WRONG_JSON_TYPE: u32 = 12;
export const BAD_QUOTES: u32 = 13;
export const BAD_ESCAPE: u32 = 14;
export const UNCLOSED_QUOTE: u32 = 15;
export const TOO_LONG: u32 = 16;
export const NUL_BYTE: u32 = 17;

// Formats of rendered rows.
export const NDJSON: u32 = 0;
export const CSV: u32 = 1;
/** Rows of one array: a comma and a line feed before each row; whoever writes the first one drops them. */
export const JSON_ARRAY: u32 = 2;
