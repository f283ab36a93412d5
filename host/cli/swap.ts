/** `hallelujah swap` and `hallelujah history`: another kernel for a stream, and those that it has had. */
import { basename } from "node:path";
import type { SwapPlan } from "../client/live.ts";
import { HallelujahError } from "../core/errors.ts";
import { readKernel } from "./deploy.ts";
import { hostOf, print, printRecords, type RemoteFlags } from "./remote.ts";

export interface SwapFlags extends RemoteFlags {
  to?: number;
  dryRun?: boolean;
}

export async function swapCommand(name: string, path: string | undefined, flags: SwapFlags): Promise<void> {
  const { to, dryRun } = flags;
  if ((path === undefined) === (to === undefined))
    throw new HallelujahError(
      "usage",
      `name a kernel, or a version with --to; hallelujah history ${name} lists them`,
    );
  const host = hostOf(flags);
  const options = path === undefined ? { to: to! } : { kernel: readKernel(path), file: basename(path) };
  if (dryRun) return showPlan(name, await host.planSwap(name, options));
  const { version, kernel, state, unseen } = await host.swap(name, options);
  const when = state === "running" ? "runs" : `is ${state}, and will run`;
  await print(`${[`${name} ${when} ${kernel} (version ${version})`, ...unseenLine(unseen)].join("\n")}\n`);
}

function unseenLine(unseen: string[] = []): string[] {
  const columns = `${unseen.length > 1 ? "columns" : "column"} ${unseen.map((name) => `"${name}"`).join(", ")}`;
  return unseen.length ? [`it reads the ${columns}, which no record so far had`] : [];
}

async function showPlan(name: string, { misfits, tables, removed, unseen }: SwapPlan): Promise<void> {
  if (misfits.length) {
    throw new HallelujahError("swap-misfit", `the kernel does not fit ${name}:\n${misfits.join("\n")}`);
  }
  const lines = tables.map(({ table, kept, upgraded, added, dropped }) => {
    if (!kept) return `${table} is new`;
    if (upgraded) return `${table} stays; upgraded by the kernel`;
    const changes = [
      ...(added.length ? [`${added.join(", ")} starts empty`] : []),
      ...(dropped.length ? [`${dropped.join(", ")} is dropped`] : []),
    ];
    return `${table} stays${changes.length ? `; ${changes.join("; ")}` : " as it is"}`;
  });
  const gone = removed.map((table) => `${table} goes, with its rows`);
  await print(
    `${[...lines, ...gone, ...unseenLine(unseen), "nothing was changed (--dry-run)"].join("\n")}\n`,
  );
}

export async function historyCommand(name: string, flags: RemoteFlags): Promise<void> {
  const versions = await hostOf(flags).versions(name);
  await printRecords(
    versions.map(({ version, file, from, at, how, sameAs, error, trial }) => ({
      version,
      kernel: file,
      "from frame": error === undefined ? from : null,
      at,
      how: sameAs === undefined ? how : `${how} to ${sameAs}`,
      note:
        error === undefined
          ? trial
            ? "on trial"
            : ""
          : `${how === "reprocessed" ? "ended" : "rolled back"}: ${error}`,
    })),
    flags,
    "versions",
  );
}
