/** What tests of streams stand on: a record, a log that only counts, and Jahs that are in this process. */
import type { KernelDescriptor } from "../../host/compiler/descriptor.ts";
import type { Home } from "../../host/hallelu/home.ts";
import type { Jah, Jahs } from "../../host/hallelu/jahs.ts";
import type { StreamRecord } from "../../host/hallelu/record.ts";
import type { StreamSource } from "../../host/hallelu/shapes.ts";
import type { FrameDone } from "../../host/wire/jah.ts";
import type { LiveStart, LiveTask, ToLiveJah } from "../../host/wire/live.ts";

/** Bytes of a frame. */
const BYTES = 400_000;

export const KERNEL = {
  ordered: false,
  emits: true,
  input: { fields: [] },
  tables: [{ name: "t", key: ["Text"], fields: [] }],
} as unknown as KernelDescriptor;

export const PUSHED: StreamSource = {
  origin: "push",
  kind: "slice",
  name: "",
  format: "ndjson",
  size: 0,
  dataStart: 0,
  delimiter: 0,
  plan: [],
};

/** A stream of one shard, to which records were pushed. */
export const recordOf = (changes: Partial<StreamRecord> = {}): StreamRecord => ({
  name: "s",
  version: 1,
  kernel: "kernel-1.wasm",
  file: "a.ts",
  min: 1,
  max: 2,
  paused: false,
  retain: "all",
  source: [],
  sink: [],
  sources: [{ ...PUSHED }],
  dead: [],
  stored: [{ folder: "shard-0", from: 0, to: 256, start: 0 }],
  frame: 0,
  counts: { records: 0, bad: 0, late: 0 },
  ...changes,
});

/** A log that knows how many frames there are, each of `bytes`, and their kinds. */
export function logOf(bytes = BYTES) {
  const kinds: number[] = [];
  const log = {
    first: 0,
    next: 0,
    get end() {
      return log.next;
    },
    extents: [],
    place: (number: number) => ({
      kind: kinds[number] ?? 0,
      path: "",
      offset: 0,
      bytes,
      headBytes: 0,
      records: 1,
    }),
    kindsFrom: (from: number) =>
      new Set(Array.from({ length: log.next - from }, (_, i) => log.place(from + i).kind)),
    bytesFrom: (frame: number) => (log.next - frame) * bytes,
    appendGroup: async (entries: { kind: number }[]) => {
      const number = log.next;
      for (const { kind } of entries) kinds[log.next++] = kind;
      return { number };
    },
    damageFrom: () => undefined,
    heads: () => [],
    trim: async (_below: number) => {},
    close: async () => {},
  };
  return log;
}

/** A home of which nothing is read. */
export const HOME = {
  isShared: false,
  replicaOf: () => undefined,
  keep: async () => {},
  drop: async () => {},
  dropShard: async () => {},
} as unknown as Home;

/** Frames to be logged. */
export const framesOf = (count: number) =>
  Array.from({ length: count }, () => ({ source: 0, body: [], producers: [] }));

/** The process of a Jah is there: `hear` gets what it is told, its start first, which this answers. */
export function attached(jah: Jah, jahs: Jahs, hear: (message: ToLiveJah) => void): LiveStart {
  let start: LiveStart | undefined;
  jahs.hear({ type: "granted", jah: jah.id, cpu: 0, pid: 1 });
  jah.attach({
    send: (message) => {
      if (message.type === "start") start = message;
      hear(message);
    },
    destroy: () => {},
  });
  return start!;
}

/** A Jah has taken up its shards, with the frames below `next`. */
export function ready(jah: Jah, { shards = [] }: LiveStart, next: number, version: number): void {
  const restored = shards.map((shard) => ({ ...shard, frame: next }));
  jah.receive({ type: "ready", port: 1, next, version, restored });
}

/** A task of a Jah, and what it is of. */
export type Routed = LiveTask & { routing: number };

/** A Jah has mapped and applied a frame. */
export function did(jah: Jah, { task, routing }: Routed, more: Partial<FrameDone> = {}): void {
  const { frame, source } = task;
  const done: FrameDone = {
    frame,
    source,
    start: 0,
    end: 0,
    time: 0,
    rows: 1,
    bad: 0,
    problems: [],
    lines: 1,
    quoted: false,
    emittedRows: 0,
    ...more,
  };
  jah.receive({ type: "did", mapped: [{ routing, done }], outputs: [], next: frame + 1, nextClose: null });
}

/** What was begun goes on as far as it can. */
export const turns = async (count = 20) => {
  for (let i = 0; i < count; i++) await new Promise((done) => setImmediate(done));
};
