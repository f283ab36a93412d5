/**
 * The process of a Jah of a live stream. It waits as a spare until its Congregation says what it is born for; then it calls
 * that Hallelu, and does what it says.
 */
import { request } from "node:http";
import type { Socket } from "node:net";
import { exitWithParent } from "../core/watchdog.ts";
import { loadClient } from "../shuffle/http-peers.ts";
import { preparePages } from "../store/pages.ts";
import { Channel, CHANNEL_PROTOCOL } from "../wire/channel.ts";
import type { JahBirth } from "../wire/congregation.ts";
import type { FromLiveJah, ToLiveJah } from "../wire/live.ts";
import { failureOf } from "./failure.ts";
import { LiveJah } from "./live.ts";
import { ShardError } from "./restore.ts";

/** Time after which a Jah is done with starting, or was not one yet, and gets ready to send to others and to save its state, ms. */
const PREPARE_MS = 500;

process.title = "hallelujah spare";
const watchdog = exitWithParent();
process.on("SIGINT", () => {}); // whoever started this Jah ends it
process.on("SIGTERM", () => {});

setTimeout(() => {
  void loadClient();
  preparePages();
}, PREPARE_MS).unref();

// Without a listener the channel does not hold the process: a spare ends with it, a Jah with that to its Hallelu.
process.once("message", (birth: JahBirth) => {
  process.title = `hallelujah jah ${birth.jah}`;
  const call = request({
    host: "127.0.0.1",
    port: birth.port,
    path: `/jahs/${birth.jah}`,
    headers: { connection: "Upgrade", upgrade: CHANNEL_PROTOCOL, "hallelujah-secret": birth.secret },
  });
  call.on("upgrade", (_response, socket: Socket, head) => takeUp(birth, socket, head));
  call.on("response", ({ statusCode }) => giveUp(`the Hallelu refused this Jah: ${statusCode}`));
  call.on("error", ({ message }) => giveUp(`the Hallelu cannot be reached: ${message}`));
  call.end();
});

function giveUp(why: string): never {
  process.stderr.write(`${why}\n`);
  process.exit(1);
}

function takeUp(birth: JahBirth, socket: Socket, head: Buffer): void {
  socket.setNoDelay(true);
  let jah: LiveJah | undefined;
  /** Words that came while its state was read back. */
  const early: ToLiveJah[] = [];
  const end = async () => {
    await jah?.close();
    process.exit(0);
  };
  let channel: Channel<FromLiveJah, ToLiveJah>;
  const fail = (error: unknown) => {
    if (jah) return jah.fail(error);
    const store = error instanceof ShardError ? { store: error.store } : {};
    channel.send({ type: "failed", failure: failureOf(error), ...store });
    channel.end();
  };
  const handle = (message: ToLiveJah) => {
    if (message.type === "end") return void end();
    if (message.type !== "start") return jah ? jah.handle(message) : void early.push(message);
    LiveJah.start(message, birth.secret, channel, watchdog)
      .then((started) => {
        jah = started;
        for (const each of early.splice(0)) jah.handle(each);
        return jah.open();
      })
      .catch(fail);
  };
  process.on("uncaughtException", fail);
  channel = new Channel(
    socket,
    (message: ToLiveJah) => handle(message),
    () => process.exit(0),
  );
  channel.start(head);
}
