/**
 * The other hosts of the cluster, as far as this one's clients are concerned: any host answers for all streams, and those that are another's it
 * asks that one for. A host that cannot reach its cluster goes on with its own streams.
 */
import { Backoff } from "../core/backoff.ts";
import { HallelujahError, messageOf } from "../core/errors.ts";
import type { Journal } from "../store/journal.ts";
import { type Cluster, joinCluster } from "../substrate/cluster.ts";
import { Directory } from "../substrate/directory.ts";
import { hostOfNew } from "../substrate/placement.ts";
import { ClusterRegistry } from "../substrate/registry.ts";
import type { ClusterHost, ClusterPlace } from "../wire/congregation.ts";
import { VIA } from "../wire/headers.ts";
import type { StreamInfo } from "../wire/http.ts";

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
  /** The streams of this host. */
  own: () => string[];
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
  private changed = () => {};

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
        for (const name of own()) await this.claimOwn(directory, name);
        this.directory = directory;
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
      if ((error as HallelujahError).code !== "stream-exists") throw error;
      const message = `another host has a stream of this name: other hosts answer with that one's; ${messageOf(error)}`;
      this.parts.journal.warn({ stream: name }, message);
    }
  }

  /** The hosts have changed. */
  hear(hosts: ClusterHost[]): void {
    this.hosts = hosts;
    this.changed();
  }

  /** `listener` is called from now on whenever the hosts have changed. */
  onChange(listener: () => void): void {
    this.changed = listener;
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
    const host = this.directory?.elsewhere(name);
    if (host === undefined) return undefined;
    const found = this.hosts.find((each) => each.name === host && each.state === "up");
    if (found) return found;
    const message = `${name} is a stream of host ${host}, which is not there; it goes on when that is (hallelujah hosts)`;
    throw new HallelujahError("host-lost", message);
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
    if (!this.directory) {
      const message = `this host cannot reach its cluster yet, and so not tell whether another one has a stream ${name}; try again in a moment`;
      throw new HallelujahError("cluster-unreachable", message);
    }
    await this.directory.claim(name);
  }

  /** Gives a name back. It is given back later if the cluster does not answer: when this host starts again. */
  async release(name: string): Promise<void> {
    try {
      await this.directory?.release(name);
    } catch (error) {
      const message = `other hosts still take it for this one's: ${messageOf(error)}`;
      this.parts.journal.warn({ stream: name }, message);
    }
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
      return streams.map((stream) => ({ ...stream, host: name }));
    } catch (error) {
      journal.warn(`host ${name} does not say how its streams stand: ${messageOf(error)}`);
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
