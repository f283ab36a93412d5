/**
 * What the Congregation says to the processes that it forks, and they to it, over the channel that comes with the fork.
 */

/** The only message to the process of a Jah: what makes it one. Until then it is a spare, which waits. */
export interface JahBirth {
  /** Number of the Jah: unique among all Jahs that this Congregation ever starts. */
  jah: number;
  /** Port on loopback where the Hallelu takes in its Jahs. */
  port: number;
  /** Hexadecimal; what every call between processes of the host carries. */
  secret: string;
}

/** A persistent Jah holds a shard; a transient one holds nothing and may be taken back at any time. */
export type JahKind = "persistent" | "transient";

/** How a stream stands, as the ledger needs it. */
export interface StreamLoad {
  stream: string;
  min: number;
  max: number;
  /** Whether it has work: backlog, or records that came within the last second. */
  busy: boolean;
  /** Seconds that its backlog takes at its present rate; Infinity if nothing is done of it. */
  backlogSeconds: number;
  /** Its Jahs, and since when each has had nothing to do: ms, 0 if it works. */
  jahs: { jah: number; kind: JahKind; idleMs: number }[];
}

/** A host of the cluster. */
export interface ClusterHost {
  name: string;
  /** Where it serves its API. */
  url: string;
  state: "up" | "lost";
  cpus: number;
  memoryBytes: number;
  /** Of Hallelujah. */
  version: string;
  /** Of its data folder: a host that starts again is the same. Not shown to users. */
  folder: string;
  /** Grows with each process that takes the name. */
  epoch: number;
  isSelf: boolean;
}

/** The place of a host in its cluster. */
export interface ClusterPlace {
  /** Servers, `nats://HOST:PORT`, joined by commas. */
  url: string;
  /** Name of the cluster. */
  cluster: string;
  replicas: number;
  /** Name of this host. */
  host: string;
  /** Of its data folder. */
  folder: string;
}

export type ToHallelu =
  | {
      type: "start";
      /** Host name or address, and port (0: any). */
      listen: { host: string; port: number };
      data: string;
      /** CPUs that Jahs may have, by their numbers. */
      cpus: number[];
      token?: string;
      /** Whether visiting kernels may come as Wasm. */
      wasmVisits?: boolean;
      secret: string;
      /** Its place in the cluster that it is about to join. */
      cluster?: ClusterPlace;
    }
  /** The claim was met: the process is started and will call. */
  | { type: "granted"; jah: number; cpu: number; pid: number }
  /** There is no CPU for it, and none will be given back for it. Only claims that do not wait are refused. */
  | { type: "refused"; jah: number }
  /** The process ended, whatever the reason. `complaint` is the end of its standard error. */
  | { type: "exited"; jah: number; code: number | null; signal: string | null; complaint: string }
  /** The CPU is needed elsewhere: to be given back as soon as the work allows, by parking or by leaving. */
  | { type: "reclaim"; jah: number }
  /** The hosts of the cluster; never said where there is none. */
  | { type: "hosts"; hosts: ClusterHost[] }
  /** Nobody can have taken this host for lost before `until`, by the machine's clock, ms; said at each beat. */
  | { type: "held"; until: number }
  /** This host is in its cluster, under its name. */
  | { type: "seated" }
  | { type: "stop"; graceMs: number };

export type FromHallelu =
  /** Takes in Jahs at `jahPort`. */
  | { type: "open"; jahPort: number }
  /** Serves its API at `url`. */
  | { type: "listening"; url: string }
  /** Knows which streams the other hosts of the cluster have, and they which are here. */
  | { type: "joined" }
  /** Wants a CPU and a process for a Jah. A claim that waits is met in turn, others are refused at once. */
  | { type: "claim"; jah: number; stream: string; kind: JahKind; waits: boolean }
  /** The claim is no longer wanted. */
  | { type: "withdraw"; jah: number }
  /** The Jah was told to end; the Congregation sees to it that it does. */
  | { type: "end"; jah: number; graceMs: number }
  /** Five times a second while any stream has a Jah or work, and whenever that or a capacity changes. */
  | { type: "loads"; streams: StreamLoad[] }
  /** Cannot serve: the Congregation ends with this sentence. */
  | { type: "failed"; code: string; message: string }
  /** Everything is written; the process ends now. */
  | { type: "stopped" };
