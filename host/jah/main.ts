/** The process of a Jah: wires the channel to the main job with the pipeline. Everything else is behind them. */
import { readFileSync } from "node:fs";
import type { FromJah, JahMethods, ToJah } from "../wire/jah.ts";
import { failureOf } from "./failure.ts";
import { Pipeline } from "./pipeline.ts";

let pipeline: Pipeline | undefined;

const tell = (message: FromJah) => {
  if (process.connected) process.send!(message);
};

const fail = (error: unknown) => {
  if (pipeline) pipeline.fail(error);
  else tell({ type: "failed", failure: failureOf(error) });
};

async function handle(message: ToJah): Promise<void> {
  switch (message.type) {
    case "start": {
      const module = new WebAssembly.Module(readFileSync(message.kernel));
      pipeline = new Pipeline(module, message, tell);
      // Whoever stops a kernel that never returns looks here for the frame (host/run/watchdog.ts).
      Object.assign(globalThis, { hallelujahPipeline: pipeline });
      return tell({ type: "listening", port: await pipeline.listen() });
    }
    case "connect":
      return pipeline!.peers.connect(message.ports);
    case "map":
      return pipeline!.take(message.frames);
    case "call": {
      const method = pipeline!.results[message.method].bind(pipeline!.results) as (
        argument: unknown,
      ) => JahMethods[keyof JahMethods]["answer"];
      return tell({ type: "answer", id: message.id, value: await method(message.argument) });
    }
  }
}

process.on("message", (message: ToJah) => {
  handle(message).catch(fail);
});
process.on("disconnect", () => process.exit(0)); // the main job is gone
process.on("uncaughtException", fail);
process.on("SIGINT", () => {}); // the main job stops its Jahs itself
