/** One run of a scenario of a cluster; what goes wrong in it says how to see it again. */
import { ClusterSimulation } from "./cluster.ts";
import { clusterCommandOf, type ClusterScenario } from "./scenario.ts";

/** Lines of what happened before a rule was broken that are shown with it. */
const LINES_SHOWN = 30;

/** Resolves with the run; rejects with what went wrong: a rule that was broken, or any other error. */
export async function simulateCluster(scenario: ClusterScenario): Promise<ClusterSimulation> {
  const simulation = new ClusterSimulation(scenario);
  try {
    await simulation.run();
  } catch (error) {
    const last = simulation.story.slice(-LINES_SHOWN).join("\n");
    const message = `${(error as Error).message}\nReplay it: ${clusterCommandOf(scenario)}\n${last}`;
    throw new Error(message, { cause: error });
  }
  return simulation;
}
