/** The place of a host in its cluster: its connection, its name, and what it knows of the other hosts. */
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { totalmem } from "node:os";
import { join } from "node:path";
import { messageOf } from "../core/errors.ts";
import { replaceFile } from "../store/durable.ts";
import { type Cluster, joinCluster } from "../substrate/cluster.ts";
import { LOST_MS_MIN, Membership } from "../substrate/membership.ts";
import { ClusterRegistry } from "../substrate/registry.ts";
import { sdkVersion } from "../core/version.ts";
import type { ClusterHost, ClusterPlace } from "../wire/congregation.ts";

export { LOST_MS_MIN };

export interface ClusterFlags {
  /** Servers, `nats://HOST:PORT`, joined by commas. */
  url: string;
  /** Of the cluster: several may share servers. */
  cluster: string;
  /** Of this host. */
  name: string;
  replicas: number;
  lostMs?: number;
}

export interface SeatParts {
  url: string;
  cpus: number;
  /** This host is in the cluster. */
  onSeated: () => void;
  /** Nobody can have taken this host for lost before `until`, by the machine's clock, ms. */
  onHeld: (until: number) => void;
  /** The hosts have changed. */
  onHosts: (hosts: ClusterHost[]) => void;
  /** This process must end: another has its name. */
  onOutdated: (why: string) => void;
  note: (level: "info" | "warn", message: string) => void;
}

export class Seat {
  private readonly cluster: Cluster;
  private readonly registry: ClusterRegistry;
  private readonly membership: Membership;
  private hasLeft = false;

  private constructor(cluster: Cluster, registry: ClusterRegistry, membership: Membership) {
    this.cluster = cluster;
    this.registry = registry;
    this.membership = membership;
  }

  /** Rejects with what `joinCluster`, `ClusterRegistry.open` and `Membership.join` do. */
  static async take(
    { lostMs }: ClusterFlags,
    place: ClusterPlace,
    { url, cpus, onSeated, onHeld, onHosts, onOutdated, note }: SeatParts,
  ): Promise<Seat> {
    const { host: name, cluster: prefix, replicas, folder } = place;
    const cluster = await joinCluster({ url: place.url, name: `hallelujah ${name}`, replicas });
    try {
      const registry = await ClusterRegistry.open(cluster, prefix);
      const membership = await Membership.join(
        {
          cluster,
          registry,
          bucket: `${prefix}-beats`,
          onHeld,
          onOutdated,
          note,
          ...(lostMs === undefined ? {} : { lostMs }),
        },
        { name, url, cpus, memoryBytes: totalmem(), version: sdkVersion(), folder },
      );
      const tell = () => onHosts(hostsOf(membership, name));
      registry.watch("hosts/", tell);
      const seat = new Seat(cluster, registry, membership);
      void cluster.connection.closed().then((error) => {
        if (!seat.hasLeft) onOutdated(`its connection has ended: ${messageOf(error ?? "closed")}`);
      });
      tell();
      onSeated();
      note("info", `host ${name} is in the cluster at ${cluster.url}, epoch ${membership.epoch}`);
      return seat;
    } catch (error) {
      await cluster.close();
      throw error;
    }
  }

  /** Gives the name back, if the cluster answers. */
  async leave(): Promise<void> {
    this.hasLeft = true;
    try {
      await this.membership.leave();
    } finally {
      this.registry.close();
      await this.cluster.close();
    }
  }
}

function hostsOf({ hosts }: Membership, self: string): ClusterHost[] {
  return hosts.map(({ name, url, cpus, memoryBytes, version, folder, epoch, state }) => ({
    name,
    url,
    state: state === "up" ? "up" : "lost",
    cpus,
    memoryBytes,
    version,
    folder,
    epoch,
    isSelf: name === self,
  }));
}

/** The place that a host with this data folder is to have. */
export async function placeOf(
  { url, cluster, name, replicas }: ClusterFlags,
  data: string,
): Promise<ClusterPlace> {
  return { url, cluster, replicas, host: name, folder: await idOf(data) };
}

/** What tells a data folder from all others, made when it first joins a cluster. */
async function idOf(data: string): Promise<string> {
  const path = join(data, "host-id");
  if (!existsSync(path)) await replaceFile(path, `${randomBytes(16).toString("hex")}\n`);
  return readFileSync(path, "utf8").trim();
}
