/** A host of a simulated cluster: the product's membership, registry, directory and `Leading`, one life after the other. */
import { messageOf } from "../../../host/core/errors.ts";
import { Leading, type LedStreams } from "../../../host/hallelu/leading.ts";
import type { Neighbours } from "../../../host/hallelu/neighbours.ts";
import type { Journal } from "../../../host/store/journal.ts";
import { Directory, type LedEntry, STREAMS_PREFIX } from "../../../host/substrate/directory.ts";
import { HOSTS_PREFIX, Membership } from "../../../host/substrate/membership.ts";
import { ClusterRegistry } from "../../../host/substrate/registry.ts";
import { LedStream } from "./led-stream.ts";
import { Link, type Network, Process } from "./network.ts";
import { clusterOf, type Servers } from "./servers.ts";

export const BUCKET = "cluster";
export const BEATS = "beats";
/** Time after which a process that has ended by itself is started again, ms. */
const RESTART_MS = 700;

export interface HostParts {
  network: Network;
  servers: Servers;
  name: string;
  cpus: number;
  lostMs: number;
  note: (line: string) => void;
  /** When its streams are looked after, if that is not at once. */
  joined?: Promise<void>;
  /** A stream was opened. */
  opened: (host: Host, name: string, stream: LedStream) => void;
}

export class Host {
  readonly link = new Link();
  /** Of the clock of each of its lives, from when it is started. */
  speed = 1;
  /** Streams that it has open. */
  readonly streams = new Map<string, LedStream>();
  process: Process | undefined;
  membership: Membership | undefined;
  directory: Directory | undefined;
  /** Whether it is giving its name back. */
  isLeaving = false;
  private leading: Leading | undefined;
  private folders = 1;
  private readonly parts: HostParts;

  constructor(parts: HostParts) {
    this.parts = parts;
  }

  get name(): string {
    return this.parts.name;
  }

  get folder(): string {
    return `folder ${this.folders} of ${this.name}`;
  }

  /** It begins with an empty data folder, as after the loss of a disk. */
  loseFolder(): void {
    this.folders++;
  }

  /** Whether it is in its cluster, and at work. */
  get isUp(): boolean {
    return this.directory !== undefined && !this.process!.isStopped;
  }

  start(): void {
    const process = new Process(this.parts.network, this.link, this.speed);
    this.process = process;
    process.run(() => {
      this.boot(process).catch((error: unknown) => this.fail(process, messageOf(error)));
    });
  }

  kill(): void {
    if (this.process) this.process.isDead = true;
    this.process = undefined;
    this.membership = undefined;
    this.directory = undefined;
    this.leading = undefined;
    this.isLeaving = false;
    this.streams.clear();
  }

  /** Gives its name back, and ends. */
  leave(): void {
    const { process, membership, leading } = this;
    this.isLeaving = true;
    process!.run(() => {
      const end = () => {
        if (this.process === process) this.kill();
      };
      void leading!.close().then(() => membership!.leave().then(end, end));
    });
  }

  private async boot(process: Process): Promise<void> {
    const { servers, name, cpus, lostMs, note } = this.parts;
    const cluster = clusterOf(servers, process);
    const registry = await ClusterRegistry.open(cluster, BUCKET);
    const onOutdated = (why: string) => this.fail(process, why);
    const facts = { name, url: name, cpus, memoryBytes: 1, version: "1", folder: this.folder };
    const membership = await Membership.join(
      { cluster, registry, bucket: BEATS, lostMs, onOutdated, note: (_, line) => note(`${name}: ${line}`) },
      facts,
    );
    const directory = new Directory(registry, { host: name, folder: this.folder });
    const listeners: (() => void)[] = [];
    const neighbours = {
      onChange: (listener: () => void) => listeners.push(listener),
      get seat() {
        return { directory };
      },
    };
    const journal = {
      warn: (more: { stream: string } | string, line = "") => note(`${name}: ${told(more, line)}`),
      error: (more: { stream: string }, line: string) => note(`${name}: ${told(more, line)}`),
    };
    this.membership = membership;
    await this.parts.joined;
    this.directory = directory;
    const leading = new Leading({
      neighbours: neighbours as unknown as Neighbours,
      streams: this.ledStreams(process),
      journal: journal as unknown as Journal,
    });
    this.leading = leading;
    const look = () => {
      for (const listener of listeners) listener();
    };
    registry.watch(HOSTS_PREFIX, look);
    registry.watch(STREAMS_PREFIX, look);
    look();
    note(`${name} is in the cluster, epoch ${membership.epoch}`);
  }

  private ledStreams(process: Process): LedStreams {
    const { servers, name: host, opened } = this.parts;
    const { streams } = this;
    return {
      led: () => new Map([...streams].map(([name, { entry }]) => [name, entry])),
      isChanging: () => false,
      takeUp: async (entries: Map<string, LedEntry>, failed) => {
        for (const [name, entry] of entries) {
          try {
            const stream = await LedStream.open({ servers, process, host, name, entry });
            streams.set(name, stream);
            opened(this, name, stream);
          } catch (error) {
            failed(name, messageOf(error));
          }
        }
      },
      letGo: async (name) => void streams.delete(name),
      awaited: () => {},
    };
  }

  /** The process ends by itself, and is started again. */
  private fail(process: Process, why: string): void {
    if (this.process !== process) return;
    const { note, network } = this.parts;
    note(`${this.name} ends: ${why}`);
    this.kill();
    network.clock.later(RESTART_MS, () => {
      if (!this.process) this.start();
    });
  }
}

function told(more: { stream: string } | string, line: string): string {
  return typeof more === "string" ? more : `${more.stream}: ${line}`;
}
