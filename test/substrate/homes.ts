/** The homes of values, for suites that hold for each. */
import { type Cluster, joinCluster } from "../../host/substrate/cluster.ts";
import { ClusterValues } from "../../host/substrate/cluster-values.ts";
import { MemoryValues, type Values } from "../../host/substrate/values.ts";
import { hasNatsServer, startNats } from "../nats.ts";

export interface Homes {
  /** Each with its name, and what makes one that is empty. */
  all: [string, () => Promise<Values>][];
  /** Of the server that is one of them, where there is one. */
  cluster: Cluster | undefined;
  close(): Promise<void>;
}

let made = 0;
export const newName = (): string => `home-${++made}`;

export async function homes(): Promise<Homes> {
  const server = hasNatsServer ? await startNats() : undefined;
  const cluster = server && (await joinCluster({ url: server.url, name: "test" }));
  const all: Homes["all"] = [["memory", async () => new MemoryValues()]];
  if (cluster) all.push(["JetStream", () => ClusterValues.open(cluster, { name: newName(), what: "test" })]);
  return {
    all,
    cluster,
    async close() {
      await cluster?.close();
      await server?.kill();
    },
  };
}

export const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "fine",
    (error: { code?: string }) => error.code ?? String(error),
  );
