/** What the hosts of a cluster send and hear, by how many there are: while nothing happens, and when one of them is lost. */
import { type LedEntry, STREAMS_PREFIX } from "../../../host/substrate/directory.ts";
import { random } from "../../run.ts";
import { Broken } from "../rules.ts";
import { BEATS, BUCKET, Host } from "./host.ts";
import { Network } from "./network.ts";
import { replaceBuckets, Servers } from "./servers.ts";

const LOST_MS = 2_000;
/** Time in which hosts send and hear what is counted, ms. */
const COUNTED_MS = 2_000;
const PATIENCE_MS = 60_000;
const CPUS = 64;
/** Hosts that have streams, of which one is lost. */
const LEADERS = 10;

export interface Traffic {
  /** Of each host a second, while nothing happens: beats, reads of those of others, other requests, and changes that it hears of. */
  beats: number;
  reads: number;
  others: number;
  heard: number;
  /** What each host heard of when one was lost, in all. */
  heardOfLoss: number;
  /** Streams that the lost host had, and those that have another host since. */
  lost: number;
  moved: number;
  /** From its death until others have all of them open, virtual ms. */
  ms: number;
}

/** The first hosts have as many streams each, the others have none. */
export async function trafficOf(count: number, streams: number): Promise<Traffic> {
  const network = new Network(random(count));
  const servers = new Servers();
  const restores = [network.rule(), replaceBuckets(), shareWhatIsRead()];
  let join = () => {};
  const joined = new Promise<void>((done) => {
    join = done;
  });
  const parts = { network, servers, cpus: CPUS, lostMs: LOST_MS, note: () => {}, opened: () => {}, joined };
  const hosts = Array.from({ length: count }, (_, i) => new Host({ ...parts, name: `host-${i}` }));
  const until = async (isSo: () => boolean) => {
    const end = network.clock.now + PATIENCE_MS;
    let next = 0;
    await network.clock.run(() => {
      if (network.clock.now < next) return false;
      next = network.clock.now + 20;
      if (network.clock.now > end) throw new Broken(`${count} hosts do not come to it`);
      return isSo();
    });
  };
  const openOn = (all: readonly Host[]) => all.reduce((sum, host) => sum + host.streams.size, 0);
  const entries = new Map<string, LedEntry>();
  for (const [i, { name: host, folder }] of hosts.slice(0, LEADERS).entries())
    for (let n = 0; n < streams; n++)
      entries.set(`${STREAMS_PREFIX}stream-${i}-${n}`, { host, folder, epoch: 1, identity: `${n}` });
  servers.bucket(BUCKET).fill(entries);
  try {
    for (const host of hosts) network.clock.later(network.chance() * LOST_MS, () => host.start());
    await until(() => hosts.every(({ membership }) => membership));
    join();
    await until(() => hosts.every(({ isUp }) => isUp));
    await until(() => openOn(hosts) === entries.size && hosts.every(({ process }) => !process!.unheard));
    const quiet = await counted(network, servers, hosts);
    const heard = () => hosts.reduce((sum, { process }) => sum + (process?.heard ?? 0), 0);
    const [lost, ...left] = hosts;
    const killedAt = network.clock.now;
    const heardBefore = heard() - lost.process!.heard;
    let moved = 0;
    servers.bucket(BUCKET).onWrite = (key) => {
      if (key.startsWith(STREAMS_PREFIX)) moved++;
    };
    lost.kill();
    await until(() => openOn(left) === entries.size);
    const ms = network.clock.now - killedAt;
    await until(() => left.every(({ process }) => !process!.unheard));
    return { ...quiet, heardOfLoss: (heard() - heardBefore) / left.length, lost: streams, moved, ms };
  } finally {
    for (const restore of restores) restore();
  }
}

/** Messages of each host a second. */
async function counted(
  network: Network,
  servers: Servers,
  hosts: readonly Host[],
): Promise<Pick<Traffic, "beats" | "reads" | "others" | "heard">> {
  const bucket = servers.bucket(BEATS);
  let [beats, reads] = [0, 0];
  bucket.onWrite = () => void beats++;
  bucket.onRead = () => void reads++;
  const sum = (what: "requests" | "heard") => hosts.reduce((all, { process }) => all + process![what], 0);
  const before = { requests: sum("requests"), heard: sum("heard") };
  const end = network.clock.now + COUNTED_MS;
  await network.clock.run(() => network.clock.now >= end);
  const each = (messages: number) => messages / hosts.length / (COUNTED_MS / 1000);
  return {
    beats: each(beats),
    reads: each(reads),
    others: each(Math.max(0, sum("requests") - before.requests - beats - reads)),
    heard: each(sum("heard") - before.heard),
  };
}

/** Has a thousand registries of one process read each value once, as there would be too many else; answers what undoes that. */
function shareWhatIsRead(): () => void {
  const { parse } = JSON;
  const known = new Map<string, unknown>();
  JSON.parse = (text: string) => {
    if (!known.has(text)) known.set(text, parse(text));
    return known.get(text);
  };
  return () => {
    JSON.parse = parse;
  };
}
