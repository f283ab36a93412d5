/** The process of a Jah of a live stream: calls the Hallelu that it was born for, and does what it says. */
import { readFileSync } from "node:fs";
import { request } from "node:http";
import type { Socket } from "node:net";
import { exitWithParent } from "../core/watchdog.ts";
import { Channel, CHANNEL_PROTOCOL } from "../wire/channel.ts";
import { JAH_VARIABLE, type JahBirth } from "../wire/congregation.ts";
import type { FromLiveJah, ToLiveJah } from "../wire/live.ts";
import { failureOf } from "./failure.ts";
import { LiveJah } from "./live.ts";

const birth = JSON.parse(process.env[JAH_VARIABLE] ?? "{}") as JahBirth;
process.title = `hallelujah jah ${birth.jah}`;
const watchdog = exitWithParent();
process.on("SIGINT", () => {}); // whoever started this Jah ends it
process.on("SIGTERM", () => {});

let jah: LiveJah | undefined;

const call = request({
  host: "127.0.0.1",
  port: birth.port,
  path: `/jahs/${birth.jah}`,
  headers: { connection: "Upgrade", upgrade: CHANNEL_PROTOCOL, "hallelujah-secret": birth.secret },
});
call.on("upgrade", (_response, socket: Socket, head) => {
  socket.setNoDelay(true);
  let channel: Channel<FromLiveJah, ToLiveJah>;
  const fail = (error: unknown) => {
    if (jah) return jah.fail(error);
    channel.send({ type: "failed", failure: failureOf(error) });
    channel.end();
  };
  const handle = (message: ToLiveJah) => {
    if (message.type === "end") process.exit(0);
    if (message.type !== "start") return jah!.handle(message);
    const module = new WebAssembly.Module(readFileSync(message.kernel));
    jah = new LiveJah(module, message, birth.secret, channel, watchdog);
    jah.open().catch(fail);
  };
  process.on("uncaughtException", fail);
  channel = new Channel(
    socket,
    (message: ToLiveJah) => handle(message),
    () => process.exit(0),
  );
  channel.start(head);
});
call.on("response", (response) => {
  process.stderr.write(`the Hallelu refused this Jah: ${response.statusCode}\n`);
  process.exit(1);
});
call.on("error", (error) => {
  process.stderr.write(`the Hallelu cannot be reached: ${error.message}\n`);
  process.exit(1);
});
call.end();
