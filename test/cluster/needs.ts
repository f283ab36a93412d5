/** What a test of a cluster needs of the machine. */
import { spawnSync } from "node:child_process";
import { hasNatsServer } from "../nats.ts";

/** What is missing; empty if nothing is. */
export function missing(): string[] {
  if (process.platform !== "linux") return ["Linux"];
  const isThere = (command: string, ...args: string[]) => spawnSync(command, args).status === 0;
  const needs: [string, boolean][] = [
    ["to be root (network namespaces are made)", process.getuid!() === 0],
    ["ip and tc (iproute2)", isThere("ip", "-V") && isThere("tc", "-V")],
    ["nats-server", hasNatsServer],
  ];
  const lacks = needs.filter(([, has]) => !has).map(([what]) => what);
  return lacks.length || canMakeNamespaces() ? lacks : ["a kernel that lets it make network namespaces"];
}

function canMakeNamespaces(): boolean {
  return spawnSync("unshare", ["-nm", "true"]).status === 0;
}
