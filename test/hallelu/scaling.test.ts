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

/** More to do than two Jahs that hold shards, and one that maps, can do. */
const BUSY: StreamFacts = {
  now: 0,
  min: 1,
  max: 8,
  shards: 0,
  free: 4,
  backlogBytes: 1e9,
  changing: false,
  saving: false,
  measuredSeconds: 9,
  inBytesPerSecond: 3e8,
  outBytesPerSecond: 1e8,
  mapSecondsPerByte: 4e-9,
  applySecondsPerByte: 1e-8,
  jahs: [{ jah: 1, shard: { from: 0, to: 128 } }, { jah: 2 }, { jah: 3, shard: { from: 128, to: 256 } }],
};
/** One that holds all, and one that maps. */
const PAIR: StreamFacts["jahs"] = [{ jah: 1, shard: { from: 0, to: 256 } }, { jah: 2 }];

/** A stream on virtual time: what comes in by the rule `load`, what goes out by what its Jahs can do. */
class Plant {
  now = 0;
  backlog = 0;
  readonly jahs: StreamFacts["jahs"] = [{ jah: 0, shard: { from: 0, to: 256 } }];
  changes = 0;
  /** Steps that added Jahs. */
  additions = 0;
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
        measuredSeconds: this.now / 1000,
        jahs: this.jahs,
        changing: false,
        saving: false,
      },
      this.memory,
    );
    this.memory = memory;
    if (command.type !== "none") this.changes++;
    if (command.type === "add-transient" || command.type === "split") this.additions++;
    if (command.type === "add-transient")
      for (let i = 0; i < command.count; i++) this.jahs.push({ jah: this.next++ });
    else if (command.type === "remove-transient")
      for (const jah of command.jahs)
        this.jahs.splice(
          this.jahs.findIndex((each) => each.jah === jah),
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

test("a step that does not help is taken back, all of it, and tried ever less often", () => {
  const plant = new Plant({ map: 1 / (100 * MB), apply: 0, cpus: 4, max: 4, helps: false });
  let busyTicks = 0;
  for (let i = 0; i < 3000; i++) {
    plant.tick(150 * MB);
    if (plant.jahs.length > 1) busyTicks++;
  }
  assert.ok(plant.additions <= 8, `${plant.additions} additions in five minutes`);
  assert.ok(busyTicks < 300, `${busyTicks / 10} s of five minutes with Jahs that do not help`);
});

test("what is taken back is what was added: a shard that was split off joins again, helpers before it stay", () => {
  const facts = { ...BUSY, jahs: PAIR };
  const first = decideScaling(facts, NO_MEMORY);
  assert.equal(first.command, { type: "split", jah: 1, at: 128 });
  const jahs = [
    { jah: 1, shard: { from: 0, to: 128 } },
    { jah: 2 },
    { jah: 3, shard: { from: 128, to: 256 } },
  ];
  const second = decideScaling({ ...facts, jahs, free: 0, now: 3100 }, first.memory);
  assert.equal(second.command, { type: "join", jah: 3, into: 1 });
  const after = decideScaling({ ...facts, free: 1, now: 3400 }, second.memory);
  assert.equal(after.command, { type: "none" }, "and it is not tried again at once");
});

test("shards between which another one is unavailable are never joined", () => {
  const facts = { ...BUSY, max: 1, free: 0, backlogBytes: 0, inBytesPerSecond: 0, outBytesPerSecond: 0 };
  const apart = [
    { jah: 1, shard: { from: 0, to: 64 } },
    { jah: 2, shard: { from: 128, to: 256 } },
  ];
  assert.equal(decideScaling({ ...facts, jahs: apart }, NO_MEMORY).command, { type: "none" });
  const jahs = [...apart, { jah: 3, shard: { from: 64, to: 80 } }];
  assert.equal(decideScaling({ ...facts, jahs }, NO_MEMORY).command, { type: "join", jah: 3, into: 1 });
});

test("a step that was refused is not held against the Jahs that are there", () => {
  const facts = {
    ...BUSY,
    max: 4,
    free: 1,
    outBytesPerSecond: 2e8,
    mapSecondsPerByte: 1e-8,
    applySecondsPerByte: 1e-9,
    jahs: PAIR,
  };
  const asked = decideScaling(facts, NO_MEMORY);
  assert.equal(asked.command, { type: "add-transient", count: 1 });
  for (let { memory } = asked, now = 100; now < 10_000; now += 100) {
    const decided = decideScaling({ ...facts, free: 0, now }, memory);
    assert.equal(decided.command, { type: "none" });
    memory = decided.memory;
  }
});

test("one Jah more of many is kept for the little that it can bring", () => {
  const plant = new Plant({ map: 1 / (10 * MB), apply: 1 / (10_000 * MB), cpus: 21, max: 21 });
  for (let i = 0; i < 20; i++) plant.tick(190 * MB);
  const before = plant.jahs.length;
  for (let i = 0; i < 100; i++) plant.tick(230 * MB);
  assert.ok(before < 21 && plant.jahs.length === 21, `${before}, then ${plant.jahs.length}`);
});

test("max is obeyed at once", () => {
  const facts = {
    ...BUSY,
    max: 1,
    free: 2,
    inBytesPerSecond: 1e9,
    mapSecondsPerByte: 1e-8,
    applySecondsPerByte: 1e-9,
    measuredSeconds: 1,
    jahs: PAIR,
  };
  assert.equal(decideScaling(facts, NO_MEMORY).command, { type: "remove-transient", jahs: [2] });
});

test("while state that moved is saved, Jahs that only map come and go, and no other state moves", () => {
  const decide = (facts: Partial<StreamFacts>, memory: Partial<ScalingMemory> = {}) =>
    decideScaling({ ...BUSY, ...facts }, { ...NO_MEMORY, ...memory }).command;
  const mapping = { mapSecondsPerByte: 1e-8, applySecondsPerByte: 1e-9 };
  const owners = BUSY.jahs.filter(({ shard }) => shard);
  const calm = { backlogBytes: 0, inBytesPerSecond: 1e6, jahs: owners, now: 9000 };
  assert.is(decide({}).type, "split");
  assert.is(decide({ jahs: owners, max: 1 }).type, "join");
  assert.is(decide(calm, { calmSince: 0 }).type, "join");
  assert.is(decide({ shards: 1 }).type, "join");
  const saving = true;
  assert.equal(decide({ saving }), { type: "none" });
  assert.equal(decide({ saving, jahs: owners, max: 1 }), { type: "none" });
  assert.equal(decide({ ...calm, saving }, { calmSince: 0 }), { type: "none" });
  assert.equal(decide({ saving, shards: 1 }), { type: "none" });
  assert.is(decide({ ...mapping, saving }).type, "add-transient");
  assert.equal(decide({ saving, max: 1 }), { type: "remove-transient", jahs: [2] });
});

test("a shard that is not needed is joined as soon as state may move again", () => {
  const facts = {
    ...BUSY,
    backlogBytes: 0,
    inBytesPerSecond: 1e6,
    jahs: BUSY.jahs.filter(({ shard }) => shard),
  };
  const since = decideScaling({ ...facts, saving: true }, NO_MEMORY);
  const due = decideScaling({ ...facts, saving: true, now: 4000 }, since.memory);
  assert.equal(due.command, { type: "none" });
  assert.is(decideScaling({ ...facts, now: 4100 }, due.memory).command.type, "join");
});

test("of what did not help, Jahs that only map go while state is saved, and the shard when it is", () => {
  const memory = { ...NO_MEMORY, step: { rate: 1e8, jahs: 1, shards: 1 }, changedAt: 0 };
  const first = decideScaling({ ...BUSY, saving: true, now: 3000 }, memory);
  assert.equal(first.command, { type: "remove-transient", jahs: [2] });
  const jahs = BUSY.jahs.filter(({ jah }) => jah !== 2);
  const second = decideScaling({ ...BUSY, jahs, saving: true, now: 3100 }, first.memory);
  assert.equal(second.command, { type: "none" });
  const third = decideScaling({ ...BUSY, jahs, now: 3200 }, second.memory);
  assert.equal(third.command, { type: "join", jah: 3, into: 1 });
});

test("a step is judged by a rate over time in which nothing changed", () => {
  const rates = { poor: 1e8, good: 2e8 };
  /** What a step is that changes things for 5 s, with one rate while it does and another one later. */
  const run = (during: number, later: number) => {
    const jahs = [BUSY.jahs[0], BUSY.jahs[2]];
    let { memory } = decideScaling({ ...BUSY, jahs: [{ jah: 1, shard: { from: 0, to: 256 } }] }, NO_MEMORY);
    for (let now = 100; now < 7900; now += 100) {
      const changing = now <= 5000;
      const outBytesPerSecond = changing ? during : later;
      const decided = decideScaling({ ...BUSY, jahs, free: 0, now, changing, outBytesPerSecond }, memory);
      assert.equal(decided.command, { type: "none" }, `at ${now} ms`);
      memory = decided.memory;
    }
    return decideScaling({ ...BUSY, jahs, free: 0, now: 8000, outBytesPerSecond: later }, memory).command;
  };
  assert.equal(run(rates.good, rates.poor), { type: "join", jah: 3, into: 1 });
  assert.equal(run(rates.poor, rates.good), { type: "none" });
});

test("where Jahs have just changed, a large step is held against what they should do", () => {
  const jahs: StreamFacts["jahs"] = [{ jah: 1, shard: { from: 0, to: 256 } }];
  const facts = { ...BUSY, now: 10_000, jahs, outBytesPerSecond: 1e6 };
  const memory = { ...NO_MEMORY, behindSince: 0 };
  assert.is(decideScaling(facts, memory).memory.step?.rate, 1e6);
  const should = 1 / (facts.mapSecondsPerByte + facts.applySecondsPerByte);
  assert.is(decideScaling(facts, { ...memory, changedAt: 9000 }).memory.step?.rate, should);
});

test.run();
