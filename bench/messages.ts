/** What hosts of a cluster send and hear of each other while nothing happens, and when one is lost: counted on virtual time, with the product's membership. */
import { type Traffic, trafficOf } from "../test/simulation/cluster/traffic.ts";
import type { Rounds } from "./harness.ts";
import type { PlacementSettings } from "./placement.ts";
import { againstPeer, type Result } from "./results.ts";

const STREAMS = 2;
const COUNTS = [10, 100, 1_000];

/** Of a thousand hosts beside ten. Each count is the same in every run, so there is one. */
export async function messages({ machine, log }: Omit<PlacementSettings, "runs">): Promise<Result[]> {
  const found: Traffic[] = [];
  for (const count of COUNTS) {
    const traffic = await trafficOf(count, STREAMS);
    const { beats, reads, others, heard, heardOfLoss, lost, moved, ms } = traffic;
    const quiet = `${beats.toFixed(2)} beats, ${reads.toFixed(2)} reads, ${others.toFixed(2)} other requests, ${heard.toFixed(2)} changes heard of, each a second`;
    log(
      `messages of ${count} hosts: ${quiet}; one lost: ${heardOfLoss.toFixed(1)} heard of, ${moved} of its ${lost} streams open after ${(ms / 1000).toFixed(2)} s`,
    );
    if (moved !== lost) throw new Error(`messages: ${moved} streams moved, and the lost host had ${lost}`);
    found.push(traffic);
  }
  const result = (name: string, each: (traffic: Traffic) => number, note: string) => {
    const [few, , many] = found.map((traffic) => [{ wallMs: each(traffic), cpuMs: null, rssMb: null }]);
    const rounds: Rounds = new Map([
      ["thousand-hosts", many],
      ["ten-hosts", few],
    ]);
    const context = { rows: null, machine };
    return againstPeer(name, rounds, "thousand-hosts", "ten-hosts", context, note);
  };
  return [
    {
      ...result(
        "messages",
        ({ beats, reads, others, heard }) => beats + reads + others + heard,
        "of each host, while nothing happens",
      ),
      unit: "1/s",
    },
    {
      ...result(
        "messages-loss",
        ({ heardOfLoss }) => heardOfLoss,
        `each host hears of, when one with ${STREAMS} streams is lost`,
      ),
      unit: "changes",
    },
  ];
}
