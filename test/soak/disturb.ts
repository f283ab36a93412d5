/**
 * What goes wrong in a soak: processes are killed, and the data folder is copied as a loss of power would leave it, and a host started from
 * the copy.
 */
import { cpSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { SoakHost } from "./host.ts";
import { signal } from "./processes.ts";
import type { Run } from "./run.ts";
import { settle, verify } from "./verify.ts";

/**
 * What is killed, and how often of a hundred times. `leader` is a Congregation whose other processes get to nothing, so that
 * they do not end by themselves. `freeze` and `stop` are no kills: a process that gets to nothing for a while, and an orderly end.
 */
const TARGETS = [
  ["Jah", 45],
  ["Hallelu", 18],
  ["Congregation", 10],
  ["everything", 9],
  ["leader", 4],
  ["spare", 4],
  ["freeze", 5],
  ["stop", 5],
] as const;
/** The longest time for which a process is frozen, ms. */
const FREEZE_MS = 3_000;

export class Disturbances {
  private readonly soak: Run;
  private readonly copies = new Set<SoakHost>();

  constructor(soak: Run) {
    this.soak = soak;
  }

  /** Kills what is left of the copies. */
  end(): void {
    for (const copy of this.copies) copy.end();
  }

  /** Kills processes, and copies the folder in between. */
  async run(): Promise<void> {
    const { soak } = this;
    const { over, summary } = soak;
    const chance = soak.chance("kill");
    const { seconds, killEverySeconds, powerLosses } = soak.options;
    /** The copy that is being compared; one at a time. */
    let copying: Promise<void> | undefined;
    let due = performance.now();
    while (!over.signal.aborted) {
      const part = (performance.now() - soak.startedAt) / (seconds * 1000);
      const losses = summary.powerLosses;
      if (!copying && losses < powerLosses && part * (powerLosses + 1) > losses + 1) {
        const compare = await this.losePower();
        copying = soak.watched(compare()).then(() => {
          copying = undefined;
        });
      }
      due += Math.min(-Math.log(1 - chance()) * killEverySeconds, seconds) * 1000;
      await soak.pause(Math.max(0, due - performance.now()));
      due = Math.max(due, performance.now());
      if (!over.signal.aborted) await this.kill(chance);
    }
    await copying;
  }

  private async kill(chance: () => number): Promise<void> {
    const { soak } = this;
    const { host, summary } = soak;
    let at = chance() * TARGETS.reduce((sum, [, weight]) => sum + weight, 0);
    const [kind] = TARGETS.find(([, weight]) => (at -= weight) < 0)!;
    const { starts } = host;
    if (kind === "stop") {
      soak.say("SIGTERM to the host");
      await host.stop();
      await host.start();
      summary.stops++;
      return;
    }
    if (kind === "freeze") {
      const there = [...host.processes("Jah"), ...host.processes("Hallelu")];
      const target = there[Math.floor(chance() * there.length)];
      if (!target) return;
      soak.say(`SIGSTOP to ${target.kind} ${target.pid} for a while`);
      signal(target, "SIGSTOP");
      await soak.pause(chance() * FREEZE_MS);
      signal(target, "SIGCONT");
      summary.freezes++;
      return;
    }
    if (kind === "leader") {
      soak.say("SIGKILL to the Congregation, and SIGSTOP to the others");
      const [leader, ...others] = host.processes();
      for (const each of others) signal(each, "SIGSTOP");
      const killed = host.kill([leader]);
      // A compiler holds nothing, so that no Congregation ends that of another: it has to end by itself when it gets on.
      for (const each of others) if (each.kind === "other") signal(each, "SIGCONT");
      await killed;
    } else if (kind === "everything") {
      soak.say("SIGKILL to everything");
      await host.kill(host.processes());
    } else {
      const there = host.processes(kind);
      const target = there[Math.floor(chance() * there.length)];
      if (!target) return;
      soak.say(`SIGKILL to ${kind} ${target.pid}`);
      if (!(await host.kill([target]))) return;
    }
    summary.kills[kind] = (summary.kills[kind] ?? 0) + 1;
    if (host.starts > starts) summary.restarts++;
  }

  /**
   * Copies the folder at one moment. Resolves with what starts a host from the copy, sends it what was not acknowledged,
   * and compares.
   */
  private async losePower(): Promise<() => Promise<void>> {
    const { soak } = this;
    const number = ++soak.summary.powerLosses;
    const copy = new SoakHost(join(soak.folder, `copy-${number}`), soak.options.cpus, (error) =>
      soak.abandon(new Error(`after loss of power ${number}: ${error.message}`)),
    );
    this.copies.add(copy);
    soak.say(`loss of power ${number}: copying`);
    const { taken, inFlight } = await soak.host.frozen(async () => {
      cpSync(soak.host.folder, copy.folder, { recursive: true });
      const inFlight = soak.loaders.map(({ inFlight }) => inFlight);
      return { taken: soak.taken, inFlight };
    });
    // The process that holds the lock lives on, as it would not after a loss of power.
    for (const name of readdirSync(copy.data))
      if (name.startsWith("lock.")) rmSync(join(copy.data, name), { force: true });
    return async () => {
      try {
        await copy.start();
        const { signal } = soak.abandoned;
        await Promise.all(
          soak.loaders.map(async (loader, i) => {
            const { producer } = loader;
            const body = inFlight[i];
            if (!body) return;
            const pieces = await loader.push(copy.client, body, signal);
            taken.pieces.get(producer)!.push(...pieces);
            taken.counts.set(producer, taken.counts.get(producer)! + body.records);
          }),
        );
        await settle(copy.client, signal);
        await verify(copy.client, copy.folder, taken);
        await copy.stop();
        soak.say(`loss of power ${number}: all is there`);
      } catch (error) {
        throw new Error(`after loss of power ${number}: ${(error as Error).message}`, { cause: error });
      }
      rmSync(copy.folder, { recursive: true, force: true });
      this.copies.delete(copy);
    };
  }
}
