/** The JSON of the HTTP interface: one schema each, from which the checks, the types and the OpenAPI document come. */
import { z } from "@hono/zod-openapi";
import { RETAIN_WORDS } from "../core/retain.ts";

/** What streams may be called. */
export const STREAM_NAME = /^[a-z0-9-]{1,63}$/;

export const StreamState = z.enum([
  /** Waits for its first Jah. */
  "starting",
  "running",
  /** The user stopped it: pushes are logged, nothing is applied. */
  "paused",
  /** Idle, or without a CPU: its state is on disk, no process. */
  "parked",
  "waking",
  /** A shard is being brought back after its Jah ended. */
  "recovering",
  /** It cannot go on; `error` says why. */
  "failed",
]);

export const Backlog = z
  .object({
    bytes: z.number().describe("bytes logged and not yet applied everywhere"),
    records: z.number().describe("records among them, estimated from those applied"),
    seconds: z
      .number()
      .nullable()
      .describe("time to drain at the present rate; null if nothing is done of it"),
  })
  .openapi("Backlog");

export const ShardInfo = z
  .object({
    from: z.number().int().describe("first partition"),
    to: z.number().int().describe("behind the last partition"),
    jah: z.number().int().nullable().describe("the Jah that holds it; null while it is parked"),
    frame: z.number().int().describe("the lowest frame that it has not applied"),
    unavailable: z
      .object({
        folder: z.string(),
        reason: z.string().describe("what is damaged"),
        next: z.string().describe("what its user can do"),
      })
      .optional()
      .describe("its state can neither be read nor made anew; the other shards go on"),
  })
  .openapi("Shard");

export const StreamProblem = z
  .object({
    frame: z.number().int(),
    source: z.string().describe("the file or URL; or that it was pushed"),
    reason: z.string(),
    mistyped: z.string().optional().describe("the column whose value has another type, if that is why"),
    record: z.string().describe("how it starts"),
  })
  .openapi("StreamProblem");

export const SinkInfo = z
  .object({
    target: z.string().describe("a file of the host, or a URL"),
    row: z.number().describe("the next row that it gets: those below are there"),
    error: z.string().optional().describe("why it takes no rows for now; it is tried again"),
  })
  .openapi("Sink");

export const VisitableInfo = z
  .object({
    name: z.string(),
    fields: z.array(
      z.object({
        name: z.string().describe("by which fields of a visiting kernel find it"),
        type: z.string().describe("as kernels write it: i32, f64, Text, Time ..."),
        optional: z.boolean().describe("whether rows may lack it"),
        unsupported: z.string().optional().describe("why it cannot be visited, if so"),
      }),
    ),
  })
  .openapi("Visitable");

export const ReprocessInfo = z
  .object({
    version: z.number().int().describe("of its kernel, once it takes over"),
    kernel: z.string().describe("name of the kernel's file"),
    state: StreamState,
    begin: z.number().int().describe("the frame that it began with"),
    frame: z.number().int().describe("the lowest frame that it has not applied everywhere"),
    frames: z.number().int().describe("frames logged"),
    max: z.number().int(),
    jahs: z.number().int(),
    bytesPerSecond: z.number(),
  })
  .openapi("Reprocess");

const UNSEEN = z
  .array(z.string())
  .optional()
  .describe(
    "of a swap: columns of the kernel's input that no record so far had; known where all records are CSV, left out where none is missing",
  );

export const StreamInfo = z
  .object({
    name: z.string(),
    host: z.string().optional().describe("which host of the cluster has it"),
    state: StreamState,
    version: z.number().int().describe("of the kernel, from 1"),
    kernel: z.string().describe("name of the kernel's file"),
    tables: z.array(z.string()),
    datasets: z.array(VisitableInfo).optional().describe("rows that other kernels can visit"),
    tableColumns: z
      .array(VisitableInfo)
      .optional()
      .describe("the columns of the tables, which other kernels can visit, too"),
    min: z.number().int(),
    max: z.number().int(),
    retain: z.string().describe(RETAIN_WORDS),
    jahs: z.number().int(),
    shards: z.array(ShardInfo),
    backlog: Backlog,
    records: z.number().describe("records applied"),
    badRecords: z.number().describe("records that did not fit the kernel's record class"),
    lateRecords: z.number().describe("records that came too late for their window"),
    recordsPerSecond: z.number(),
    bytesPerSecond: z.number(),
    deadLetters: z.number().int().describe("frames that were set aside"),
    outputs: z.number().describe("rows of output so far: the next sequence number"),
    checkpoints: z
      .object({
        frame: z.number().describe("the lowest frame that is not on disk as state everywhere"),
        count: z.number().describe("made since the host started"),
        bytes: z.number().describe("of pages written for them"),
        ms: z.number().describe("from their moment until they were durable"),
      })
      .describe("the state on disk"),
    lateOutputs: z.number().describe("rows that the kernel's function `late` emitted"),
    frame: z.number().int().describe("the lowest frame that is not applied everywhere"),
    frames: z.number().int().describe("frames logged"),
    decodedFrames: z
      .number()
      .int()
      .optional()
      .describe(
        "of a stream that shares records: frames that the other one had decoded, since the host started",
      ),
    error: z.string().optional(),
    hasOutput: z.boolean().optional().describe("whether its kernel can emit"),
    hasLateOutput: z.boolean().optional().describe("whether its kernel has a function `late`"),
    problems: z
      .array(StreamProblem)
      .optional()
      .describe("the last records that did not fit, since the host started; of one stream alone"),
    inputsRead: z.number().int().optional().describe("inputs of its sources that were read to their end"),
    sinks: z.array(SinkInfo).optional().describe("where its output goes by itself"),
    reprocess: ReprocessInfo.optional().describe("another kernel that takes in all records again"),
    waits: z
      .string()
      .optional()
      .describe("why it takes in nothing of its sources for now, as on a full disk"),
    unseen: UNSEEN,
  })
  .openapi("Stream");

export const JahInfo = z
  .object({
    jah: z.number().int(),
    pid: z.number().int(),
    cpu: z.number().int(),
    stream: z.string(),
    kind: z.enum(["persistent", "transient"]),
    state: z.enum(["starting", "working", "idle", "leaving"]),
    busy: z.number().describe("share of the last second in which it worked, 0 to 1"),
    bytesPerSecond: z.number(),
    memoryBytes: z.number(),
  })
  .openapi("Jah");

export const HostInfo = z
  .object({
    version: z.string(),
    pid: z.number().int(),
    startedAt: z.string().describe("ISO 8601"),
    data: z.string(),
    cpus: z.object({ total: z.number().int(), free: z.number().int() }),
    streams: z.number().int(),
    jahs: z.number().int(),
    memoryBytes: z.number().describe("resident bytes of the Hallelu"),
  })
  .openapi("Host");

export const ClusterHostInfo = z
  .object({
    name: z.string(),
    url: z.string().describe("where it serves its API"),
    state: z.enum(["up", "lost"]).describe("lost: it has not been heard of for a while"),
    cpus: z.number().int(),
    memoryBytes: z.number().describe("of the machine"),
    version: z.string(),
    epoch: z.number().int().describe("grows with each process that takes the name"),
    isSelf: z.boolean(),
  })
  .openapi("ClusterHost");

export const DeadLetterInfo = z
  .object({
    frame: z.number().int(),
    stage: z
      .enum(["map", "apply"])
      .describe("map: its records were mapped; apply: an owner applied them (fold, close)"),
    partitions: z
      .array(z.object({ from: z.number().int(), to: z.number().int().describe("behind the last") }))
      .describe("for which it counts as empty"),
    error: z.string().describe("what the kernel stopped with"),
    version: z.number().int().describe("of the kernel that it stopped"),
    bytes: z.number().int().describe("of its records; 0 if they lie in a file that the stream reads"),
  })
  .openapi("DeadLetter");

export const SwapPlan = z
  .object({
    misfits: z.array(z.string()).describe("why the kernel does not fit; none: it does"),
    tables: z.array(
      z.object({
        table: z.string(),
        kept: z.boolean().describe("whether its rows stay; else it starts empty"),
        upgraded: z
          .boolean()
          .describe("whether the kernel's function upgrade makes its rows of those before"),
        added: z
          .array(z.string())
          .describe("fields that start empty in rows that stay, unless upgrade fills them"),
        dropped: z.array(z.string()).describe("fields that are dropped, once upgrade has seen them"),
      }),
    ),
    removed: z.array(z.string()).describe("tables that go, with their rows"),
    unseen: UNSEEN,
  })
  .openapi("SwapPlan");

export const VersionInfo = z
  .object({
    version: z.number().int(),
    from: z.number().int().describe("its first frame"),
    file: z.string().describe("name of the kernel's file"),
    at: z.string().describe("ISO 8601"),
    how: z.enum(["deployed", "swapped", "went back", "rolled back", "reprocessed"]),
    sameAs: z.number().int().optional().describe("the version whose kernel it has"),
    pauseMs: z
      .number()
      .optional()
      .describe("time for which a shard applied nothing as it took over, at most"),
    error: z
      .string()
      .optional()
      .describe("why it was rolled back, or its reprocess given up: no frame is its own"),
    trial: z.boolean().describe("whether it is rolled back if it stops"),
  })
  .openapi("Version");

export const Pushed = z
  .object({
    frame: z.number().int().describe("the frame that holds the last record of the body"),
    bytes: z.number().int(),
  })
  .openapi("Pushed");

export const StreamChange = z
  .object({
    min: z.number().int().min(0).max(4096).optional(),
    max: z.number().int().min(0).max(4096).optional().describe("0 parks the stream"),
    shards: z
      .number()
      .int()
      .min(0)
      .max(256)
      .optional()
      .describe("how many Jahs share the state; 0 leaves it to the host"),
    paused: z.boolean().optional(),
    retain: z.string().max(80).optional().describe(RETAIN_WORDS),
  })
  .strict()
  .openapi("StreamChange");

/** A stream that could give a CPU, and what that would cost it. */
export const Offer = z
  .object({
    stream: z.string(),
    jahs: z.number().int(),
    min: z.number().int(),
    backlogSeconds: z
      .number()
      .nullable()
      .describe("time its backlog would take with one Jah less; null: without end"),
  })
  .openapi("Offer");

/** RFC 9457, with a stable `code`. */
export const Problem = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.number().int(),
    code: z.string(),
    detail: z.string(),
    offers: z.array(Offer).optional().describe("with `no-capacity`"),
  })
  .openapi("Problem");

export type StreamInfo = z.infer<typeof StreamInfo>;
export type ReprocessInfo = z.infer<typeof ReprocessInfo>;
export type VisitableInfo = z.infer<typeof VisitableInfo>;
export type StreamProblem = z.infer<typeof StreamProblem>;
export type ShardInfo = z.infer<typeof ShardInfo>;
export type JahInfo = z.infer<typeof JahInfo>;
export type HostInfo = z.infer<typeof HostInfo>;
export type ClusterHostInfo = z.infer<typeof ClusterHostInfo>;
export type DeadLetterInfo = z.infer<typeof DeadLetterInfo>;
export type SwapPlan = z.infer<typeof SwapPlan>;
export type VersionInfo = z.infer<typeof VersionInfo>;
export type Pushed = z.infer<typeof Pushed>;
export type StreamChange = z.infer<typeof StreamChange>;
export type Offer = z.infer<typeof Offer>;
export type Problem = z.infer<typeof Problem>;
export type StreamState = z.infer<typeof StreamState>;
