import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Dispatch } from "../../host/hallelu/dispatch.ts";
import type { Jah } from "../../host/hallelu/jahs.ts";
import { type Scaled, Scaler } from "../../host/hallelu/scaler.ts";
import { Turns } from "../../host/hallelu/turns.ts";

const test = suite("host/hallelu/scaler");

/** A stream of three Jahs at rest, of which the third only maps. The second gives its shard to the first, which has yet to save it. */
async function whileSaving() {
  const targets = [
    { jah: 1, from: 0, to: 128 },
    { jah: 2, from: 128, to: 256 },
  ];
  const dispatch = new Dispatch(targets, 0, () => 1000);
  const jahs = new Map([1, 2, 3].map((id) => [id, { id, state: "working" } as Jah]));
  for (const id of jahs.keys()) dispatch.joined(id);
  const turns = new Turns();
  const released: number[] = [];
  let saved = () => {};
  const stream: Partial<Scaled> = {
    dispatch,
    versions: { current: { from: 0 } },
    jahs,
    turn: () => turns.next(),
    holdBack: () => {},
    announce: () => {},
    pump: () => {},
    settleMove: () => new Promise((done) => (saved = done)),
    release: ({ id }) => {
      assert.ok(dispatch.isDone(id));
      jahs.delete(id);
      released.push(id);
    },
  };
  const scaler = new Scaler(stream as Scaled);
  scaler.give(jahs.get(2)!);
  await new Promise((done) => setImmediate(done)); // its turn
  scaler.imported(jahs.get(1)!);
  return { scaler, jahs, dispatch, released, saved: () => saved() };
}

test("a donor leaves when what it gave is saved, and a Jah that only maps before", async () => {
  const { scaler, jahs, dispatch, released, saved } = await whileSaving();
  assert.equal(dispatch.routing.targets, [{ jah: 1, from: 0, to: 256 }]);
  scaler.settle();
  assert.equal(released, []);
  scaler.give(jahs.get(3)!);
  assert.equal(released, [3]);
  saved();
  await Promise.resolve();
  assert.equal(released, [3, 2]);
});

test("a donor is not let go as one that leaves when its receiver is lost: both start again", async () => {
  const { scaler, jahs, released, saved } = await whileSaving();
  const [receiver, donor] = [jahs.get(1)!, jahs.get(2)!];
  jahs.delete(1);
  assert.is(scaler.lost(receiver), donor);
  saved();
  await Promise.resolve();
  scaler.settle();
  assert.equal(released, []);
});

test("parking waits until what moved is saved", async () => {
  const { scaler, released, saved } = await whileSaving();
  let isSingle = false;
  void scaler.single().then(() => {
    isSingle = true;
  });
  await Promise.resolve();
  assert.equal(released, [3]);
  assert.not.ok(isSingle);
  saved();
  await new Promise((done) => setImmediate(done));
  assert.equal(released, [3, 2]);
  assert.ok(isSingle);
});

test.run();
