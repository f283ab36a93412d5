import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type Cluster, joinCluster } from "../../host/substrate/cluster.ts";
import { Presence } from "../../host/substrate/presence.ts";
import { hasNatsServer, startNats } from "../nats.ts";
import { Proxy } from "./proxy.ts";

const test = suite("host/substrate/presence: what a nats-server says of processes");

/** Time that an answer may take which comes, and that is waited for one that does not come, ms. */
const PATIENCE_MS = 20_000;
const SHORT_MS = 200;

if (hasNatsServer) {
  const server = await startNats();
  const proxy = await Proxy.to(server.port);
  const [a, b, c] = (await Promise.all(
    [server.url, server.url, proxy.url].map((url, i) => joinCluster({ url, name: `${i}` })),
  )) as [Cluster, Cluster, Cluster];

  const words = async (presence: Presence, timeoutMs: number, ...processes: string[]) => {
    const asked = await presence.ask(new Map(processes.map((each) => [each, each])), timeoutMs);
    return processes.map((each) => asked.get(each)?.word);
  };

  test("one that is connected answers; of one whose connection ended, or that answers no more, the server says that nobody listens", async () => {
    const own = new Presence(a.connection, "one", "a");
    const there = new Presence(b.connection, "one", "b");
    const { connection, close } = await joinCluster({ url: server.url, name: "ends" });
    new Presence(connection, "one", "ends");
    await Promise.all([b.connection.flush(), connection.flush()]);
    assert.equal(await words(own, PATIENCE_MS, "a", "b", "ends"), ["here", "here", "here"]);
    await close();
    there.close();
    await b.connection.flush();
    assert.equal(await words(own, PATIENCE_MS, "a", "b", "ends"), ["here", "nobody", "nobody"]);
    own.close();
  });

  test("what is not the process itself is no word, nor is one that does not answer in time", async () => {
    const own = new Presence(a.connection, "two", "a");
    b.connection.subscribe("two.stuck");
    b.connection.subscribe("two.other", { callback: (_, message) => void message.respond("something else") });
    await b.connection.flush();
    assert.equal(await words(own, PATIENCE_MS, "other"), ["nothing"]);
    assert.equal(await words(own, SHORT_MS, "stuck"), ["nothing"]);
    assert.equal(await words(own, PATIENCE_MS, "no subject"), ["nothing"]);
    own.close();
  });

  test("nothing counts that is heard first over a new connection", async () => {
    const own = new Presence(c.connection, "three", "c");
    assert.equal(await words(own, PATIENCE_MS, "c", "gone"), ["here", "nobody"]);
    proxy.shut(true);
    for await (const { type } of c.connection.status()) if (type === "disconnect") break;
    assert.equal(await words(own, SHORT_MS, "c", "gone"), [undefined, undefined]);
    proxy.shut(false);
    for await (const { type } of c.connection.status()) if (type === "reconnect") break;
    assert.equal(await words(own, PATIENCE_MS, "c", "gone"), [undefined, undefined]);
    assert.equal(await words(own, PATIENCE_MS, "c", "gone"), ["here", "nobody"]);
    own.close();
  });

  test.after(async () => {
    await Promise.all([a, b, c].map((each) => each.close()));
    proxy.close();
    await server.kill();
  });
}

test.run();
