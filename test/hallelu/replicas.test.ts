/** What of a stream's state another host could bring back. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Replicas } from "../../host/hallelu/replicas.ts";

const snapshot = (from: number, to: number, frame: number, before?: number) => ({
  type: "replicated" as const,
  store: "/data/streams/s/shard-0",
  from,
  to,
  frame,
  bytes: 0,
  ms: 0,
  ...(before === undefined ? {} : { before }),
});
const shard = (start: number) => ({ folder: "shard-0", from: 0, to: 256, start });

test("a snapshot of the same frame from before partitions came does not have them", () => {
  const replicas = new Replicas(true);
  const all = { from: 0, to: 256 };
  assert.not(replicas.has("shard-0", 7, all));
  replicas.made(snapshot(0, 128, 7));
  assert.ok(replicas.has("shard-0", 7, { from: 0, to: 128 }));
  assert.not(replicas.has("shard-0", 7, all));
  assert.not(replicas.has("shard-1", 7, { from: 0, to: 128 }));
  replicas.made(snapshot(0, 256, 7, 7));
  assert.ok(replicas.has("shard-0", 7, all));
  assert.not(replicas.has("shard-0", 8, all));
});

test("the log is needed from the snapshot before the newest on, and from its start without one", () => {
  const replicas = new Replicas(true);
  assert.is(replicas.neededFor(shard(0)), 0);
  assert.is(replicas.neededFor(shard(5)), 0);
  replicas.made(snapshot(0, 256, 9));
  assert.equal([replicas.neededFor(shard(0)), replicas.neededFor(shard(5))], [0, 9]);
  replicas.made(snapshot(0, 256, 12, 9));
  assert.equal([replicas.neededFor(shard(0)), replicas.neededFor(shard(5))], [9, 9]);
});

test("of a stream that is its host's alone nothing is waited for", () => {
  const replicas = new Replicas(false);
  assert.ok(replicas.has("shard-0", 7, { from: 0, to: 256 }));
  assert.is(replicas.neededFor(shard(0)), Infinity);
});

test.run();
