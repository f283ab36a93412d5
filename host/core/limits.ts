/** Every limit of the engine, with its unit and its reason; what must hold between them is asserted at load. */

const KiB = 1024;
const MiB = 1024 * KiB;

/** Versions of a stream's kernel that are remembered, unless frames need more. */
export const VERSIONS_MAX = 100;
/** A version of a kernel is on trial until so many frames are applied, or so long, ms; if it stops before, it is rolled back. */
export const TRIAL_FRAMES = 32;
export const TRIAL_MS = 1_000;

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

/** Rows of a row group of Parquet, which is decoded as a whole: as many as Arrow's writers make at most. */
export const ROW_GROUP_ROWS_MAX = 64 * MiB;

/** Bytes of a page of Parquet that is decompressed, as a few bytes may claim to be any number of them. */
export const PARQUET_PAGE_BYTES_MAX = 512 * MiB;

/** Rows of a visit frame: it ends with the chunk that brings it there. Some ms, for which records wait. A constant of the format. */
export const VISIT_ROWS = 1 << 17;

/** Rows of a dataset whose types a visit converts at a time: whatever they are, 64 fields of them fit the input window. */
export const VISIT_CONVERTED_ROWS = 8192;

/** Entries of a table that a visit looks at before it asks for the time: a few tenths of a millisecond. Of windows, that it finds at a time. */
export const VISIT_LOOK_ENTRIES = 1 << 15;
/** Entries that it finds in one search, 8 bytes each, unless so many searches would not do. */
export const VISIT_FOUND_ENTRIES = 1 << 18;
export const VISIT_SEARCHES = 16;
/** Bytes of texts of tables that a visit copies into the input window at a time, beside so many rows. */
export const VISIT_TEXT_BYTES = 8 * MiB;
/** Entries up to which a table is visited as of one frame, which the stream waits for: some ms of each Jah. */
export const VISIT_HELD_ENTRIES = 1 << 16;
/** Bytes of what a kernel emits that are kept while the stream waits for its visit; where there are more, it waits for the client, too. */
export const VISIT_HELD_BYTES = 16 * MiB;

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

/** Frames of a live stream that are handed to a Jah in one message; small ones, as single records make, go many at a time. */
export const LIVE_RUN_FRAMES = 32;
export const LIVE_RUN_BYTES = 4 * MiB;

/** What a Jah of a live stream holds and has not mapped, so that it never idles between two messages. */
export const HELD_FRAMES = 64;
export const HELD_BYTES = 8 * MiB;

/** Bytes of routed entries in one request between Jahs of a live stream. */
export const PEER_REQUEST_BYTES = 4 * MiB;

/** Pause before a request between Jahs is sent again, ms. */
export const PEER_RETRY_MS = 20;

/** How often a Jah tells what it did, from which its true rates come, ms. */
export const WORK_INTERVAL_MS = 100;

/** Time in which a Jah that was started must be ready, its state read back from disk, ms. */
export const JAH_START_MS = 30_000;

/** Time that a Jah has to end by itself, ms. */
export const JAH_END_GRACE_MS = 2_000;

/** Producers of one stream whose last number is known; the ones heard of longest ago are forgotten. */
export const PRODUCERS_MAX = 100_000;

/** Different formats and header lines of bodies that one stream takes: each is a source of its own in the log. */
export const SHAPES_MAX = 1_000;

/** Files and URLs of one stream's `--source`: with the shapes, their numbers in the log have 16 bits. */
export const SOURCES_MAX = 60_000;

/** Time for which a deploy waits for the first of its sources to open, so that it can say what is wrong with it, ms. */
export const SOURCE_OPEN_MS = 3_000;

/** Tries of a request for an input on a server, where trying again may help, and the pauses between them, ms. */
export const REMOTE_TRIES = 5;
export const REMOTE_PAUSE_MS = 100;
export const REMOTE_PAUSE_MS_MAX = 5_000;

/** Bytes of a Parquet or Arrow file on a server: it is copied to a temporary file, as its reader goes to and fro. */
export const REMOTE_COPY_BYTES_MAX = 4 * 1024 * MiB;

/** Objects that one S3 prefix lists, whether they are read or not, and bytes of a page of that list, which has 1,000 of them. */
export const S3_KEYS_MAX = 1_000_000;
export const S3_PAGE_BYTES_MAX = 8 * MiB;

/** Bytes of a segment of a log, after which the next one is begun. */
export const SEGMENT_BYTES = 64 * MiB;

/** Bytes that a log writes and syncs at once: so many that the sync costs little, and few enough that nobody waits long. */
export const LOG_BATCH_BYTES = 16 * MiB;

/** Of a log on a cluster: bytes and messages that are sent to JetStream before it has answered for those before. */
export const FLIGHT_BYTES = 16 * MiB;
export const FLIGHT_MESSAGES = 1_024;

/** Time that JetStream has to answer for a message, and to answer a question, ms; and the time without any progress after which an append fails. */
export const FLIGHT_MS = 5_000;
export const CLUSTER_ANSWER_MS = 2_000;
export const CLUSTER_PATIENCE_MS = 10_000;
/** Of a request for messages, ms: how long it holds, and how often JetStream says that it has it. One that was lost on the way is made again after two of these. */
export const CLUSTER_PULL_MS = 2_000;
export const CLUSTER_PULL_BEAT_MS = 500;

/** Bytes of a blob in a cluster: with all that a server adds it fits a message of 1 MiB, several times over. */
export const BLOB_BYTES_MAX = 512 * KiB;
/** Bytes of blobs that are sent before JetStream has answered for those before: few, as the log goes over the same wires. */
export const BLOB_FLIGHT_BYTES = 4 * MiB;
/** Blobs that are asked for, or dropped, at once. */
export const BLOBS_AT_ONCE = 32;

/** Files of decoded records that the Jahs of one stream write for others, of up to 4 MiB each: as many as frames that a Jah may hold. */
export const DECODED_FILES_MAX = 64;

/** Bytes of a frame from which on its records are decoded for others, too: below, writing and reading a file takes as long as decoding. */
export const DECODED_FRAME_BYTES_MIN = 64 * KiB;

/** Frames by which a stream may be behind the one that decodes for it: what is decoded for one that comes later would only lie there. */
export const DECODED_WINDOW_FRAMES = 256;

/** Time for which a stream waits for a frame that is being decoded, and time for which nothing is decoded for others after that, ms. */
export const DECODED_PATIENCE_MS = 500;
export const DECODED_REST_MS = 10_000;

/** Bytes of output that a stream keeps for subscribers to come back to. */
export const OUTPUT_BYTES_KEPT = 1024 * MiB;

/** Bytes that a stream may have logged and not applied; pushes beyond are refused for the time being. */
export const BACKLOG_BYTES_MAX = 1024 * MiB;

/**
 * Bytes of output that a stream may have made and not written, as the disk is full or the registry does not know yet whose it is: beyond, no frame
 * is begun. What was begun may make more. So much is some dozens of frames whose rows are as large as their records.
 */
export const OUTPUT_BYTES_WAITING = 64 * MiB;

/** Time without work after which a stream is parked, ms. */
export const PARK_AFTER_MS = 10_000;

/** Time that a query waits for a stream that has to be woken, ms. */
export const WAKE_PATIENCE_MS = 10_000;

/** Bytes of state that a Jah may hold: 4 GiB less what lies below the arena. */
export const STATE_BYTES_MAX = 4096 * MiB - 128 * MiB;

/** Bytes of a page: what is marked, copied and checked at once when a shard is written to disk. A constant of the format. */
export const PAGE_BYTES = 64 * KiB;

/** Pages of the 4 GiB that a Jah can address. */
export const PAGES_MAX = 65_536;

/** Bytes of pages that go to a store in one call: batches of RocksDB stop its thread while they are written. */
export const PAGES_WRITE_BYTES = 4 * MiB;

/** Bytes that must be free for a store to write: RocksDB may wait for ever when it cannot write out what it has in memory. */
export const STORE_ROOM_BYTES = 192 * MiB;

/** Time that a webhook may take to answer, ms. */
export const WEBHOOK_PATIENCE_MS = 30_000;

/** Pauses before a sink that takes no rows is tried again, the first and the longest, ms. */
export const SINK_RETRY_MS = 100;
export const SINK_RETRY_MS_MAX = 30_000;

/** Pauses before a disk that was full is tried again, the first and the longest, ms. */
export const ROOM_RETRY_MS = 100;
export const ROOM_RETRY_MS_MAX = 5_000;

/** Time for which a Jah keeps its CPU while others wait for one, ms. */
export const TURN_MS = 1_000;

/** Compilers at a time, as each takes hundreds of megabytes; what one may take at most, MiB, and its time, ms. */
export const COMPILERS_MAX = 2;
export const COMPILER_HEAP_MIB = 1024;
export const COMPILE_MS_MAX = 60_000;
/** A compiler that has nothing to do is kept for the next kernel for so long, ms: one that starts anew takes 1.5 s, this one 0.2, and 290 MB meanwhile. */
export const COMPILER_WARM_MS = 5 * 60_000;

/** Time for which a visit goes on between two frames of the stream, ms. */
export const VISIT_STEP_MS = 10;
/** Visits of a stream at a time; others are refused for now. */
export const VISITS_MAX = 8;
/** Bytes that the tables of a visit may take. */
export const VISIT_STATE_BYTES = 1024 * MiB;
/** A visit that stays goes on no sooner than so long after its last result, ms; nor before so many times as that one took. */
export const FOLLOW_MS_MIN = 250;
export const FOLLOW_REST = 4;
/** Bytes of a result of a visit that stays. */
export const FOLLOW_BYTES_MAX = 64 * MiB;
/** Bytes of what other Jahs visited that wait to be merged. */
export const VISIT_AHEAD_BYTES = 64 * MiB;
/** Of that, so much is merged at once, between two frames of the stream. */
export const VISIT_TAKE_BYTES = MiB;
/** Time after which a visit is given up unless its client says otherwise, ms; and the most that it may say. */
export const VISIT_MS = 60_000;
export const VISIT_MS_MAX = 3_600_000;
/** Time beyond it, or after its client has left, that a visiting kernel has to come back, ms, before its Jah is ended: nobody waits for it any more, and ending costs a restore. */
export const VISIT_GRACE_MS = 1_000;

/** A shard is saved when it has applied so many bytes of frames since the last time, or after so long, ms. */
export const CHECKPOINT_BYTES = 32 * MiB;
export const CHECKPOINT_MS = 10_000;

/**
 * Pause after a checkpoint, as a multiple of the time that it took: 1 up to CHECKPOINT_SHORT_MS, then growing with it, so that small
 * states are saved often, and large ones leave most of the disk and the CPUs to the work.
 */
export const CHECKPOINT_SHORT_MS = 400;
export const CHECKPOINT_REST_MAX = 4;

/** Bytes of pages that are copied out and not written yet. */
export const CHECKPOINT_COPY_BYTES = 64 * MiB;

/** Streams on one host. */
export const STREAMS_MAX = 10_000;

/** Bytes of a host's journal after which it is put aside. */
export const JOURNAL_BYTES = 16 * MiB;

/** Time in which a host ends all its processes, ms. */
export const STOP_GRACE_MS = 5_000;

/** Bytes of one body, and of all bodies that a host receives at a time. */
export const BODY_BYTES_MAX = 16 * MiB;
export const BODIES_BYTES_MAX = 512 * MiB;

/** Time in which the next bytes of a body must come, ms; and what must have come on average once that time is over, bytes/s. */
export const BODY_IDLE_MS = 15_000;
export const BODY_BYTES_PER_SECOND_MIN = 1 * KiB;

/** Time for which the rest of a refused body is thrown away, as a client that is cut off sees no answer, ms. */
export const LINGER_MS = 2_000;

/** Time in which a client must take the next rows of an answer, ms, and what it must take on average, bytes/s: the shards wait for it. */
export const READ_PATIENCE_MS = 10_000;
export const READ_BYTES_PER_SECOND_MIN = 64 * KiB;

/** Characters of a query, and its words and signs: what the parser makes of more may be too deep for its stack. */
export const SQL_CHARACTERS_MAX = 64 * KiB;
export const SQL_TOKENS_MAX = 8_000;

/** Levels of an expression of a query, and its parts, counted as often as they are needed. */
export const SQL_DEPTH_MAX = 200;
export const SQL_EXPRESSION_MAX = 20_000;

/** Connections that a host takes; beyond, the one that is idle for longest gives way. */
export const CONNECTIONS_MAX = 10_000;

/** Part of the files that a process may open that go to connections. */
export const CONNECTIONS_SHARE = 0.5;

/** Bytes of a request's headers, and the time in which they must have come, ms. */
export const HEADER_BYTES_MAX = 16 * KiB;
export const HEADERS_TIMEOUT_MS = 10_000;

/** Time for which a connection is kept without a request, ms. */
export const KEEP_ALIVE_MS = 60_000;

/** Pause between two signs of life to a subscriber, ms. */
export const HEARTBEAT_MS = 15_000;

/** Time for which a taken port is waited for, ms. */
export const PORT_PATIENCE_MS = 5_000;

/** Frames of a live stream between the lowest one not applied everywhere and the highest one handed out, for each Jah. */
export const LIVE_WINDOW_FRAMES = 128;

if (FRAME_BYTES + RECORD_BYTES_MAX + SENTINEL_BYTES > 31 * MiB)
  throw new TypeError("a frame must fit the input window");
if (RUN_FRAMES * RUNS_PER_JAH > WINDOW_FRAMES_PER_JAH)
  throw new TypeError("a Jah's runs must fit the window");
