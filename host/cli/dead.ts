/** `hallelujah dead`: frames that stopped a stream's kernel. */
import { HallelujahError } from "../core/errors.ts";
import { hostOf, print, printRecords, type RemoteFlags } from "./remote.ts";

export interface DeadFlags extends RemoteFlags {
  retry?: boolean;
  drop?: boolean;
}

export async function deadCommand(name: string, which: string | undefined, flags: DeadFlags): Promise<void> {
  const { retry = false, drop = false } = flags;
  const host = hostOf(flags);
  if (retry && drop) throw usage("either --retry or --drop");
  if (which !== undefined && which !== "all" && !/^\d{1,15}$/.test(which))
    throw usage(`${which} is no frame; give its number, as hallelujah dead ${name} lists it`);
  if (!retry && !drop) {
    if (which === "all") throw usage("all goes with --retry or --drop");
    if (which !== undefined) return print(await host.deadLetter(name, Number(which)));
    const letters = await host.deadLetters(name);
    return printRecords(
      letters.map(({ partitions, ...letter }) => ({
        ...letter,
        partitions: partitions.map(({ from, to }) => `${from}-${to - 1}`).join(" "),
      })),
      flags,
      "dead letters",
    );
  }
  if (which === undefined) throw usage(`say which frame, or all: hallelujah dead ${name} all`);
  const frames = which === "all" ? (await host.deadLetters(name)).map(({ frame }) => frame) : [Number(which)];
  let refused: unknown;
  for (const frame of frames) {
    try {
      if (drop) await host.dropDeadLetter(name, frame);
      const retried = drop ? undefined : await host.retryDeadLetter(name, frame);
      await print(
        `frame ${frame} ${retried === undefined ? "is dropped" : `is logged again as ${retried}`}\n`,
      );
    } catch (error) {
      // Of several, those that can be are done all the same.
      if (refused) process.stderr.write(`hallelujah: ${(refused as Error).message}\n`);
      refused = error;
    }
  }
  if (refused) throw refused;
}

function usage(message: string): HallelujahError {
  return new HallelujahError("usage", message);
}
