/** `hallelujah reprocess`: another kernel for a stream, from the first record on. */
import { basename } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Hallelujah } from "../client/live.ts";
import { HallelujahError } from "../core/errors.ts";
import { readKernel } from "./deploy.ts";
import { hostOf, print, type RemoteFlags, untilInterrupted } from "./remote.ts";

export interface ReprocessFlags extends RemoteFlags {
  to?: number;
  max?: number;
  from?: "oldest";
  wait?: boolean;
  cancel?: boolean;
}

/** How often it is looked whether it has taken over, ms. */
const LOOK_MS = 200;

export async function reprocessCommand(
  name: string,
  path: string | undefined,
  flags: ReprocessFlags,
): Promise<void> {
  const { to, max, from, wait, cancel } = flags;
  const host = hostOf(flags);
  const given = [path, to, cancel || undefined].filter((each) => each !== undefined).length;
  if (given !== 1)
    throw new HallelujahError(
      "usage",
      "name a kernel, or a version with --to, or end what is under way with --cancel",
    );
  if (cancel) {
    await host.cancelReprocess(name);
    return print(`the reprocess of ${name} has ended; ${name} goes on as it was\n`);
  }
  const { reprocess } = await host.reprocess(name, {
    ...(path === undefined ? { to: to! } : { kernel: readKernel(path), file: basename(path) }),
    ...(max === undefined ? {} : { max }),
    ...(from === undefined ? {} : { from }),
  });
  const { version, kernel, begin, frames } = reprocess!;
  await print(
    `${name} takes in frames ${begin} to ${frames - 1} again with ${kernel} (version ${version}); hallelujah ps ${name} shows how far it is\n`,
  );
  if (wait) await untilOver(host, name, version);
}

/** Resolves when it has taken over. Throws `reprocess-ended` with the reason if it has not. */
async function untilOver(host: Hallelujah, name: string, version: number): Promise<void> {
  const signal = untilInterrupted();
  while ((await host.stream(name, { signal })).reprocess?.version === version)
    await sleep(LOOK_MS, undefined, { signal });
  const found = (await host.versions(name)).find((each) => each.version === version);
  if (!found || found.error !== undefined)
    throw new HallelujahError(
      "reprocess-ended",
      `${name} goes on as it was, the reprocess has ended: ${found?.error ?? "it is gone"}`,
    );
  await print(`${name} runs ${found.file} (version ${version})\n`);
}
