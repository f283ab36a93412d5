/**
 * Machines of a cluster as network namespaces, each on a cable (a veth pair) to a bridge in a namespace of its own, where whoever drives the test is.
 * Nothing leads out of them.
 *
 *     a  eth0 ---- to-a  hub  to-b ---- eth0  b
 *                        to-c ---- eth0  c
 */
import { spawnSync } from "node:child_process";

export const NODES = ["a", "b", "c"] as const;
export type Node = (typeof NODES)[number];

const SUBNET = "10.77.0";
const HUB_ADDRESS = `${SUBNET}.254`;

/** What a bad cable does. A kernel without `netem` has a queue that runs full in place of the delay. */
const DELAY_MS = 20;
const JITTER_MS = 10;
const LOSS = 0.02;
const SLOW = ["tbf", "rate", "20mbit", "burst", "16kb", "latency", `${2 * DELAY_MS}ms`];
/** Drops packets at random, in classic BPF: A = random(); if (A >= LIMIT) accept (0), else drop (2). */
const LOSSY = `4,32 0 0 4294963256,53 0 1 ${Math.round(LOSS * 2 ** 32)},6 0 0 0,6 0 0 2,`;

export class Network {
  /** Of this process alone, so that several tests run side by side. */
  private readonly prefix: string;

  private constructor(prefix: string) {
    this.prefix = prefix;
  }

  /** Makes the namespaces; whoever makes them removes them. */
  static make(): Network {
    const network = new Network(`hj${process.pid}`);
    try {
      network.build();
      return network;
    } catch (error) {
      network.remove();
      throw error;
    }
  }

  /** Those that another process has made. */
  static of(prefix: string): Network {
    return new Network(prefix);
  }

  get name(): string {
    return this.prefix;
  }

  static addressOf(node: Node): string {
    return `${SUBNET}.${NODES.indexOf(node) + 1}`;
  }

  /** What runs a command in a namespace. */
  within(place: Node | "hub"): string[] {
    return ["ip", "netns", "exec", this.named(place)];
  }

  /** Pulls the cable out at the bridge. */
  cut(node: Node): void {
    this.inHub("link", "set", `to-${node}`, "down");
  }

  heal(node: Node): void {
    this.inHub("link", "set", `to-${node}`, "up");
  }

  /** Delays packets both ways, and loses some; how is what it answers. */
  impair(node: Node): string {
    const netem = ["netem", "delay", `${DELAY_MS}ms`, `${JITTER_MS}ms`, "loss", `${LOSS * 100}%`];
    const loss = `${LOSS * 100} % of packets lost`;
    if (this.tries(node, "qdisc", "add", "dev", "eth0", "root", ...netem)) {
      this.tc("hub", "qdisc", "add", "dev", `to-${node}`, "root", ...netem);
      return `${DELAY_MS} ms of delay each way, ${loss}`;
    }
    for (const [place, device] of [[node, "eth0"] as const, ["hub", `to-${node}`] as const]) {
      this.tc(place, "qdisc", "add", "dev", device, "root", ...SLOW);
      this.tc(place, "qdisc", "add", "dev", device, "clsact");
      this.tc(place, "filter", "add", "dev", device, "ingress", "bpf", "da", "bytecode", LOSSY);
    }
    return `${SLOW.slice(1).join(" ")}, ${loss}`;
  }

  mend(node: Node): void {
    for (const [place, device] of [[node, "eth0"] as const, ["hub", `to-${node}`] as const]) {
      this.tries(place, "qdisc", "del", "dev", device, "root");
      this.tries(place, "qdisc", "del", "dev", device, "clsact");
    }
  }

  /** Kills what is left in the namespaces, but for this process, and removes them. */
  remove(): void {
    for (const place of [...NODES, "hub"] as const) {
      const { stdout } = spawnSync("ip", ["netns", "pids", this.named(place)], { encoding: "utf8" });
      const pids = stdout.split("\n").filter(Boolean).map(Number);
      for (const pid of pids) if (pid !== process.pid) killed(pid);
      spawnSync("ip", ["netns", "del", this.named(place)]);
    }
  }

  private build(): void {
    for (const place of ["hub", ...NODES] as const) {
      ip("netns", "add", this.named(place));
      ip("-n", this.named(place), "link", "set", "lo", "up");
    }
    this.inHub("link", "add", "bridge", "type", "bridge");
    this.inHub("addr", "add", `${HUB_ADDRESS}/24`, "dev", "bridge");
    this.inHub("link", "set", "bridge", "up");
    for (const node of NODES) {
      const inNode = ["-n", this.named(node)];
      this.inHub(
        "link",
        "add",
        `to-${node}`,
        "type",
        "veth",
        "peer",
        "name",
        "eth0",
        "netns",
        this.named(node),
      );
      this.inHub("link", "set", `to-${node}`, "master", "bridge", "up");
      ip(...inNode, "addr", "add", `${Network.addressOf(node)}/24`, "dev", "eth0");
      ip(...inNode, "link", "set", "eth0", "up");
    }
  }

  private named(place: Node | "hub"): string {
    return `${this.prefix}-${place}`;
  }

  private inHub(...args: string[]): void {
    ip("-n", this.named("hub"), ...args);
  }

  private tc(place: Node | "hub", ...args: string[]): void {
    run("tc", ["-n", this.named(place), ...args]);
  }

  private tries(place: Node | "hub", ...args: string[]): boolean {
    return spawnSync("tc", ["-n", this.named(place), ...args]).status === 0;
  }
}

function ip(...args: string[]): void {
  run("ip", args);
}

function run(command: string, args: string[]): void {
  const { status, stderr } = spawnSync(command, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${stderr}`);
}

function killed(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has just ended.
  }
}
