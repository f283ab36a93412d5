/** A host and its Jahs as users see them. */
import { hostname, totalmem } from "node:os";
import { sdkVersion } from "../core/version.ts";
import type { ClusterHost } from "../wire/congregation.ts";
import type { ClusterHostInfo, JahInfo } from "../wire/http.ts";
import type { Jah } from "./jahs.ts";

/** What a Jah told longer ago than this says nothing of what it does now, ms. */
const RECENT_MS = 1000;

/** One that was claimed has none yet. */
export function hasProcess({ state }: Jah): boolean {
  return state !== "claimed";
}

/** How a Jah stands; `now` as of `performance.now`. */
export function jahInfo(jah: Jah, now: number): JahInfo {
  const { work, workMs } = jah;
  const recent = work && now - jah.workAt < RECENT_MS ? work : undefined;
  return {
    jah: jah.id,
    pid: jah.pid,
    cpu: jah.cpu,
    stream: jah.owner.name,
    kind: jah.kind,
    state:
      jah.state === "working"
        ? recent
          ? "working"
          : "idle"
        : jah.state === "leaving"
          ? "leaving"
          : "starting",
    busy: recent ? Math.min(1, (recent.mapMs + recent.applyMs) / Math.max(1, workMs)) : 0,
    bytesPerSecond: recent ? Math.round((recent.mappedBytes * 1000) / Math.max(1, workMs)) : 0,
    memoryBytes: work?.residentBytes ?? 0,
  };
}

/** What users see of a host of the cluster. */
export function clusterHostInfo(host: ClusterHost): ClusterHostInfo {
  const { name, url, state, cpus, memoryBytes, version, epoch, isSelf } = host;
  return { name, url, state, cpus, memoryBytes, version, epoch, isSelf };
}

/** This host, where it is in no cluster. */
export function aloneInfo(url: string, cpus: number): ClusterHostInfo {
  return {
    name: hostname(),
    url,
    state: "up",
    cpus,
    memoryBytes: totalmem(),
    version: sdkVersion(),
    epoch: 1,
    isSelf: true,
  };
}
