/** A host without an engine, for tests of its HTTP interface. */
import { HallelujahError } from "../../host/core/errors.ts";
import type { Host, PushBody } from "../../host/hallelu/host.ts";
import type { StreamInfo } from "../../host/wire/http.ts";

const info: StreamInfo = {
  name: "weather",
  state: "running",
  version: 1,
  kernel: "stations.ts",
  tables: ["stations"],
  min: 1,
  max: 2,
  retain: "applied",
  jahs: 1,
  shards: [{ from: 0, to: 256, jah: 1, frame: 3 }],
  backlog: { bytes: 0, records: 0, seconds: 0 },
  records: 5,
  badRecords: 0,
  checkpoints: { frame: 0, count: 0, bytes: 0, ms: 0 },
  lateRecords: 0,
  lateOutputs: 0,
  recordsPerSecond: 0,
  bytesPerSecond: 0,
  deadLetters: 0,
  outputs: 3,
  frame: 3,
  frames: 3,
};

async function* chunks(...texts: string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield Buffer.from(text);
}

function unknown(name: string): never {
  throw new HallelujahError("stream-unknown", `there is no stream ${name}`);
}

/** Answers every call at once; what is pushed to it lies in `pushed`. */
export const fakeHost = (pushed: PushBody[]): Host => ({
  deploy: async (name) => {
    if (name === "full")
      throw Object.assign(new HallelujahError("no-capacity", "no CPU"), {
        offers: [{ stream: "a", jahs: 1, min: 1, backlogSeconds: null }],
      });
    return { created: true, stream: info };
  },
  reprocess: async () => info,
  cancelReprocess: async (name) => void (name === "weather" || unknown(name)),
  planSwap: async () => ({ misfits: [], tables: [], removed: [] }),
  versions: () => [
    {
      version: 1,
      from: 0,
      file: "stations.ts",
      at: "2026-01-01T00:00:00.000Z",
      how: "deployed",
      trial: false,
    },
  ],
  allStreams: async () => [info],
  streams: () => [info],
  stream: (name) => (name === "weather" ? info : unknown(name)),
  change: async (_name, change) => ({ ...info, ...(change.max === undefined ? {} : { max: change.max }) }),
  remove: async (name) => void (name === "weather" || unknown(name)),
  push: async (name, body) => {
    if (name === "full") throw new HallelujahError("backlog-full", "no room");
    if (name === "broken") throw new TypeError("a secret of the host");
    pushed.push(body);
    return { frame: pushed.length, bytes: body.bytes };
  },
  visit: async () => ({ frame: 3, rows: chunks('{"table":"t","key":"a"}\n') }),
  follow: async () =>
    (async function* () {
      const rows = (...keys: string[]) => keys.map((key) => Buffer.from(`{"table":"t","key":"${key}"}\n`));
      yield { frame: 1, chunks: [] };
      yield { frame: 3, chunks: rows("a", "b") };
      throw new HallelujahError("dataset-missing", "the new kernel keeps no rows");
    })(),
  query: async (_name, { format, key }) => ({ frame: 7, rows: chunks(`${format} `, key ?? "all") }),
  output: (_name, { from = 0, signal }) => ({
    async *[Symbol.asyncIterator]() {
      yield { from, count: 2, bytes: Buffer.from('{"a":1}\n{"a":2}\n') };
      await new Promise((done) => signal.addEventListener("abort", done));
    },
  }),
  deadLetters: () => [
    { frame: 1, stage: "map", partitions: [{ from: 0, to: 256 }], error: "e", version: 1, bytes: 2 },
  ],
  deadLetter: async () => Buffer.from("a\n"),
  retryDeadLetter: async () => ({ frame: 9, bytes: 2 }),
  dropDeadLetter: async () => {},
  backup: async () => chunks("a", "b"),
  host: () => ({
    version: "1",
    pid: 1,
    startedAt: "2026-01-01T00:00:00.000Z",
    data: "d",
    cpus: { total: 2, free: 1 },
    allStreams: async () => [],
    streams: 1,
    jahs: 1,
    memoryBytes: 1,
  }),
  hosts: () => [
    {
      name: "a",
      url: "http://127.0.0.1:7747",
      state: "up",
      cpus: 2,
      memoryBytes: 1,
      version: "1",
      epoch: 1,
      isSelf: true,
    },
  ],
  jahs: () => [
    {
      jah: 1,
      pid: 2,
      cpu: 0,
      stream: "weather",
      kind: "persistent",
      state: "idle",
      busy: 0,
      bytesPerSecond: 0,
      memoryBytes: 1,
    },
  ],
  logs: () => chunks('{"msg":"hello"}\n'),
});
