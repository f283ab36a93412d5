/** `hallelujah up`: this process becomes the Congregation of a host. */
import { lookup } from "node:dns/promises";
import { homedir, hostname } from "node:os";
import { join, resolve } from "node:path";
import { HallelujahError, messageOf } from "../core/errors.ts";
import { startCongregation } from "../congregation/congregation.ts";
import { chooseCpus } from "../congregation/cpus.ts";
import { type ClusterFlags, LOST_MS_MIN } from "../congregation/seat.ts";

export interface UpFlags {
  listen: string;
  data?: string;
  cpus?: string;
  token?: string;
  pin: boolean;
  allowWasmVisits?: boolean;
  cluster?: string;
  name?: string;
  clusterName: string;
  replicas?: number;
  /** ms. */
  lostAfter?: number;
}

const NAME_BYTES_MAX = 64;
const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|::1)$/;

export async function upCommand(flags: UpFlags): Promise<void> {
  const listen = parseListen(flags.listen);
  if (!LOOPBACK.test(listen.host)) await known(listen.host);
  const token = flags.token ?? process.env.HALLELUJAH_TOKEN;
  if (!LOOPBACK.test(listen.host) && !token) {
    const message = `${listen.host} can be reached from other machines, so callers need a token; set one:\n  HALLELUJAH_TOKEN=$(openssl rand -hex 16) hallelujah up --listen ${flags.listen}`;
    throw new HallelujahError("token-missing", message);
  }
  if (token !== undefined && !/^[\x21-\x7e]{8,512}$/.test(token))
    throw new HallelujahError("usage", "a token has 8 to 512 visible ASCII characters");
  const { cpus, warning } = chooseCpus(flags.cpus);
  if (warning) process.stderr.write(`hallelujah: ${warning}\n`);
  const data = resolve(flags.data ?? defaultData());
  const signals = onSignals();
  const host = await startCongregation({
    listen,
    data,
    cpus,
    pin: flags.pin && !warning,
    wasmVisits: flags.allowWasmVisits ?? false,
    ...(token === undefined ? {} : { token }),
    ...clusterOf(flags),
  });
  const count = `${cpus.length} ${cpus.length === 1 ? "CPU" : "CPUs"}`;
  process.stdout.write(`Hallelujah is up at ${host.url} (${count}, data in ${data})\n`);
  try {
    await Promise.race([signals.first, host.failed]);
    process.stdout.write("stopping\n");
    await Promise.race([host.stop(), signals.second]);
  } catch (error) {
    await host.stop();
    throw error;
  }
  process.exit(signals.interrupts > 1 ? 130 : 0);
}

/** The cluster that the flags name. Throws `usage`. */
function clusterOf(flags: UpFlags): { cluster?: ClusterFlags } {
  const { cluster: url = process.env.HALLELUJAH_CLUSTER, name = hostname(), clusterName, lostAfter } = flags;
  const { replicas = 1 } = flags;
  if (!url) {
    if (flags.name === undefined && flags.replicas === undefined && lostAfter === undefined) return {};
    throw new HallelujahError(
      "usage",
      "--name, --replicas and --lost-after are of a cluster; name it with --cluster",
    );
  }
  const refuse = (why: string): never => {
    throw new HallelujahError("usage", why);
  };
  if (!/^[\w-]{1,64}$/.test(clusterName))
    refuse("the name of a cluster has letters, digits, - and _, 64 at most");
  if (!name || Buffer.byteLength(name) > NAME_BYTES_MAX)
    refuse(`the name of a host has 1 to ${NAME_BYTES_MAX} bytes`);
  if (replicas !== 1 && replicas !== 3) refuse("--replicas is 1 or 3");
  if (lostAfter !== undefined && lostAfter < LOST_MS_MIN)
    refuse(`--lost-after is ${LOST_MS_MIN / 1000} seconds at least`);
  const lostMs = lostAfter === undefined ? {} : { lostMs: lostAfter };
  return { cluster: { url, cluster: clusterName, name, replicas, ...lostMs } };
}

function defaultData(): string {
  return join(process.env.XDG_STATE_HOME ?? join(homedir(), ".local", "state"), "hallelujah");
}

/** Rejects if nothing has this name. */
async function known(name: string): Promise<void> {
  try {
    await lookup(name);
  } catch (cause) {
    const message = `the name ${name} is not known here: ${messageOf(cause)}`;
    throw new HallelujahError("listen-failed", message, { cause });
  }
}

/** `127.0.0.1:7747`, `[::1]:7747`, `:7747`. */
function parseListen(text: string): { host: string; port: number } {
  const found = /^(?:\[([0-9a-f:]+)\]|([^:[\]]*)):(\d{1,5})$/i.exec(text);
  const port = Number(found?.[3]);
  if (!found || port > 65_535)
    throw new HallelujahError("usage", `--listen takes host:port, such as 127.0.0.1:7747; not ${text}`);
  return { host: found[1] ?? (found[2] || "127.0.0.1"), port };
}

/** The first signal asks for an orderly end, a second one for an end at once. */
function onSignals(): { first: Promise<void>; second: Promise<void>; interrupts: number } {
  const state = { interrupts: 0 } as ReturnType<typeof onSignals>;
  let count = 0;
  let first = () => {};
  let second = () => {};
  state.first = new Promise((done) => {
    first = done;
  });
  state.second = new Promise((done) => {
    second = done;
  });
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(name, () => {
      if (name === "SIGINT") state.interrupts++;
      if (++count === 1) first();
      else second();
    });
  }
  return state;
}
