import { suite } from "uvu";
import { Simulation } from "./dispatch.ts";

const test = suite("simulation: every partition gets every frame once, in order");
const SEEDS = 300;

test(`${SEEDS} seeds of deaths, moves, delays, doubles and overtaking`, () => {
  const first = process.env.FC_SEED ? Number(process.env.FC_SEED) : 1;
  for (let seed = first; seed < first + (process.env.FC_SEED ? 1 : SEEDS); seed++) {
    const simulation = new Simulation(seed);
    try {
      simulation.run(600);
    } catch (error) {
      const last = simulation.story.slice(-30).join("\n");
      throw new Error(`FC_SEED=${seed}: ${(error as Error).message}\n${last}`, { cause: error });
    }
  }
});

test.run();
