/** What a store's thread loads to take the store's checkpoints to a cluster (`ReplicatedStore.replicate`). */
import type { Pinnable, Replica, ReplicaEvent } from "../store/replica.ts";
import { type Cluster, joinCluster } from "./cluster.ts";
import { ClusterValues } from "./cluster-values.ts";
import { type ReplicaTarget, valuesOf } from "./replica-target.ts";
import { Replicator } from "./replicator.ts";
import { Snapshots } from "./snapshots.ts";

/** Connections of this thread: one to each cluster, for all its stores. */
const connections = new Map<string, Promise<Cluster>>();

/** See `OpenReplica`. */
export function openReplica(store: Pinnable, given: unknown, tell: (event: ReplicaEvent) => void): Replica {
  const target = given as ReplicaTarget;
  let values: ClusterValues | undefined;
  let isStopped = false;
  return new Replicator({
    store,
    async claim() {
      values ??= await ClusterValues.open(await connectionTo(target), valuesOf(target));
      if (isStopped) values.close();
      const snapshots = await Snapshots.claim({ values, shard: target.shard }, target);
      await snapshots.collect();
      return snapshots;
    },
    up: async () => values?.up(),
    tell,
    stop() {
      isStopped = true;
      values?.close();
    },
  });
}

function connectionTo({ url, host, replicas }: ReplicaTarget): Promise<Cluster> {
  const found = connections.get(url) ?? joinCluster({ url, name: `${host} pages`, replicas });
  connections.set(url, found);
  found.catch(() => connections.delete(url));
  return found;
}
