/** A stream is made of its record and what lies in its folder. */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { KernelDescriptor } from "../compiler/descriptor.ts";
import type { Journal } from "../store/journal.ts";
import { type DecodedFolder, DecodedFrames } from "./decoded.ts";
import type { Home } from "./home.ts";
import type { Jahs } from "./jahs.ts";
import { streamFolder, type StreamRecord } from "./record.ts";
import type { Roster } from "./roster.ts";
import type { Running } from "./running.ts";
import { Stream } from "./stream.ts";
import type { HostParts, Pace } from "./stream-parts.ts";
import { Tally } from "./tally.ts";

/** The host, as far as this needs it. */
interface OpeningHost {
  data: string;
  cpus: number;
  jahs: Jahs;
  journal: Journal;
  roster: Roster;
  pace: Pace;
  freeCpus: () => number;
  /** Writes what is known of a stream to the registry. */
  write: (running: Running) => Promise<void>;
  /** Another host may lead a stream by now. */
  onMoved: () => void;
}

export class Opening {
  private readonly host: OpeningHost;

  constructor(host: OpeningHost) {
    this.host = host;
  }

  /** From then on it is in the roster. Rejects if its folder, or the stream whose records it shares, cannot be read. */
  async open(home: Home, record: StreamRecord, kernel: KernelDescriptor): Promise<Running> {
    const folder = streamFolder(this.host.data, record.name);
    if (record.shares) this.host.roster.find(record.from!);
    const own = record.shares ? undefined : new Tally();
    const opening = [home.openOutputs("output"), home.openOutputs("late"), own && home.openLog(own)] as const;
    const [outputs, lateOutputs, log] = await Promise.all(opening).catch(async (error: unknown) => {
      await closeOpened(opening);
      throw error;
    });
    // Nothing is waited for from here on: a reprocess may take its place at any time.
    const owner = record.shares ? this.host.roster.find(record.from!).stream : undefined;
    if (owner) record.sources = owner.record.sources; // one list, which grows with it
    const running: Omit<Running, "stream"> = {
      home,
      stop: new AbortController(),
      feeding: [],
      sinks: record.sink.map(() => ({ row: 0 })),
      diskFull: false,
    };
    const stream = new Stream(record, {
      kernel,
      folder,
      home,
      ...(owner
        ? { owner, ...owner.shared }
        : {
            log: log!,
            tally: own!,
            decoded: new DecodedFrames(decodedFolder(folder), () => performance.now()),
          }),
      outputs,
      lateOutputs,
      ...this.partsOf(running as Running, record.name),
    });
    const opened: Running = Object.assign(running, { stream });
    this.host.roster.add(opened);
    return opened;
  }

  /** What a stream has of its host; `running` will have it, and `name` is known to users. */
  partsOf(running: Running, name: string): HostParts {
    const { jahs, journal, cpus, freeCpus, pace, onMoved } = this.host;
    const { parkAfterMs, frameTimeoutMs, checkpointBytes } = pace;
    return {
      jahs,
      cpus,
      freeCpus,
      save: () => this.host.write(running),
      onMoved,
      note: (level, message, details) => journal[level]({ stream: name, ...details }, message),
      ...(parkAfterMs === undefined ? {} : { parkAfterMs }),
      ...(frameTimeoutMs === undefined ? {} : { frameTimeoutMs }),
      ...(checkpointBytes === undefined ? {} : { checkpointBytes }),
    };
  }
}

/** Closes what could be opened, where something else could not. */
async function closeOpened(
  opening: readonly (Promise<{ close(): Promise<void> }> | undefined)[],
): Promise<void> {
  for (const each of await Promise.allSettled(opening))
    if (each.status === "fulfilled") await each.value?.close();
}

/** Where what is decoded of a stream's log lies; what the process before left there is of no use. */
function decodedFolder(streamFolder: string): DecodedFolder {
  const path = join(streamFolder, "decoded");
  rmSync(path, { recursive: true, force: true });
  return {
    path,
    make: () => mkdirSync(path, { recursive: true }),
    remove: (file) => rmSync(file, { force: true }),
  };
}
