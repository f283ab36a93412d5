/** One run of a scenario; what goes wrong in it says how to see it again. */
import { HostSimulation } from "./host.ts";
import { commandOf, type Scenario } from "./scenario.ts";

/** Lines of what happened before a rule was broken that are shown with it. */
const LINES_SHOWN = 20;

/** Resolves with the run; rejects with what went wrong: a rule that was broken, or any other error of the host's parts. */
export async function simulate(scenario: Scenario): Promise<HostSimulation> {
  const simulation = new HostSimulation(scenario);
  try {
    await simulation.run();
  } catch (error) {
    const last = simulation.story.slice(-LINES_SHOWN).join("\n");
    const message = `${(error as Error).message}\nReplay it: ${commandOf(scenario)}\n${last}`;
    throw new Error(message, { cause: error });
  }
  return simulation;
}
