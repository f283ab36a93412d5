/** A new stream: whether there may be one, its record and its folder, and that it begins to work. */
import { randomUUID } from "node:crypto";
import { rmSync } from "node:fs";
import { basename, join } from "node:path";
import { crc32 } from "node:zlib";
import type { KernelDescriptor } from "../compiler/descriptor.ts";
import { HallelujahError } from "../core/errors.ts";
import { STREAMS_MAX } from "../core/limits.ts";
import { parseRetain, RETAIN_DEFAULT } from "../core/retain.ts";
import { isRemote } from "../input/discover.ts";
import { replaceFile } from "../store/durable.ts";
import type { Journal } from "../store/journal.ts";
import type { StreamLoad } from "../wire/congregation.ts";
import { type Offer, STREAM_NAME, type StreamInfo } from "../wire/http.ts";
import { admit } from "./admission.ts";
import type { CheckedKernel } from "./builder.ts";
import { PARTITIONS } from "./dispatch.ts";
import type { Feeding } from "./feeding.ts";
import type { Frames } from "./frames.ts";
import { hasOutput, noOutput } from "./has-output.ts";
import type { DeployRequest } from "./host.ts";
import type { Home } from "./home.ts";
import type { Neighbours } from "./neighbours.ts";
import type { Opening } from "./opening.ts";
import { streamFolder, type StreamRecord } from "./record.ts";
import type { Roster } from "./roster.ts";
import { misfitsOf } from "./shapes.ts";
import { checkSink } from "./sinks.ts";
import type { Stream } from "./stream.ts";
import { infoOf } from "./stream-info.ts";

/** The host, as far as this needs it. */
interface DeployingHost {
  data: string;
  cpus: number;
  /** A home that is this host alone. */
  localHome: (name: string) => Home;
  journal: Journal;
  roster: Roster;
  opening: Opening;
  feeding: Feeding;
  moduleOf: (name: string, request: DeployRequest) => Promise<CheckedKernel>;
  /** How all streams stand. */
  loads: () => StreamLoad[];
  /** The other hosts, where this one is in a cluster. */
  neighbours: () => Neighbours | undefined;
}

export class Deploying {
  private readonly host: DeployingHost;

  constructor(host: DeployingHost) {
    this.host = host;
  }

  /** Deploys what is not there yet. Rejects with what the request is refused for, or could not be carried out for; nothing is left then. */
  async deploy(name: string, request: DeployRequest): Promise<StreamInfo> {
    const { roster } = this.host;
    if (request.expect === "there" || request.kernel.kind === "version") roster.find(name);
    if (roster.size >= STREAMS_MAX)
      throw new HallelujahError("too-many-streams", `there are ${STREAMS_MAX} streams; remove one first`);
    return roster.change(name, async () => {
      if (request.retain !== undefined) parseRetain(request.retain);
      for (const target of request.sink ?? []) checkSink(target);
      const { wasm, descriptor } = await this.host.moduleOf(name, request);
      if (request.sink?.length && !hasOutput(descriptor)) throw noOutput(name, "a sink would get no row");
      const shares = this.checkFrom(name, request, descriptor);
      const min = request.min ?? 1;
      const max = request.max ?? Math.max(min, this.host.cpus);
      if (max < min) {
        const given = request.min === undefined ? "which is 1 if not given" : `which is ${min}`;
        const message = `max (${max}) is less than min, ${given}; with both 0 the stream would be stopped`;
        throw new HallelujahError("capacity-invalid", message);
      }
      this.admit(name, Math.min(min, max));
      return this.create(name, request, { wasm, descriptor, min, max, shares });
    });
  }

  /** Throws `no-capacity`, with what other streams could give. */
  private admit(name: string, wanted: number): void {
    const { cpus } = this.host;
    if (wanted > cpus) {
      const message = `${name} would have ${wanted} Jahs at least (min), and this host has ${cpus} ${cpus === 1 ? "CPU" : "CPUs"}; ask for fewer`;
      throw Object.assign(new HallelujahError("no-capacity", message), { offers: [] satisfies Offer[] });
    }
    const { admitted, offers } = admit(this.host.loads(), cpus, wanted);
    if (admitted) return;
    const could = `lower the capacity of another stream, e.g. hallelujah capacity ${offers[0].stream} ${Math.max(0, offers[0].min - 1)}`;
    const message = `there is no CPU for ${name}: the streams that work need all ${cpus}; ${could}`;
    throw Object.assign(new HallelujahError("no-capacity", message), { offers: offers satisfies Offer[] });
  }

  /** Answers whether the records of `from` are shared, rather than that its output is taken in. */
  private checkFrom(name: string, request: DeployRequest, kernel: KernelDescriptor): boolean {
    const { from, share = false } = request;
    if (from === undefined) {
      if (share)
        throw new HallelujahError("share-invalid", "share needs from, the stream whose records are shared");
      return false;
    }
    const { stream, reprocess } = this.host.roster.find(from);
    if (share || !hasOutput(stream.kernel)) {
      checkSharing(stream, name, kernel, request);
      return true;
    }
    if (reprocess && !hasOutput(reprocess.green.kernel))
      throw noOutput(`${from}, once its reprocess has taken over,`, `${name} would get no record`);
    for (
      let at: string | undefined = from;
      at !== undefined;
      at = this.host.roster.get(at)?.stream.record.from
    ) {
      if (at === name)
        throw new HallelujahError("stream-loop", `${name} would take in its own output, by way of ${from}`);
    }
    return false;
  }

  private async create(
    name: string,
    request: DeployRequest,
    kernel: { wasm: Uint8Array; descriptor: KernelDescriptor; min: number; max: number; shares: boolean },
  ): Promise<StreamInfo> {
    const home = await this.homeOf(name, request);
    let letGo = () => {};
    try {
      const shared = kernel.shares ? this.host.roster.find(request.from!).stream.frames : undefined;
      // What it begins with stays there until it holds it itself.
      if (shared) letGo = shared.hold();
      if (kernel.descriptor.time) await shared?.beginTimed();
      const record = await this.prepare(name, request, kernel, shared);
      await home.write(record);
      const running = await this.host.opening.open(home, record, kernel.descriptor);
      if (record.shares) running.stream.recall();
      if (record.max > 0) running.stream.wake();
      await this.host.feeding.feed(running);
      this.host.journal.info({ stream: name }, `deployed ${record.file}`);
      return infoOf(running);
    } catch (error) {
      await this.undo(name, home);
      throw error;
    } finally {
      letGo();
    }
  }

  /** Where a new stream is kept, with its name: in the cluster, but for what depends on a stream of this host alone. */
  private async homeOf(name: string, { from, source = [] }: DeployRequest): Promise<Home> {
    const { data, localHome, roster } = this.host;
    const neighbours = this.host.neighbours();
    if (!neighbours) return localHome(name);
    if (from !== undefined && !roster.find(from).home.isShared) {
      await neighbours.claim(name);
      return localHome(name);
    }
    const isBound = source.some((each) => !isRemote(each));
    return neighbours.newHome(name, data, {
      ...(from === undefined ? {} : { from }),
      ...(isBound ? { isBound } : {}),
    });
  }

  /** Makes its folder, with the kernel; `shared` is whose log it shares. */
  private async prepare(
    name: string,
    request: DeployRequest,
    kernel: { wasm: Uint8Array; descriptor: KernelDescriptor; min: number; max: number },
    shared: Frames | undefined,
  ): Promise<StreamRecord> {
    const { data } = this.host;
    rmSync(streamFolder(data, name), { recursive: true, force: true });
    const path = join(streamFolder(data, name), "kernel-1.wasm");
    await replaceFile(path, kernel.wasm);
    const begin = shared?.first ?? 0;
    const open = shared?.openAt(begin) ?? [];
    return {
      name,
      version: 1,
      kernel: path,
      moduleSums: { [basename(path)]: crc32(kernel.wasm) },
      file: request.file ?? kernel.descriptor.file,
      min: kernel.min,
      max: kernel.max,
      paused: false,
      retain: request.retain ?? RETAIN_DEFAULT,
      source: request.source ?? [],
      ...(request.inputFormat === undefined ? {} : { inputFormat: request.inputFormat }),
      ...(request.from === undefined ? {} : { from: request.from }),
      ...(shared ? { shares: true, begin, reader: randomUUID() } : {}),
      ...(open.length ? { open } : {}),
      sink: request.sink ?? [],
      ...(request.strict ? { strict: true } : {}),
      sources: [],
      dead: [],
      stored: [{ folder: "shard-0", from: 0, to: PARTITIONS, start: 0 }],
      frame: begin,
      counts: { records: 0, bad: 0, late: 0 },
    };
  }

  private async undo(name: string, home: Home): Promise<void> {
    const running = this.host.roster.get(name);
    this.host.roster.delete(name);
    running?.stop.abort();
    if (running) await Promise.all([running.stream.remove(), ...running.feeding]);
    const isRemoved = await home.remove().then(
      () => true,
      () => false,
    );
    // What is left in the cluster is removed when that answers: until then the name stays.
    if (isRemoved || !home.isShared) await this.host.neighbours()?.release(name);
    rmSync(streamFolder(this.host.data, name), { recursive: true, force: true });
  }
}

/** Throws `stream-name-invalid`. */
export function checkName(name: string): void {
  if (STREAM_NAME.test(name)) return;
  const message = `a stream cannot be called ${JSON.stringify(name.slice(0, 80))}; use 1 to 63 of a-z, 0-9 and -`;
  throw new HallelujahError("stream-name-invalid", message);
}

/** Whether `kernel` can share the records of a stream. Throws `share-invalid` or `share-misfit`. */
function checkSharing(
  stream: Stream,
  name: string,
  kernel: KernelDescriptor,
  { source, retain }: Pick<DeployRequest, "source" | "retain">,
): void {
  const refuse = (why: string) => {
    throw new HallelujahError("share-invalid", `${name} cannot share the records of ${stream.name}: ${why}`);
  };
  const { from } = stream.record;
  if (stream.record.shares) refuse(`those are shared with ${from} already; deploy it with from ${from}`);
  if (source?.length) refuse("it would read a source of its own, too; leave out one of them");
  if (retain !== undefined)
    refuse(`how long they are kept is said there: PATCH /v1/streams/${stream.name} with retain`);
  const misfits = misfitsOf(stream.frames.shapes.sources, kernel);
  if (misfits.length)
    throw new HallelujahError(
      "share-misfit",
      `the kernel cannot read the records of ${stream.name}:\n${misfits.join("\n")}`,
    );
}
