import { suite } from "uvu";
import * as assert from "uvu/assert";
import {
  decideScaling,
  NO_MEMORY,
  type ScalingMemory,
  type StreamFacts,
} from "../../host/hallelu/scaling.ts";

const test = suite("host/hallelu/scaling");
const MB = 1e6;

/** A stream on virtual time: what comes in by the rule `load`, what goes out by what its Jahs can do. */
class Plant {
  now = 0;
  backlog = 0;
  readonly jahs: StreamFacts["jahs"] = [{ jah: 0, shard: { from: 0, to: 256 } }];
  changes = 0;
  private memory: ScalingMemory = NO_MEMORY;
  private next = 1;
  private readonly model: { map: number; apply: number; cpus: number; max: number; helps?: boolean };

  constructor(model: { map: number; apply: number; cpus: number; max: number; helps?: boolean }) {
    this.model = model;
  }

  private get rate(): number {
    const { map, apply, helps = true } = this.model;
    const shards = this.jahs.filter(({ shard }) => shard).length;
    const jahs = helps ? this.jahs.length : 1;
    return Math.min(jahs / (map + apply), apply ? shards / apply : Infinity);
  }

  /** Lets 100 ms pass in which `bytesPerSecond` come in. */
  tick(bytesPerSecond: number): void {
    const { map, apply, cpus, max } = this.model;
    this.now += 100;
    const done = Math.min(this.backlog + bytesPerSecond / 10, this.rate / 10);
    this.backlog = Math.max(0, this.backlog + bytesPerSecond / 10 - done);
    const { command, memory } = decideScaling(
      {
        now: this.now,
        min: 1,
        max,
        shards: 0,
        free: cpus - this.jahs.length,
        backlogBytes: this.backlog,
        inBytesPerSecond: bytesPerSecond,
        outBytesPerSecond: done * 10,
        mapSecondsPerByte: map,
        applySecondsPerByte: apply,
        jahs: this.jahs,
        changing: false,
      },
      this.memory,
    );
    this.memory = memory;
    if (command.type !== "none") this.changes++;
    if (command.type === "add-transient")
      for (let i = 0; i < command.count; i++) this.jahs.push({ jah: this.next++ });
    else if (command.type === "remove-transient")
      this.jahs.splice(
        this.jahs.findIndex(({ jah }) => jah === command.jah),
        1,
      );
    else if (command.type === "split") {
      const shard = this.jahs.find(({ jah }) => jah === command.jah)!.shard!;
      this.jahs.push({ jah: this.next++, shard: { from: command.at, to: shard.to } });
      shard.to = command.at;
    } else if (command.type === "join") {
      const from = this.jahs.find(({ jah }) => jah === command.jah)!.shard!;
      const into = this.jahs.find(({ jah }) => jah === command.into)!.shard!;
      into.from = Math.min(into.from, from.from);
      into.to = Math.max(into.to, from.to);
      this.jahs.splice(
        this.jahs.findIndex(({ jah }) => jah === command.jah),
        1,
      );
    }
    assert.ok(this.jahs.length <= Math.min(cpus, max));
  }
}

test("where decoding limits, one step leads to the right number of Jahs that map", () => {
  const plant = new Plant({ map: 1 / (100 * MB), apply: 1 / (2000 * MB), cpus: 8, max: 8 });
  for (let i = 0; i < 20; i++) plant.tick(300 * MB);
  assert.is(plant.changes, 1);
  assert.ok(plant.jahs.length >= 4 && plant.jahs.length <= 5, String(plant.jahs.length));
  assert.is(plant.jahs.filter(({ shard }) => shard).length, 1);
});

test("where applying limits, the shard is split", () => {
  const plant = new Plant({ map: 1 / (400 * MB), apply: 1 / (100 * MB), cpus: 4, max: 4 });
  for (let i = 0; i < 40; i++) plant.tick(180 * MB);
  assert.ok(plant.jahs.filter(({ shard }) => shard).length >= 2);
  assert.is(plant.backlog < 100 * MB, true);
});

test("what is not needed any more is removed, down to one Jah with all partitions", () => {
  const plant = new Plant({ map: 1 / (400 * MB), apply: 1 / (100 * MB), cpus: 4, max: 4 });
  for (let i = 0; i < 40; i++) plant.tick(180 * MB);
  for (let i = 0; i < 600; i++) plant.tick(1 * MB);
  assert.equal(plant.jahs.length, 1);
  assert.equal(plant.jahs[0].shard, { from: 0, to: 256 });
});

test("a square wave of any period causes a handful of changes a minute", () => {
  for (const periodMs of [500, 1000, 3000, 10_000, 30_000, 60_000]) {
    const plant = new Plant({ map: 1 / (100 * MB), apply: 1 / (2000 * MB), cpus: 4, max: 4 });
    for (let i = 0; i < 3000; i++) plant.tick((plant.now % periodMs) * 2 < periodMs ? 250 * MB : 0);
    assert.ok(
      plant.changes / 5 <= 8,
      `${plant.changes / 5} changes a minute with a period of ${periodMs} ms`,
    );
  }
});

test("a step that does not help is taken back, and tried ever less often", () => {
  const plant = new Plant({ map: 1 / (100 * MB), apply: 0, cpus: 4, max: 4, helps: false });
  for (let i = 0; i < 3000; i++) plant.tick(150 * MB);
  assert.is(plant.jahs.length <= 4, true);
  assert.ok(plant.changes <= 20, `${plant.changes} changes in five minutes`);
});

test("max is obeyed at once", () => {
  const facts = {
    now: 0,
    min: 1,
    max: 1,
    shards: 0,
    free: 2,
    backlogBytes: 1e9,
    inBytesPerSecond: 1e9,
    outBytesPerSecond: 1e8,
    mapSecondsPerByte: 1e-8,
    applySecondsPerByte: 1e-9,
    jahs: [{ jah: 1, shard: { from: 0, to: 256 } }, { jah: 2 }],
    changing: false,
  };
  assert.equal(decideScaling(facts, NO_MEMORY).command, { type: "remove-transient", jah: 2 });
});

test.run();
