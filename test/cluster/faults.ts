/** What goes wrong in a cluster, and how it is put right again. */
import { Ballast } from "../flow/ballast.ts";
import type { TestCluster } from "./cluster.ts";
import type { Node } from "./namespaces.ts";

export interface Fault {
  name: string;
  /** What is done, for what is printed. */
  what: string;
  /** It happens to the machine whose nats-server leads, rather than to one that leads a stream. */
  isOfLeader?: boolean;
  /** It concerns all streams, not only those that the machine leads. */
  isOfAll?: boolean;
  /** Streams go on before it is put right. */
  goesOn: boolean;
  /** The shortest time for which it lasts, ms. */
  lastsMs: number;
  /** Does it; resolves with what puts it right. */
  strike(cluster: TestCluster, node: Node): Promise<() => void | Promise<void>>;
}

const hostKilled: Fault = {
  name: "kill",
  what: "kill -9 of all processes of host",
  goesOn: true,
  lastsMs: 0,
  async strike({ hosts }, node) {
    await hosts.get(node)!.crash();
    return () => hosts.get(node)!.start();
  },
};

const machineKilled: Fault = {
  name: "machine",
  what: "kill -9 of the leading nats-server and of all processes of host",
  isOfLeader: true,
  isOfAll: true,
  goesOn: true,
  lastsMs: 0,
  async strike({ hosts, servers }, node) {
    await Promise.all([servers.kill(node), hosts.get(node)!.crash()]);
    return () => {
      servers.start(node);
      return hosts.get(node)!.start();
    };
  },
};

const serverKilled: Fault = {
  name: "nats",
  what: "kill -9 of the leading nats-server, at",
  isOfLeader: true,
  isOfAll: true,
  goesOn: true,
  lastsMs: 0,
  async strike({ servers }, node) {
    await servers.kill(node);
    return () => servers.start(node);
  },
};

const linkCut: Fault = {
  name: "cut",
  what: "cable out of",
  goesOn: true,
  lastsMs: 5_000,
  async strike({ network }, node) {
    network.cut(node);
    return () => network.heal(node);
  },
};

const linkBad: Fault = {
  name: "slow",
  what: "bad cable at",
  isOfAll: true,
  goesOn: true,
  lastsMs: 10_000,
  async strike({ network }, node) {
    network.impair(node);
    return () => network.mend(node);
  },
};

const hostPaused: Fault = {
  name: "pause",
  what: "SIGSTOP to all processes of host",
  goesOn: true,
  lastsMs: 5_000,
  async strike({ hosts }, node) {
    return hosts.get(node)!.freeze();
  },
};

const diskFull: Fault = {
  name: "full",
  what: "disk full under host",
  goesOn: false,
  lastsMs: 5_000,
  async strike({ hosts }, node) {
    const ballast = new Ballast(hosts.get(node)!.data);
    return () => ballast.remove();
  },
};

export const FAULTS = [hostKilled, linkCut, serverKilled, hostPaused, linkBad, diskFull, machineKilled];
/** Of the short form. */
export const SHORT = [hostKilled];
