/** Found while it was looked for writes to state that are not marked: blocks that `close` took were of the frame at hand. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { buildKernel } from "../../host/compiler/cache.ts";
import { kernelOf } from "../run.ts";
import { Shard } from "../state/shard.ts";

const KERNEL = `
import { Distinct, Sessions, Text, Time, Window, out } from "hallelujah";
@record class Event { @time at: Time; user: Text; n: i64 }
@record class Closed { user: Text; numbers: u64 }
@state class Numbers { numbers: Distinct }
const all = new Sessions<Text, Numbers>("all", 60_000);
export function key(event: Event): Text { return event.user; }
export function fold(event: Event, state: Numbers): void { state.numbers.add(event.n); }
export function close(window: Window, user: Text, state: Numbers): void {
  const closed = new Closed();
  closed.user = user;
  closed.numbers = state.numbers.value;
  out.emit(closed);
  for (let n = 0; n < 300; n++) state.numbers.add(1000 + n);
}`;

test("what close adds to the state of a session that is over does not end up in the state of others", async () => {
  const shard = new Shard(await buildKernel(kernelOf("close-adds", KERNEL)));
  const event = (user: string, second: number, n: number) =>
    `${JSON.stringify({ user, at: new Date(1_714_521_600_000 + second * 1000).toISOString(), n })}\n`;
  const events = (user: string, second: number, count: number) =>
    Array.from({ length: count }, (_, n) => event(user, second, n)).join("");
  let emitted = await shard.add(events("first", 0, 50));
  emitted += await shard.add(events("second", 100, 1));
  emitted += await shard.add(events("second", 101, 300));
  emitted += await shard.add(events("third", 102, 300));
  emitted += await shard.add(events("third", 103, 300));
  emitted += await shard.add(events("last", 300, 1));
  const closed = emitted
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  assert.equal(closed.map(({ user, numbers }) => `${user} ${numbers}`).sort(), [
    "first 50",
    "second 300",
    "third 300",
  ]);
});

test.run();
