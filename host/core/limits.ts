/** Every limit of the engine, with its unit and its reason; what must hold between them is asserted at load. */

const KiB = 1024;
const MiB = 1024 * KiB;

/**
 * Bytes of input in a frame: a constant of the format, as sums of floats depend on where frames are cut. Small enough
 * for a frame's table to stay in the second-level cache and for a log message of 1 MiB; larger ones gained nothing.
 */
export const FRAME_BYTES = 512 * KiB;

/** Longest record, bytes: what a frame may need beyond its own size in the input window (32 MiB). */
export const RECORD_BYTES_MAX = 16 * MiB;

/** Bytes read beyond a frame to have the end of its last record; doubled until the record ends. */
export const FRAME_TAIL_BYTES = 4 * KiB;

/** Line feeds written behind the input, so that scanning by 16 bytes needs no bounds. */
export const SENTINEL_BYTES = 64;

/** Rows of a column frame (Parquet, Arrow) that are laid out at once. */
export const COLUMN_ROWS = 65_536;

/** Frames handed to a Jah in one message: enough that messages cost nothing, few enough to share the end evenly. */
export const RUN_FRAMES = 8;

/** Runs a Jah holds: one that it maps and one that waits, so that it never idles between two messages. */
export const RUNS_PER_JAH = 2;

/** Frames between the lowest one not applied everywhere and the highest one handed out, for each Jah. */
export const WINDOW_FRAMES_PER_JAH = 128;

/** Bytes of routed entries that wait for one peer before a Jah stops mapping. */
export const OUTBOX_BYTES = 8 * MiB;

/** Bytes of routed entries that a Jah keeps for later frames before it stops reading. */
export const INBOX_BYTES = 64 * MiB;

/** Rows of a result that one Jah sorts and renders at a time. */
export const RANGE_ROWS = 16_384;

/** Bytes of state behind the rows of one range, as each Jah takes in the others' entries in its frame heap. */
export const RANGE_BYTES = 8 * MiB;

/** Ranges in work beyond the one being written, for each Jah. */
export const RANGES_AHEAD = 8;

/** Time a frame may take before its Jah is stopped, ms. */
export const FRAME_TIMEOUT_MS = 10_000;

/** Bad records that are shown. */
export const PROBLEMS_SHOWN = 10;

/** Bytes at the start of a file from which its format, delimiter and columns are known. */
export const HEAD_BYTES = 256 * KiB;

if (FRAME_BYTES + RECORD_BYTES_MAX + SENTINEL_BYTES > 31 * MiB)
  throw new TypeError("a frame must fit the input window");
if (RUN_FRAMES * RUNS_PER_JAH > WINDOW_FRAMES_PER_JAH)
  throw new TypeError("a Jah's runs must fit the window");
