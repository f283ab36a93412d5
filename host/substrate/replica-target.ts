/** Where a shard's checkpoints are taken to. */
import { join } from "node:path";
import { packageRoot } from "../core/package-root.ts";
import type { ValuesOptions } from "./cluster-values.ts";

/** The module that does it, for `ReplicatedStore.replicate`. */
export const REPLICA: string = join(packageRoot, "dist", "substrate", "replica.js");

/** Whose snapshots they are. */
export interface StateNames {
  /** The cluster's name. */
  cluster: string;
  stream: string;
  /** Of this stream alone: one that is removed and made again has another. */
  identity: string;
}

export interface ReplicaTarget extends StateNames {
  /** Of the servers, with what they ask for. */
  url: string;
  replicas: number;
  /** The name of the shard's folder. */
  shard: string;
  host: string;
  /** Of the leadership of the stream. */
  epoch: number;
}

/** The home of all snapshots of a stream. */
export function valuesOf({ cluster, stream, identity }: StateNames): ValuesOptions {
  return { name: `${cluster}-state-${stream}-${identity}`, what: `state of ${stream} in ${cluster}` };
}
