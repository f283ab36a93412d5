/** Another kernel for a stream that is there: what it would do, that it may, and that it comes (rollout.ts). */
import { join } from "node:path";
import { crc32 } from "node:zlib";
import type { KernelDescriptor } from "../compiler/descriptor.ts";
import { HallelujahError } from "../core/errors.ts";
import { replaceFile } from "../store/durable.ts";
import type { StreamChange, StreamInfo, SwapPlan, VersionInfo } from "../wire/http.ts";
import type { CheckedKernel } from "./builder.ts";
import { checkOutput } from "./has-output.ts";
import type { DeployRequest } from "./host.ts";
import { refuseIfReprocessing } from "./reprocesses.ts";
import type { Roster } from "./roster.ts";
import type { Running } from "./running.ts";
import { unseenColumns } from "./shapes.ts";
import type { Stream } from "./stream.ts";
import { infoOf } from "./stream-info.ts";

/** The host, as far as this needs it. */
interface SwappingHost {
  roster: Roster;
  moduleOf: (name: string, request: DeployRequest) => Promise<CheckedKernel>;
  change: (name: string, change: StreamChange) => Promise<StreamInfo>;
}

/** See host.ts for what its methods promise. */
export class Swapping {
  private readonly host: SwappingHost;

  constructor(host: SwappingHost) {
    this.host = host;
  }

  /** The kernel of a running stream is replaced; its state stays. */
  async swap(running: Running, request: DeployRequest): Promise<StreamInfo> {
    const { stream } = running;
    const { name } = stream;
    checkSwapOptions(stream, request);
    refuseIfReprocessing(running, "swap its kernel");
    return this.host.roster.change(name, async () => {
      const { kernel, min, max, retain } = request;
      const { versions } = stream;
      const sameAs = kernel.kind === "version" ? versions.find(kernel.version) : undefined;
      const { wasm, descriptor } = await this.host.moduleOf(name, request);
      checkOutput(stream, descriptor, this.host.roster.all);
      stream.rollout.checkSwap(descriptor);
      const module = sameAs?.module ?? `kernel-${versions.next}.wasm`;
      if (!sameAs) {
        await replaceFile(join(stream.folder, module), wasm);
        stream.record.moduleSums = { ...stream.record.moduleSums, [module]: crc32(wasm) };
      }
      const file = sameAs?.file ?? request.file ?? descriptor.file;
      const how = sameAs
        ? ({ how: "went back", sameAs: sameAs.version } as const)
        : ({ how: "swapped" } as const);
      await stream.rollout.swap({ module, file, ...how }, descriptor);
      if (min !== undefined || max !== undefined || retain !== undefined) {
        await this.host.change(name, {
          ...(min === undefined ? {} : { min }),
          ...(max === undefined ? {} : { max }),
          ...(retain === undefined ? {} : { retain }),
        });
      }
      return { ...infoOf(running), ...unseenBy(descriptor, stream) };
    });
  }

  /** What a swap would do. Changes nothing. */
  async planSwap(name: string, request: DeployRequest): Promise<SwapPlan> {
    const { stream } = this.host.roster.find(name);
    const { descriptor } = await this.host.moduleOf(name, request);
    const { tables, removed, misfits } = stream.rollout.fitOf(descriptor);
    return {
      misfits,
      tables: tables.map(({ name: table, from, upgrade, added, dropped }) => ({
        table,
        kept: from !== undefined,
        upgraded: upgrade !== undefined,
        added,
        dropped,
      })),
      removed: removed.map((table) => table.name),
      ...unseenBy(descriptor, stream),
    };
  }

  versions(name: string): VersionInfo[] {
    const { versions } = this.host.roster.find(name).stream;
    const { trial } = versions;
    return versions.all.map(({ version, from, file, at, how, sameAs, pauseMs, error }) => ({
      version,
      from,
      file,
      at,
      how,
      ...(sameAs === undefined ? {} : { sameAs }),
      ...(pauseMs === undefined ? {} : { pauseMs }),
      ...(error === undefined ? {} : { error }),
      trial: version === trial?.version,
    }));
  }
}

/** A swap replaces the kernel alone. Throws `stream-exists` or `stream-failed`. */
function checkSwapOptions(
  { name, error }: Stream,
  { expect, source, inputFormat, sink, from, share, strict }: DeployRequest,
): void {
  const remove = `remove the stream first (hallelujah rm ${name})`;
  if (expect === "new") {
    const message = `${name} is there already; for another kernel: hallelujah swap ${name} KERNEL; else ${remove}`;
    throw new HallelujahError("stream-exists", message);
  }
  if (error !== undefined) throw new HallelujahError("stream-failed", `${name} stopped: ${error}; ${remove}`);
  const isOther = [inputFormat, from].some((given) => given !== undefined) || share || strict;
  if (source?.length || sink?.length || isOther)
    throw new HallelujahError(
      "stream-exists",
      `a swap replaces the kernel alone: ${name} keeps its sources, their format, its sinks and strictness; for others, ${remove}`,
    );
}

/** What is said of columns that a kernel wants of a stream, and none of its records has had. */
function unseenBy(kernel: KernelDescriptor, { frames }: Stream): { unseen?: string[] } {
  const unseen = unseenColumns(frames.shapes.sources, kernel);
  return unseen.length ? { unseen } : {};
}
