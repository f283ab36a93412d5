/** What is changed under load: capacities and shards, and kernels, which are swapped, go back, stop, and take in all records again. */
import { readFileSync } from "node:fs";
import type { Hallelujah, StreamChange, VersionInfo } from "../../host/client/live.ts";
import { buildKernel } from "../../host/compiler/cache.ts";
import type { HallelujahError } from "../../host/core/errors.ts";
import { kernelOf } from "../run.ts";
import { fileOf, makeOfFile } from "./handled.ts";
import { broken, LATE } from "./kernels.ts";
import { patiently } from "./loader.ts";
import type { Run } from "./run.ts";
import { type StreamSpec, STREAMS } from "./streams.ts";

/** Longest pause between two changes, ms. */
const CHANGE_MS = 4_000;
/** Longest time for which the kernel that stops late is left to do so, and for which a reprocess goes on that is to be cancelled, ms. */
const LATE_MS = 2_000;
const CANCEL_MS = 500;
/** Kernels of a stream that are told apart: with two, what was there before a reprocess might be taken for what it made of it. */
const MAKES = 3;
/** How far back a stream goes, versions: the host forgets older ones than that. */
const BACK_VERSIONS = 20;

const CAPACITIES: StreamChange[] = [
  { max: 1 },
  { max: 2 },
  { shards: 2 },
  { shards: 1 },
  { shards: 0 },
  { max: 0 },
  { paused: true },
];

/** What cannot be for now: a reprocess is under way, or the kernel is on trial. */
const PASSES = new Set(["reprocess-running", "stream-on-trial"]);

type Wish = "swap" | "back" | "bad" | "late" | "reprocess" | "cancel";

/** A module, and the name of its file, which the history tells. */
interface Make {
  kernel: Uint8Array;
  file: string;
}

/** The kernels of one stream: those that are swapped, of which the first is the next one, and those that stop. */
interface Kernels {
  makes: Make[];
  bad: Make;
  late?: Make;
}

/** Whether another kernel takes over; one that is rolled back before that is answered is as good. */
async function swap(client: Hallelujah, name: string, make: Make | { to: number }): Promise<boolean> {
  try {
    await client.swap(name, make);
    return true;
  } catch (error) {
    const { code } = error as HallelujahError;
    if (code !== "swap-rolled-back" && !PASSES.has(code)) throw error;
    return code === "swap-rolled-back";
  }
}

/** Whether a kernel begins to take in all records again. */
async function reprocess(client: Hallelujah, name: string, make: Make): Promise<boolean> {
  try {
    await client.reprocess(name, make);
    return true;
  } catch (error) {
    if (!PASSES.has((error as HallelujahError).code)) throw error;
    return false;
  }
}

/** Whether a reprocess is ended: not if it has taken over, or was ended before. */
async function cancel(client: Hallelujah, name: string): Promise<boolean> {
  try {
    await client.cancelReprocess(name);
    return true;
  } catch (error) {
    if ((error as HallelujahError).code !== "reprocess-unknown") throw error;
    return false;
  }
}

/** The version that frames are given to. */
const currentOf = (versions: VersionInfo[]) => versions.findLast(({ error }) => error === undefined)!;

export class Changes {
  private readonly run: Run;
  private readonly kernels = new Map<string, Kernels>();

  constructor(run: Run) {
    this.run = run;
  }

  /** Builds all kernels, and deploys the streams, those first that others take in. */
  async deploy(): Promise<void> {
    const build = async (name: string, source: string, file: string): Promise<Make> => {
      const { path } = await buildKernel(kernelOf(name, source));
      return { kernel: readFileSync(path), file };
    };
    for (const { name, kernel, stops } of STREAMS) {
      const make = (number: number) => build(name, kernel(number), fileOf(number));
      const makes = await Promise.all(Array.from({ length: MAKES }, (_, i) => make(i + 1)));
      const bad = await build(name, broken(kernel(0)), "bad.ts");
      this.kernels.set(name, { makes, bad, ...(stops ? { late: await make(LATE) } : {}) });
    }
    const first = STREAMS.filter(({ from }) => from === undefined);
    for (const streams of [first, STREAMS.filter((each) => !first.includes(each))])
      await Promise.all(
        streams.map(({ name, from, shares, sink, keeps }) => {
          const options = {
            ...(shares ? { share: true } : {}),
            ...(from === undefined ? {} : { from }),
            ...(sink === undefined ? {} : { sink }),
            ...(keeps ? { retain: "all" } : {}),
          };
          return this.run.client.deploy(name, { ...this.next(name), min: 0, max: 2, ...options });
        }),
      );
  }

  /** Changes capacities and shards until the time is over; what stops a stream is taken back. */
  async capacities(): Promise<void> {
    const { run } = this;
    const chance = run.chance("change capacity");
    const change = async ({ name }: StreamSpec, wish: StreamChange) => {
      await patiently(() => run.client.change(name, wish), run.abandoned.signal);
      run.summary.changes++;
    };
    while (!run.over.signal.aborted) {
      await run.pause(chance() * CHANGE_MS);
      const stream = STREAMS[Math.floor(chance() * STREAMS.length)];
      const wish = CAPACITIES[Math.floor(chance() * CAPACITIES.length)];
      await change(stream, wish);
      if (wish.max !== 0 && !wish.paused) continue;
      await run.pause(chance() * CHANGE_MS);
      await change(stream, { max: 2, paused: false });
    }
  }

  /** Changes the kernels of these streams, one after the other, until the time is over. */
  async ofKernels(streams: StreamSpec[]): Promise<void> {
    const { run } = this;
    const chance = run.chance(`change kernel ${streams.map(({ name }) => name).join()}`);
    // However slow the machine is, there is something to tell apart; where there is time, each kind of change comes once.
    const due = [
      ...streams.map((stream): [StreamSpec, Wish] => [stream, "swap"]),
      ...[...new Set(this.wishesOf(streams[0]))].map((wish): [StreamSpec, Wish] => [streams[0], wish]),
    ];
    while (!run.over.signal.aborted) {
      await run.pause(chance() * CHANGE_MS);
      const stream = streams[Math.floor(chance() * streams.length)];
      const wishes = this.wishesOf(stream);
      await this.change(...(due.shift() ?? [stream, wishes[Math.floor(chance() * wishes.length)]]), chance);
    }
    for (const each of due) if (each[1] === "swap") await this.change(...each, chance);
  }

  private wishesOf({ keeps, stops }: StreamSpec): Wish[] {
    return [
      ...(["swap", "back", "bad"] as const),
      ...(keeps ? (["reprocess", "reprocess", "cancel"] as const) : []),
      ...(stops ? (["late", "late", "late"] as const) : []),
    ];
  }

  private async change({ name }: StreamSpec, wish: Wish, chance: () => number): Promise<void> {
    const { client, summary, abandoned } = this.run;
    const { signal } = abandoned;
    const { bad, late } = this.kernels.get(name)!;
    if (wish === "back") return this.back(name, chance);
    const make = wish === "bad" ? bad : wish === "late" ? late! : this.next(name);
    const begin = wish === "reprocess" || wish === "cancel" ? reprocess : swap;
    // Each swap is a version of its own, also where it is sent again as its answer was lost.
    if (!(await patiently(() => begin(client, name, make), signal))) return;
    this.run.say(`${name}: ${wish}, ${make.file}`);
    if (wish === "swap") summary.swaps++;
    if (wish === "bad") summary.badKernels++;
    if (wish === "reprocess") summary.reprocesses++;
    if (wish === "late") await this.late(name, chance);
    if (wish === "cancel") await this.cancel(name, chance);
    await this.learn(name);
  }

  /** Goes back to an earlier version, of another make. */
  private async back(name: string, chance: () => number): Promise<void> {
    const { client, summary, abandoned } = this.run;
    const versions = await this.learn(name);
    const current = currentOf(versions);
    const others = versions.slice(-BACK_VERSIONS).filter(({ file }) => {
      const make = makeOfFile(file);
      return make <= MAKES && file !== current.file;
    });
    if (!others.length) return;
    const { version: to, file } = others[Math.floor(chance() * others.length)];
    if (!(await patiently(() => swap(client, name, { to }), abandoned.signal))) return;
    this.use(name, file);
    this.run.say(`${name}: back to version ${to}, ${file}`);
    summary.backs++;
    // It may have been rolled back since.
    const last = (await this.learn(name)).findLast(({ how }) => how !== "rolled back")!;
    if (last.how !== "went back" || last.sameAs !== to)
      throw new Error(`${name} was to go back to version ${to}, and has ${JSON.stringify(last)} of it`);
  }

  /** Gives the kernel that stops late some time, and takes it back if it is there yet, so that not all records become dead letters. */
  private async late(name: string, chance: () => number): Promise<void> {
    const { client, summary, abandoned } = this.run;
    summary.lateKernels++;
    await this.run.pause(chance() * LATE_MS);
    if (makeOfFile(currentOf(await this.learn(name)).file) !== LATE) return;
    const make = this.next(name);
    // What it is refused for passes, and then it goes on with the late one.
    if (await patiently(() => swap(client, name, make), abandoned.signal))
      this.run.say(`${name}: it has not been rolled back; ${make.file}`);
  }

  /** Ends the reprocess that has just begun, if it has not taken over yet. */
  private async cancel(name: string, chance: () => number): Promise<void> {
    const { client, summary, abandoned } = this.run;
    await this.run.pause(chance() * CANCEL_MS);
    if (!(await patiently(() => cancel(client, name), abandoned.signal))) return;
    this.run.say(`${name}: cancelled`);
    summary.cancelled++;
    const last = (await this.learn(name)).findLast(({ how }) => how === "reprocessed");
    if (last?.error === undefined)
      throw new Error(`${name} had its reprocess cancelled, and has ${JSON.stringify(last)} of it`);
  }

  /** Now and then, as a host forgets the oldest versions. */
  private async learn(name: string): Promise<VersionInfo[]> {
    const { client, histories, abandoned } = this.run;
    const versions = await patiently(() => client.versions(name), abandoned.signal);
    histories.get(name)!.learn(versions);
    return versions;
  }

  /** The next kernel; the one after it is of another make. */
  private next(name: string): Make {
    const make = this.kernels.get(name)!.makes[0];
    this.use(name, make.file);
    return make;
  }

  private use(name: string, file: string): void {
    const { makes } = this.kernels.get(name)!;
    makes.push(
      ...makes.splice(
        makes.findIndex((make) => make.file === file),
        1,
      ),
    );
  }
}
