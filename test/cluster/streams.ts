/** The streams of a cluster's test: those of the soak, and on each machine one with an output that tells how long it was away. */
import * as kernels from "../soak/kernels.ts";
import { LINES } from "../soak/outputs.ts";
import { type StreamSpec, STREAMS } from "../soak/streams.ts";
import { type Node, NODES } from "./namespaces.ts";

const specOf = (wanted: string) => STREAMS.find(({ name }) => name === wanted)!;

/** Numbers of its one producer, each sent on as a row with the number before and the sum of all. */
function probe(node: Node): StreamSpec {
  const id = `p${node}`;
  return {
    ...specOf("chains"),
    name: `probe-${node}`,
    kernel: kernels.chains,
    producers: [{ id, record: (n) => `{"line":"${id}-${n % LINES}","n":${n}}\n` }],
    share: 0.1,
  };
}

export interface Placed {
  spec: StreamSpec;
  /** Where it is deployed. */
  node: Node;
}

/** What is deployed first comes first. The soak's stream of what comes out of another needs a look into its log, which is the cluster's here. */
export function streamsOf(isShort: boolean): Placed[] {
  const probes = NODES.map((node): Placed => ({ spec: probe(node), node }));
  const others: Placed[] = [
    { spec: specOf("stations"), node: "a" },
    { spec: specOf("trends"), node: "b" },
    { spec: specOf("again"), node: "b" },
    { spec: specOf("kept"), node: "c" },
  ];
  return [...probes, ...(isShort ? others.slice(0, 1) : others)].map(({ spec, node }) => ({
    spec: onCluster(spec),
    node,
  }));
}

/** Records come all the time; a file that output goes to would be one on each host. */
function onCluster(spec: StreamSpec): StreamSpec {
  const placed = { ...spec, steady: true };
  delete placed.sink;
  return placed;
}
