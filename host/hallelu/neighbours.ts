/**
 * The other hosts of the cluster, as far as this one's clients are concerned: any host answers for all streams, and those that are another's it
 * asks that one for. A host that cannot reach its cluster goes on with its own streams.
 */
import { Backoff } from "../core/backoff.ts";
import { HallelujahError, messageOf } from "../core/errors.ts";
import type { Journal } from "../store/journal.ts";
import { type Cluster, joinCluster } from "../substrate/cluster.ts";
import {
  type DirectoryEntry,
  Directory,
  isLed,
  type LedEntry,
  STREAMS_PREFIX,
} from "../substrate/directory.ts";
import { HOSTS_PREFIX } from "../substrate/membership.ts";
import { hostOfNew } from "../substrate/placement.ts";
import { ClusterRegistry } from "../substrate/registry.ts";
import type { ClusterHost, ClusterPlace } from "../wire/congregation.ts";
import { VIA } from "../wire/headers.ts";
import type { StreamInfo } from "../wire/http.ts";
import { ClusterHome } from "./cluster-home.ts";
import { streamFolder } from "./record.ts";

/** Pauses between attempts to reach the cluster, ms. */
const RETRY_MS = 250;
const RETRY_MS_MAX = 5_000;
/** Time in which another host has to say how its streams stand, ms. */
const LIST_MS = 2_000;

/** Another host, which has what is asked for. */
export interface Neighbour {
  name: string;
  url: string;
}

export interface NeighboursParts {
  place: ClusterPlace;
  /** The streams of this host; and whether it has one, or is just making it. */
  own: () => string[];
  isOurs: (name: string) => boolean;
  /** What calls of other hosts carry, if they ask for it. */
  token?: string;
  journal: Journal;
}

export class Neighbours {
  private readonly parts: NeighboursParts;
  private readonly closing = new AbortController();
  private cluster: Cluster | undefined;
  private registry: ClusterRegistry | undefined;
  private directory: Directory | undefined;
  private hosts: ClusterHost[] = [];
  /** Hosts that did not say how their streams stand, when they were last asked. */
  private readonly silent = new Set<string>();
  /** Settles when names are given back that are not this host's any more. */
  private tidying: Promise<void> | undefined;
  private readonly listeners = new Set<() => void>();

  constructor(parts: NeighboursParts) {
    this.parts = parts;
  }

  /** Reaches the cluster, which may take as long as that is away; then says there which streams this host has. */
  async open(): Promise<void> {
    const { place, own, journal } = this.parts;
    const { signal } = this.closing;
    const backoff = new Backoff(RETRY_MS, RETRY_MS_MAX);
    for (let told = ""; !signal.aborted; await backoff.pause(signal)) {
      try {
        this.cluster ??= await joinCluster({ ...place, name: `hallelujah ${place.host}, streams` });
        this.registry ??= await ClusterRegistry.open(this.cluster, place.cluster);
        const directory = new Directory(this.registry, { host: place.host, folder: place.folder });
        // Those that the cluster keeps may be known there under another name of this host.
        for (const name of new Set([...own(), ...directory.own])) await this.claimOwn(directory, name);
        this.directory = directory;
        for (const prefix of [STREAMS_PREFIX, HOSTS_PREFIX])
          this.registry.watch(prefix, () => this.changed());
        this.tidy();
        this.changed();
        break;
      } catch (error) {
        const why = messageOf(error);
        if (why !== told) journal.warn(`the streams of other hosts are not known yet: ${why}`);
        told = why;
      }
    }
    if (signal.aborted) await this.leave();
  }

  private async claimOwn(directory: Directory, name: string): Promise<void> {
    try {
      await directory.claim(name);
    } catch (error) {
      const { code } = error as HallelujahError;
      if (code !== "stream-exists" && code !== "registry-damaged") throw error;
      this.parts.journal.warn({ stream: name }, `other hosts do not answer for it: ${messageOf(error)}`);
    }
  }

  /** The hosts have changed. */
  hear(hosts: ClusterHost[]): void {
    this.hosts = hosts;
    this.changed();
  }

  /** `listener` is called from now on whenever hosts have changed, or who leads which stream. */
  onChange(listener: () => void): void {
    this.listeners.add(listener);
  }

  private changed(): void {
    for (const listener of this.listeners) listener();
  }

  /** Whether another host is still there, and where it was. */
  isUp({ name, url }: Neighbour): boolean {
    return this.others.some((each) => each.name === name && each.url === url);
  }

  /** Where the others serve that are there. */
  get urls(): string[] {
    return this.others.map(({ url }) => url);
  }

  private get others(): ClusterHost[] {
    return this.hosts.filter(({ isSelf, state }) => !isSelf && state === "up");
  }

  get self(): string {
    return this.parts.place.host;
  }

  /** The other host that has a stream, if one has. Throws `host-lost` if that is not there. */
  elsewhere(name: string): Neighbour | undefined {
    const host = this.known(name).elsewhere(name);
    if (host === undefined) return undefined;
    const found = this.others.find((each) => each.name === host);
    if (found) return found;
    const message = `${name} is led by host ${host}, which is not there; it goes on when another host has taken it over, or that one is back (hallelujah hosts)`;
    throw new HallelujahError("host-lost", message);
  }

  /** Of a call that another host has passed on, as this one has the stream: throws `stream-moved` if it does not, or not any more. */
  refuseUnlessOwn(name: string): void {
    if (!this.directory || this.leads(name)) return;
    const entry = this.entryOf(name);
    const where = entry ? `host ${entry.host}` : "another host, or removed";
    throw new HallelujahError("stream-moved", `${name} is led by ${where} now; ask again`);
  }

  /** Throws `cluster-unreachable` while this host may know less than others of who has which stream. */
  refuseUnlessWhole(name: string): void {
    if (!this.registry || this.registry.isWhole) return;
    const message = `this host does not know yet what has changed in its cluster, and so cannot tell who has a stream ${name}; try again in a moment`;
    throw new HallelujahError("cluster-unreachable", message);
  }

  /** A host by its name; undefined for this one. Throws `host-lost`. */
  named(name: string): Neighbour | undefined {
    if (name === this.self) return undefined;
    const found = this.others.find((each) => each.name === name);
    if (found) return found;
    const message = `there is no host ${JSON.stringify(name.slice(0, 80))} in the cluster now; hallelujah hosts lists them`;
    throw new HallelujahError("host-lost", message);
  }

  /** Where a new stream should go; undefined for this host, also where it is not known what the others have. */
  get roomiest(): Neighbour | undefined {
    const { directory, self } = this;
    if (!directory) return undefined;
    const up = this.hosts.filter(({ state }) => state === "up");
    const placed = [...this.parts.own().map(() => self), ...directory.others.values()];
    const best = hostOfNew(up, placed, self);
    return this.others.find(({ name }) => name === best);
  }

  /** Makes a name this host's. Rejects with `stream-exists`, or with `cluster-unreachable` if nobody can tell whether it is another's. */
  async claim(name: string): Promise<void> {
    await this.known(name).claim(name);
  }

  /** Where new streams of the cluster are made, and others taken over; undefined until the cluster is reached. */
  get seat():
    | { cluster: Cluster; directory: Directory; place: ClusterPlace; hosts: ClusterHost[] }
    | undefined {
    const { cluster, directory, hosts } = this;
    return cluster && directory && { cluster, directory, place: this.parts.place, hosts };
  }

  /** Who leads a stream, as the cluster says. */
  entryOf(name: string): DirectoryEntry | undefined {
    return this.directory?.get(name);
  }

  /** Makes a name that of a new stream, which the cluster keeps, of which this host has the folder. Rejects as `claim` does, or as `ClusterHome.open`. */
  async newHome(
    name: string,
    data: string,
    more: Pick<DirectoryEntry, "from" | "isBound">,
  ): Promise<ClusterHome> {
    const entry = await this.known(name).create(name, more);
    try {
      return await this.homeOf(name, entry, data);
    } catch (error) {
      await this.release(name);
      throw error;
    }
  }

  /** The home of a stream that this host leads. */
  homeOf(name: string, entry: LedEntry, data: string): Promise<ClusterHome> {
    const { cluster, parts } = this;
    return ClusterHome.open({
      cluster: cluster!,
      place: parts.place,
      data,
      folder: streamFolder(data, name),
      name,
      entry,
    });
  }

  /** Whether this host leads a stream, as the cluster says. */
  leads(name: string): boolean {
    const entry = this.entryOf(name);
    return entry !== undefined && this.directory!.isOwn(entry);
  }

  private known(name: string): Directory {
    if (this.directory) return this.directory;
    const message = `this host does not reach its cluster yet, and so cannot tell whether another one has a stream ${name}; try again in a moment`;
    throw new HallelujahError("cluster-unreachable", message);
  }

  /** Gives a name back; as soon as the cluster answers, if it does not now. */
  async release(name: string): Promise<void> {
    try {
      await this.directory?.release(name);
    } catch (error) {
      const message = `other hosts still take it for this one's: ${messageOf(error)}`;
      this.parts.journal.warn({ stream: name }, message);
      this.tidy();
    }
  }

  /** Gives back names that are this host's in the cluster and of no stream of it: it was killed in between, or the cluster was away. */
  private tidy(): void {
    const { signal } = this.closing;
    this.tidying ??= (async () => {
      const backoff = new Backoff(RETRY_MS, RETRY_MS_MAX);
      const left = () => this.directory!.own.filter((name) => !this.parts.isOurs(name) && !this.isLed(name));
      while (!signal.aborted && left().length) {
        try {
          for (const name of left()) await this.directory!.release(name);
        } catch {
          await backoff.pause(signal);
        }
      }
    })().finally(() => {
      this.tidying = undefined;
    });
  }

  private isLed(name: string): boolean {
    const entry = this.entryOf(name);
    return entry !== undefined && isLed(entry);
  }

  /** How the streams of the other hosts stand that are there. */
  async streams(): Promise<StreamInfo[]> {
    const lists = await Promise.all(this.others.map((host) => this.listOf(host)));
    return lists.flat();
  }

  private async listOf({ name, url }: Neighbour): Promise<StreamInfo[]> {
    const { token, journal } = this.parts;
    const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
    try {
      const response = await fetch(`${url}/v1/streams`, {
        headers: { [VIA]: this.self, ...authorization },
        signal: AbortSignal.timeout(LIST_MS),
      });
      const streams = (await response.json()) as StreamInfo[];
      if (!response.ok || !Array.isArray(streams)) throw new Error(`it answers ${response.status}`);
      this.silent.delete(name);
      return streams.map((stream) => ({ ...stream, host: name }));
    } catch (error) {
      if (!this.silent.has(name))
        journal.warn(`host ${name} does not say how its streams stand: ${messageOf(error)}`);
      this.silent.add(name);
      return [];
    }
  }

  async close(): Promise<void> {
    this.closing.abort();
    await this.leave();
  }

  private async leave(): Promise<void> {
    this.registry?.close();
    await this.cluster?.close();
  }
}
