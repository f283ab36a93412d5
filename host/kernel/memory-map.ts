/**
 * The map of a Jah's linear memory and the numbers of the host boundary, as `assembly/abi.ts` states them; the picture
 * is there. test/kernel/memory-map.test.ts holds the two against each other.
 */

export const KERNEL_BASE = 0x0001_0000;
export const FRAME_HEAP = 0x0100_0000;
export const INPUT = 0x0400_0000;
export const DECODED_PLACES = 0x0500_0000;
export const DECODED_PLACES_MAX = 128;
export const DECODED_ROWS = DECODED_PLACES + 0x200;
export const DECODED_BYTES = 4 << 20;
export const DIRTY = 0x05fe_0000;
export const CONTROL = 0x05ff_0000;
export const OUTPUT = 0x0600_0000;
export const ARENA = 0x0800_0000;

export const PART_BYTES = 12 << 20;
export const EMIT_BYTES = 12 << 20;
export const EMIT_END = OUTPUT + (16 << 20);
export const ENTRIES = EMIT_END;
export const OUTPUT_END = ARENA;

export const CLOCKS = ARENA + 0x1100;
export const CLOCKS_MAX = 255;
export const WATERMARK = CLOCKS + 0x7f8;
export const CLOCKS_END = CLOCKS + 0x800;
export const DATASETS = ARENA + 0x1900;
export const DATASET_BYTES = 64;

export const HOMES = ARENA + 0x100;
export const HOME_BYTES = 64;
export const ASIDE = ARENA + 0x2000;
export const MAX_TABLES = 64;
export const MAX_DATASETS = 16;
export const CHUNK_ROWS = 16384;
export const MAX_FIELDS = 64;
export const ABI_VERSION = 3;

// The control block.
export const STATUS = CONTROL;
export const ROWS_GOOD = CONTROL + 4;
export const ROWS_BAD = CONTROL + 8;
export const PROBLEM_COUNT = CONTROL + 12;
export const NEXT = CONTROL + 16;
export const FRAME_END = CONTROL + 20;
export const FULL_TABLE = CONTROL + 24;
export const FULL_ROWS = 0x10000;
export const FIELDS_SEEN = CONTROL + 32;
export const QUOTED = CONTROL + 40;
export const LATE = CONTROL + 44;
export const EVENT_TIME = CONTROL + 48;
export const VISITING = CONTROL + 56;
export const PROBLEMS = CONTROL + 0x100;
export const PROBLEMS_MAX = 16;
export const OWNERS = CONTROL + 0x300;
export const NOBODY = 0xff;
export const PLAN = CONTROL + 0x400;
export const PLAN_END = 0xffff;
export const SILENT = CONTROL + 0xf00;
export const NAMES = CONTROL + 0x1000;
export const NAMES_END = CONTROL + 0xf000;

// What a map call ends with.
export const DONE = 0;
export const PART = 1;
export const MORE = 2;

// Formats of rendered rows.
export const NDJSON = 0;
export const CSV = 1;
export const JSON_ARRAY = 2;
