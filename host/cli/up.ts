/** `hallelujah up`: this process becomes the Congregation of a host. */
import { lookup } from "node:dns/promises";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { HallelujahError, messageOf } from "../core/errors.ts";
import { startCongregation } from "../congregation/congregation.ts";
import { chooseCpus } from "../congregation/cpus.ts";

export interface UpFlags {
  listen: string;
  data?: string;
  cpus?: string;
  token?: string;
  pin: boolean;
  allowWasmVisits?: boolean;
}

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
