/** The nats-servers of a cluster, one on each of its machines. */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Network, type Node, NODES } from "./namespaces.ts";

const PORT = 4222;
const ROUTES_PORT = 6222;
const MONITOR_PORT = 8222;
const START_MS = 30_000;
/** One that is cut off does not answer at all. */
const ASK_MS = 500;

interface JetStreamState {
  meta_cluster?: { leader?: string; replicas?: { name: string; current?: boolean; offline?: boolean }[] };
}

export class Servers {
  private readonly network: Network;
  private readonly folder: string;
  private readonly processes = new Map<Node, ChildProcess>();

  constructor(network: Network, folder: string) {
    this.network = network;
    this.folder = folder;
  }

  /** All of them, as hosts are told. */
  get url(): string {
    return NODES.map((node) => `nats://${Network.addressOf(node)}:${PORT}`).join(",");
  }

  start(node: Node): void {
    const [command, ...prefix] = this.network.within(node);
    const log = openSync(join(this.folder, `nats-${node}.log`), "a");
    const settings = join(this.folder, `nats-${node}.conf`);
    writeFileSync(settings, this.settingsOf(node));
    const child = spawn(command, [...prefix, "nats-server", "-c", settings], { stdio: ["ignore", log, log] });
    closeSync(log);
    this.processes.set(node, child);
  }

  private settingsOf(node: Node): string {
    const address = Network.addressOf(node);
    const routes = NODES.map((each) => `nats://${Network.addressOf(each)}:${ROUTES_PORT}`);
    return `server_name: ${node}
listen: "${address}:${PORT}"
http: "${address}:${MONITOR_PORT}"
jetstream { store_dir: "${join(this.folder, `nats-${node}`)}" }
cluster { name: test, listen: "${address}:${ROUTES_PORT}", routes: [${routes.join(", ")}] }
# A server that is cut off is noticed in seconds, and not in minutes.
ping_interval: 1s
ping_max: 2
write_deadline: 2s
`;
  }

  /** Ends one, as a crash does. */
  async kill(node: Node): Promise<void> {
    const child = this.processes.get(node)!;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise<void>((done) => child.once("exit", () => done()));
    child.kill("SIGKILL");
    await gone;
  }

  /** The one that leads, as most of them say; undefined if none does. */
  async leader(): Promise<Node | undefined> {
    const said = await Promise.all(NODES.map(async (node) => (await stateOf(node))?.meta_cluster?.leader));
    return NODES.find((node) => said.filter((each) => each === node).length * 2 > NODES.length);
  }

  /** Resolves when one leads and all others follow it. */
  async together(): Promise<void> {
    for (const end = performance.now() + START_MS; !(await this.isTogether()); await sleep(100))
      if (performance.now() > end)
        throw new Error(`the nats-servers did not come together within ${START_MS / 1000} s`);
  }

  private async isTogether(): Promise<boolean> {
    const leader = await this.leader();
    const replicas = leader && (await stateOf(leader))?.meta_cluster?.replicas;
    return replicas?.filter(({ current, offline }) => current && !offline).length === NODES.length - 1;
  }

  end(): void {
    for (const child of this.processes.values()) child.kill("SIGKILL");
  }
}

async function stateOf(node: Node): Promise<JetStreamState | undefined> {
  try {
    const url = `http://${Network.addressOf(node)}:${MONITOR_PORT}/jsz`;
    return (await (await fetch(url, { signal: AbortSignal.timeout(ASK_MS) })).json()) as JetStreamState;
  } catch {
    return undefined;
  }
}
