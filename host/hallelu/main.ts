/** The process of the Hallelu: takes in Jahs, serves clients, and does what its Congregation says. */
import { join } from "node:path";
import { HallelujahError, messageOf } from "../core/errors.ts";
import { exitWithParent } from "../core/watchdog.ts";
import { openJournal } from "../store/journal.ts";
import { FileRegistry } from "../store/registry.ts";
import type { ClusterHost, FromHallelu, ToHallelu } from "../wire/congregation.ts";
import type { Forwarding } from "./api/forward.ts";
import { serve } from "./api/server.ts";
import { Jahs } from "./jahs.ts";
import { Lease } from "./lease.ts";
import type { Leading } from "./leading.ts";
import type { Neighbours } from "./neighbours.ts";
import { Streams } from "./streams.ts";

process.title = "hallelujah hallelu";
exitWithParent();
process.on("SIGINT", () => {}); // the Congregation says when it is time
process.on("SIGTERM", () => {});
process.on("disconnect", () => process.exit(1));

const tell = (message: FromHallelu) => {
  if (process.connected) process.send!(message);
};

let jahs: Jahs | undefined;
let neighbours: Neighbours | undefined;
let seated = async () => {};
let stop = async () => {};
let hosts: ClusterHost[] | undefined;
let url = "";
const lease = new Lease();

/** For tests: how long a stream is kept without work, how long a frame may take, ms, and after how many bytes a shard is saved. */
const { HALLELUJAH_PARK_AFTER_MS, HALLELUJAH_FRAME_TIMEOUT_MS, HALLELUJAH_CHECKPOINT_BYTES } = process.env;

async function start(message: ToHallelu & { type: "start" }): Promise<void> {
  const journal = openJournal(message.data, "hallelu");
  process.on("uncaughtException", (error) => {
    journal.fatal(error, "uncaught");
    process.stderr.write(`${error.stack}\n`);
    process.exit(1);
  });
  const registry = new FileRegistry(join(message.data, "registry.json"));
  // Numbers of Jahs are never used twice, as late words of an old one must not pass for a new one's.
  const generation = Number(registry.get("generation")?.value ?? 0) + 1;
  await registry.put("generation", generation);
  jahs = new Jahs(tell, message.secret, generation * 1_000_000);
  tell({ type: "open", jahPort: await jahs.listen() });
  const streams = new Streams({
    data: message.data,
    cpus: message.cpus,
    jahs,
    registry,
    journal,
    clusterHosts: () => hosts,
    neighbours: () => neighbours,
    url: () => url,
    tellLoads: (loads) => tell({ type: "loads", streams: loads }),
    onMoved: () => leading?.look(),
    ...(HALLELUJAH_PARK_AFTER_MS ? { parkAfterMs: Number(HALLELUJAH_PARK_AFTER_MS) } : {}),
    ...(HALLELUJAH_CHECKPOINT_BYTES ? { checkpointBytes: Number(HALLELUJAH_CHECKPOINT_BYTES) } : {}),
    ...(HALLELUJAH_FRAME_TIMEOUT_MS ? { frameTimeoutMs: Number(HALLELUJAH_FRAME_TIMEOUT_MS) } : {}),
  });
  await streams.resume();
  let forwarding: Forwarding | undefined;
  let leading: Leading | undefined;
  if (message.cluster) {
    // Loaded by hosts of a cluster alone.
    const [{ Neighbours }, { Leading }, { Forwarding }] = await Promise.all([
      import("./neighbours.ts"),
      import("./leading.ts"),
      import("./api/forward.ts"),
    ]);
    const joining = new Neighbours({
      place: message.cluster,
      own: () => streams.names,
      isOurs: (name) => streams.has(name),
      journal,
      ...(message.token === undefined ? {} : { token: message.token }),
    });
    neighbours = joining;
    leading = new Leading({ neighbours: joining, streams, journal });
    forwarding = new Forwarding(joining, {
      has: (name) => streams.has(name),
      doubt: (name) => streams.doubt(name, lease),
    });
    seated = async () => {
      await joining.open();
      tell({ type: "joined" });
    };
  }
  const server = await serve(streams, message.listen, {
    journal,
    ...(forwarding ? { forwarding } : {}),
    ...(message.token ? { token: message.token } : {}),
    wasmVisits: message.wasmVisits ?? false,
  });
  url = server.url;
  tell({ type: "listening", url });
  stop = async () => {
    server.close();
    forwarding?.close();
    await leading?.close();
    await streams.close();
    await neighbours?.close();
    tell({ type: "stopped" });
    process.exit(0);
  };
}

process.on("message", (message: ToHallelu) => {
  if (message.type === "start") {
    start(message).catch((error: unknown) => {
      const code = error instanceof HallelujahError ? error.code : "host-failed";
      tell({ type: "failed", code, message: messageOf(error) });
      setTimeout(() => process.exit(1), 50);
    });
  } else if (message.type === "stop") void stop();
  else if (message.type === "seated") void seated();
  else if (message.type === "held") lease.held(message.until);
  else if (message.type === "hosts") {
    hosts = message.hosts;
    neighbours?.hear(hosts);
  } else jahs?.hear(message);
});
