/** Whole hosts on virtual time: 200 seeds in which no rule is broken, and broken parts that are all found out. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Ledger } from "../../host/congregation/ledger.ts";
import type { Stream } from "../../host/hallelu/stream.ts";
import { Inbox } from "../../host/jah/inbox.ts";
import { Broken, HostSimulation, type SimulationOptions } from "./host.ts";

const test = suite("simulation: a host");
const SEEDS = 200;
/** Seeds that once found something, at the length at which they did. */
const REGRESSIONS = [3, 6, 7, 106, 126, 193, 215, 887, 2231];

const hostOf = (seed: number, ms: number): SimulationOptions => ({
  seed,
  ms,
  cpus: 1 + (seed % 4),
  streams: 1 + (seed % 5),
});

async function run(options: SimulationOptions): Promise<HostSimulation> {
  const simulation = new HostSimulation(options);
  try {
    await simulation.run();
  } catch (error) {
    const { seed, cpus, streams, ms } = options;
    const again = `npm run simulate -- --seed ${seed} --cpus ${cpus} --streams ${streams} --seconds ${ms / 1000}`;
    const last = simulation.story.slice(-20).join("\n");
    (error as Error).message = `${(error as Error).message}\n${again}\n${last}`;
    throw error;
  }
  return simulation;
}

test("seeds that broke a rule once", async () => {
  for (const seed of REGRESSIONS) await run(hostOf(seed, 30_000));
});

test(`${SEEDS} seeds: no more Jahs than CPUs, each frame once and in order, nobody starves, no CPU is lost`, async () => {
  let deaths = 0;
  let frames = 0;
  for (let seed = 10_000; seed < 10_000 + SEEDS; seed++) {
    const { counts } = await run(hostOf(seed, 12_000));
    deaths += counts.deaths;
    frames += counts.frames;
  }
  // That there was something to see.
  assert.ok(deaths > SEEDS / 4 && frames > SEEDS * 100, `${deaths} deaths, ${frames} frames`);
});

interface Mutant {
  name: string;
  options?: Partial<SimulationOptions>;
  /** Changes a class for the while; answers what undoes that. */
  patch?: () => () => void;
}

class Generous extends Ledger {
  override get free(): number {
    return super.free + 1;
  }
}

class Forgetful extends Ledger {
  private ends = 0;
  override exited(jah: number, now: number) {
    return ++this.ends === 3 ? [] : super.exited(jah, now);
  }
}

class Deaf extends Ledger {
  private claims = 0;
  override claim(claim: Parameters<Ledger["claim"]>[0], now: number) {
    return claim.waits && ++this.claims % 5 === 0 ? [] : super.claim(claim, now);
  }
}

const tampered = (tamper: (stream: Stream) => void) => ({ options: { tamper } });

const MUTANTS: Mutant[] = [
  { name: "a ledger with a CPU too many", options: { ledger: (cpus) => new Generous(cpus) } },
  { name: "a ledger that loses a CPU", options: { ledger: (cpus) => new Forgetful(cpus) } },
  { name: "a ledger that does not hear a claim", options: { ledger: (cpus) => new Deaf(cpus) } },
  {
    name: "frames of a lost Jah are not handed out again",
    ...tampered(({ dispatch }) => {
      const lost = dispatch.lost.bind(dispatch);
      dispatch.lost = (jah) => {
        const owned = lost(jah);
        for (const lane of (dispatch as unknown as { lanes: { again: number[] }[] }).lanes) lane.again = [];
        return owned;
      };
    }),
  },
  {
    name: "a lost shard is replayed from one frame too late",
    ...tampered(({ dispatch }) => {
      const recover = dispatch.recover.bind(dispatch);
      dispatch.recover = (target, jah, start) => recover(target, jah, start + 1);
    }),
  },
  {
    name: "frames that are mapped again count again",
    ...tampered(({ dispatch }) => {
      const mapped = dispatch.mapped.bind(dispatch);
      dispatch.mapped = (jah, routing, frame) => mapped(jah, routing, frame) || true;
    }),
  },
  {
    name: "a step of scaling that nobody ends",
    ...tampered((stream) => {
      const { scaler } = stream as unknown as { scaler: { refused: () => void; lost: () => undefined } };
      scaler.refused = () => {};
      scaler.lost = () => undefined;
    }),
  },
  {
    name: "an owner that takes what comes first",
    patch: () => {
      const { take } = Inbox.prototype;
      Inbox.prototype.take = function (this: Inbox) {
        const { waiting } = this as unknown as { waiting: Map<number, unknown> };
        const [first] = waiting.keys();
        if (first !== undefined) this.next = first;
        return take.call(this);
      };
      return () => {
        Inbox.prototype.take = take;
      };
    },
  },
];

for (const { name, options, patch } of MUTANTS) {
  test(`found out: ${name}`, async () => {
    const restore = patch?.();
    try {
      for (let seed = 1; seed <= 120; seed++) {
        try {
          await new HostSimulation({ ...hostOf(seed, 20_000), ...options }).run();
        } catch (error) {
          if (!(error instanceof Broken || error instanceof TypeError)) throw error;
          return;
        }
      }
      assert.unreachable("no rule was broken in 120 seeds");
    } finally {
      restore?.();
    }
  });
}

test.run();
