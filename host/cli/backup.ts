/** `hallelujah backup` and `restore`: the data of a running host as one file, and back. */
import { existsSync, statSync } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { checkFolder } from "../doctor/folder.ts";
import { restoreBackup } from "../doctor/restore.ts";
import { hostOf, inBytes, print, type RemoteFlags, untilInterrupted } from "./remote.ts";

/** Writes a file, or one named by the time into a folder that is there. */
export async function backupCommand(target: string, flags: RemoteFlags): Promise<void> {
  const signal = untilInterrupted();
  const isFolder = existsSync(target) && statSync(target).isDirectory();
  const name = `hallelujah-${new Date().toISOString().slice(0, 19).replaceAll(":", "")}.tar`;
  const file = isFolder ? join(target, name) : target;
  const unfinished = `${file}.unfinished`;
  let bytes = 0;
  const chunks = hostOf(flags).backup({ signal });
  try {
    const handle = await open(unfinished, "w");
    try {
      for await (const chunk of chunks) {
        await handle.writeFile(chunk);
        bytes += chunk.length;
      }
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(unfinished, file);
    const folder = await open(dirname(resolve(file)), "r");
    await folder.sync().finally(() => folder.close());
  } catch (error) {
    await rm(unfinished, { force: true });
    throw error;
  }
  await print(`${file}: ${inBytes(bytes)}\n`);
}

export async function restoreCommand(file: string, flags: { data: string }): Promise<void> {
  const data = resolve(flags.data);
  await restoreBackup(file, data);
  for await (const { kind, stream, what, effect } of checkFolder(data)) {
    if (kind === "problem") process.exitCode = 1;
    await print(`${kind}: ${stream === undefined ? "" : `${stream}: `}${what}; ${effect}\n`);
  }
  await print(`${data} is restored; start it with: hallelujah up --data ${flags.data}\n`);
}
