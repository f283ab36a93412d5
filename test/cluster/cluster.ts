/** A cluster of real hosts and real nats-servers, one of each on every machine of a network. */
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "../../host/client/live.ts";
import { SoakHost } from "../soak/host.ts";
import { Network, type Node, NODES } from "./namespaces.ts";
import { Servers } from "./servers.ts";

const PORT = 7747;
/** More than there are: streams must not wait for each other's turns when one host has them all. */
const CPUS = 8;
/** Of the data folder of a host, which is a disk of its own. */
const DISK_MIB = 512;
/** Time in which all hosts must know of each other again, ms. */
const TOGETHER_MS = 60_000;
const ASK_MS = 2_000;
/** Lines that are shown. */
const COMPLAINTS = 60;

export class TestCluster {
  readonly network: Network;
  readonly servers: Servers;
  readonly hosts: Map<Node, SoakHost>;

  /** Needs a mount namespace of its own; `onEnd` hears of a host that ended by itself. */
  constructor(network: Network, folder: string, onEnd: (error: Error) => void) {
    this.network = network;
    this.servers = new Servers(network, folder);
    this.hosts = new Map(NODES.map((node) => [node, this.hostOf(node, join(folder, node), onEnd)]));
  }

  private hostOf(node: Node, folder: string, onEnd: (error: Error) => void): SoakHost {
    const { network, servers } = this;
    const listen = ["--listen", `${Network.addressOf(node)}:${PORT}`];
    const args = [...listen, "--name", node, "--cluster", servers.url, "--replicas", `${NODES.length}`];
    const told = (error: Error) => onEnd(new Error(`host ${node}: ${error.message}`));
    return new SoakHost(folder, CPUS, told, { prefix: network.within(node), args });
  }

  get urls(): string[] {
    return NODES.map(urlOf);
  }

  async start(): Promise<void> {
    for (const node of NODES) this.servers.start(node);
    await this.servers.together();
    for (const { data } of this.hosts.values()) this.mount(data);
    // The first one makes what the cluster is.
    for (const host of this.hosts.values()) await host.start();
    await this.together();
  }

  private mount(folder: string): void {
    mkdirSync(folder, { recursive: true });
    const { status, stderr } = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${DISK_MIB}m`, "none", folder]);
    if (status !== 0) throw new Error(`no disk can be mounted: ${stderr}`);
  }

  /** Resolves when the nats-servers are together, and each host knows of all. */
  async together(): Promise<void> {
    await this.servers.together();
    for (const end = performance.now() + TOGETHER_MS; ; await sleep(50)) {
      const known = await Promise.all(NODES.map(upAt));
      if (known.every((count) => count === NODES.length)) return;
      if (performance.now() > end)
        throw new Error(
          `within ${TOGETHER_MS / 1000} s the hosts did not come together: of ${NODES.length}, ${NODES.map((node, i) => `${node} knows ${known[i]}`).join(", ")}`,
        );
    }
  }

  async stop(): Promise<void> {
    for (const host of this.hosts.values()) await host.stop();
  }

  /** Kills what is left. */
  end(): void {
    for (const host of this.hosts.values()) host.end();
    this.servers.end();
  }

  /** Copies the data of hosts to where it stays. */
  keep(): void {
    for (const { data } of this.hosts.values())
      cpSync(data, `${data}-left`, { recursive: true, filter: (path) => !path.endsWith("/ballast") });
  }

  /** The last that hosts complained of, for when something is wrong. */
  complaints(): string[] {
    return [...this.hosts]
      .flatMap(([node, { data }]) => complaintsIn(join(data, "logs", "host.ndjson"), node))
      .sort()
      .slice(-COMPLAINTS);
  }
}

export const urlOf = (node: Node) => `http://${Network.addressOf(node)}:${PORT}`;

/** How many hosts are up, as one of them says; 0 if it does not answer. */
async function upAt(node: Node): Promise<number> {
  try {
    const hosts = await connect({ url: urlOf(node) }).hosts({ signal: AbortSignal.timeout(ASK_MS) });
    return hosts.filter(({ state }) => state === "up").length;
  } catch {
    return 0;
  }
}

/** What a journal has of warnings and errors, the time first. */
function complaintsIn(path: string, node: Node): string[] {
  const lines = existsSync(path) ? readFileSync(path, "utf8").split("\n").filter(Boolean) : [];
  return lines.flatMap((line) => {
    const { level, time, stream = "", msg } = JSON.parse(line) as Record<string, string>;
    return level === "info" ? [] : [`${time} host ${node}: ${stream} ${msg}`];
  });
}
