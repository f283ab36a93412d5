/**
 * The processes of a simulated host, and who decides of them: the real ledger, and the real record of Jahs; instead of processes, Jahs that are
 * slow, start late, never call or die.
 */
import { Ledger, type LedgerCommand } from "../../host/congregation/ledger.ts";
import { Jahs } from "../../host/hallelu/jahs.ts";
import type { Stream } from "../../host/hallelu/stream.ts";
import type { FromHallelu, StreamLoad } from "../../host/wire/congregation.ts";
import type { ToLiveJah } from "../../host/wire/live.ts";
import type { VirtualClock } from "./clock.ts";
import { type Costs, SimulatedJah, type World } from "./jah.ts";
import type { Process, Rules } from "./rules.ts";
import type { Scenario } from "./scenario.ts";

/** Is asked how long a kind of decision took: what it does, timed. */
export type Stopwatch = <T>(kind: string, decide: () => T) => T;

/** The host around them. */
export interface ProcessesParts {
  scenario: Scenario;
  clock: VirtualClock;
  chance: () => number;
  rules: Rules;
  stopwatch: Stopwatch;
  say(what: string): void;
  /** Whether things still go wrong. */
  isEventful(): boolean;
  costsOf(stream: Stream): Costs;
  worldOf(id: number, stream: Stream): World;
  /** A Jah starts, and it has ended. */
  starts(process: Process): void;
  ended(process: Process): void;
  /** A stream claims a Jah, and says something to one. */
  claims(stream: Stream): void;
  says(stream: Stream, message: ToLiveJah): void;
}

export class Processes {
  readonly all = new Map<number, Process>();
  ledger: Ledger;
  jahs: Jahs;
  private readonly parts: ProcessesParts;
  /** How often the host was started; whatever began before is dead. */
  private boot = 0;
  /** The streams that claimed Jahs. */
  private readonly owners = new Map<number, Stream>();

  constructor(parts: ProcessesParts) {
    this.parts = parts;
    this.ledger = this.newLedger();
    this.jahs = this.newJahs();
  }

  private newLedger(): Ledger {
    return new Ledger(Array.from({ length: this.parts.scenario.cpus }, (_, i) => i));
  }

  /** No number of a Jah is used twice. */
  private newJahs(): Jahs {
    const { boot } = this;
    const tell = (message: FromHallelu) => {
      if (boot !== this.boot) return;
      if (message.type === "claim") {
        const stream = this.jahs.all.get(message.jah)!.owner as Stream;
        this.owners.set(message.jah, stream);
        this.parts.claims(stream);
      }
      this.later(this.hop(), () => {
        if (boot === this.boot) this.hear(message);
      });
    };
    return new Jahs(tell, "secret", 1 + boot * 100_000);
  }

  /** All of them end where they stand. */
  crash(): void {
    for (const { jah } of this.all.values()) jah.die();
    this.all.clear();
    this.owners.clear();
    this.boot++;
    const before = this.jahs;
    this.ledger = this.newLedger();
    this.jahs = this.newJahs();
    before.close();
  }

  private later(ms: number, what: () => void): void {
    this.parts.clock.later(ms, what);
  }

  /** Time that a word between two processes is under way, ms: now and then, one of them has no CPU. */
  private hop(): number {
    const { chance } = this.parts;
    return chance() < 0.03 ? chance() * 40 : 0.1 + chance() * 0.4;
  }

  /** Puts words off that keep their order, as those of a channel do. `lag` is what each takes more, ms. */
  channel(lag = 0): (what: () => void) => void {
    const { clock, chance } = this.parts;
    let lastAt = 0;
    return (what) => {
      lastAt = Math.max(lastAt, clock.now + this.hop() + lag * chance());
      this.later(lastAt - clock.now, what);
    };
  }

  get freeCpus(): number {
    const taken = [...this.jahs.all.values()].filter(({ state }) => state !== "claimed").length;
    return Math.max(0, this.parts.scenario.cpus - taken);
  }

  /** Those of a stream that have called. */
  of(stream: Stream): SimulatedJah[] {
    return [...this.all.values()]
      .filter((each) => each.called && each.stream === stream)
      .map(({ jah }) => jah);
  }

  tellLoads(loads: StreamLoad[]): void {
    this.later(this.hop(), () => this.decide(() => this.ledger.told(loads, this.parts.clock.now)));
  }

  kill({ jah, claim }: Process): void {
    const { chance, say } = this.parts;
    say(`Jah ${jah.id} of ${claim.stream} dies`);
    jah.die();
    // Its channel may be seen to be closed before its process is seen to have ended.
    if (chance() < 0.5) this.later(this.hop(), () => this.exited(jah.id, "SIGKILL"));
    this.later(this.hop() + chance() * 20, () => this.ended(jah.id, "SIGKILL"));
  }

  // --- the Congregation's side -----------------------------------------------------------------------------------

  private hear(message: FromHallelu): void {
    const { clock, rules } = this.parts;
    switch (message.type) {
      case "claim":
        rules.claimed(message, this.owners.get(message.jah)!, clock.now);
        this.decide(() => this.ledger.claim(message, clock.now));
        break;
      case "withdraw":
        rules.withdrawn(message.jah);
        this.ledger.withdraw(message.jah);
        break;
      case "end": {
        const process = this.all.get(message.jah);
        if (!process) break;
        const end = () => {
          process.jah.die();
          this.later(1, () => this.ended(message.jah, "SIGKILL"));
        };
        if (message.graceMs) this.later(message.graceMs, end);
        else end();
        break;
      }
    }
  }

  private decide(what: () => LedgerCommand[]): void {
    const { rules, say, stopwatch } = this.parts;
    for (const command of stopwatch("ledger", what)) {
      if (command.type === "start") this.start(command.jah, command.cpu);
      else {
        const type = command.type === "refuse" ? "refused" : "reclaim";
        if (type === "refused") rules.answered(command.jah);
        say(`Jah ${command.jah} is ${type === "refused" ? "refused" : "asked for its CPU"}`);
        this.later(this.hop(), () => this.jahs.hear({ type, jah: command.jah }));
      }
    }
  }

  private start(id: number, cpu: number): void {
    const { rules, say, chance, scenario, clock, isEventful, costsOf, worldOf, starts } = this.parts;
    const claim = rules.answered(id);
    const stream = this.owners.get(id)!;
    const why = claim.waits ? "" : `, to scale (${claim.kind})`;
    say(`Jah ${id} of ${claim.stream} starts on CPU ${cpu}${why}`);
    const slowness = this.isUnlucky() ? 1 + chance() * 4 : 1;
    const jah = new SimulatedJah(id, costsOf(stream), slowness, worldOf(id, stream));
    jah.onEnd = () => this.ended(id, null);
    // Some never call; their Hallelu gives them up.
    const calls = !(isEventful() && scenario.kind === "storm" && chance() < 0.01);
    const process = { jah, stream, cpu, claim, since: clock.now, calls, called: false, late: 0 };
    this.all.set(id, process);
    rules.started(process, this.all.values());
    starts(process);
    this.later(this.hop(), () => this.jahs.hear({ type: "granted", jah: id, cpu, pid: id }));
    if (calls) this.later(20 + chance() * 200, () => this.call(id));
  }

  /** Whether something is the matter with a Jah. */
  private isUnlucky(): boolean {
    const { scenario, chance } = this.parts;
    return chance() < { storm: 0.1, moves: 0.3, crowd: 0.1, waves: 0, vain: 0 }[scenario.kind];
  }

  /** It calls its Hallelu, if that still knows it. */
  private call(id: number): void {
    const process = this.all.get(id);
    const jah = this.jahs.all.get(id);
    if (!process?.jah.alive) return;
    if (!jah || jah.state === "gone") {
      process.jah.die();
      return this.later(1, () => this.ended(id, null));
    }
    process.called = true;
    // Some do not get to their words for a while.
    const lag = this.isUnlucky() ? 500 : 0;
    const send = this.channel(lag);
    const { boot } = this;
    jah.attach({
      send: (message: ToLiveJah) => {
        if (boot === this.boot) this.parts.says(process.stream, message);
        if (lag) process.late++;
        send(() => {
          if (lag) process.late--;
          process.jah.hear(message);
        });
      },
      destroy: () => {},
    });
  }

  private ended(id: number, signal: string | null): void {
    const process = this.all.get(id);
    if (!process) return;
    this.all.delete(id);
    this.parts.ended(process);
    this.later(this.hop(), () => this.exited(id, signal));
    this.decide(() => this.ledger.exited(id, this.parts.clock.now));
  }

  private exited(id: number, signal: string | null): void {
    this.jahs.hear({ type: "exited", jah: id, code: signal ? null : 0, signal, complaint: "" });
  }
}
