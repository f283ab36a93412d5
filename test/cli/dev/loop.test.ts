/** The loop of `dev` on a clock of the test's: when it builds, what it compares with, what it stops. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { Result } from "../../../host/cli/dev/changes.ts";
import { GONE_MS, Loop, SETTLE_MS, type Shown } from "../../../host/cli/dev/loop.ts";
import { HallelujahError } from "../../../host/core/errors.ts";

const test = suite("cli/dev: the loop");

const resultOf = (text: string): Result => ({ rows: [{ text }], more: false, notes: [] });

/** A loop over one text, which stands for the sources. Texts that begin with ! do not build, with ? never end by themselves. */
class Bench {
  text: string | undefined = "a";
  time = 0;
  readonly shown: Shown[] = [];
  readonly built: string[] = [];
  /** Runs that have begun and not ended. */
  atWork = 0;
  private timers: { at: number; call: () => void }[] = [];
  readonly loop = new Loop<string>({
    read: () => this.text,
    build: async () => {
      const text = this.text ?? "!gone";
      this.built.push(text);
      if (text.startsWith("*")) throw new TypeError("a mistake of the engine");
      if (text.startsWith("!")) throw new HallelujahError("kernel-invalid", `${text} is wrong`);
      return text;
    },
    rerun: async (built, signal) => {
      this.atWork++;
      assert.is(this.atWork, 1, "one run at a time");
      if (built.startsWith("?")) await new Promise((done) => signal.addEventListener("abort", done));
      await this.pause();
      this.atWork--;
      if (signal.aborted) throw new HallelujahError("aborted", "stopped");
      return resultOf(built);
    },
    show: (shown) => void this.shown.push(shown),
    after: (ms, call) => {
      const timer = { at: this.time + ms, call };
      this.timers.push(timer);
      return () => void (this.timers = this.timers.filter((each) => each !== timer));
    },
    now: () => this.time,
  });

  /** Lets promises that are settled go on. */
  async pause(): Promise<void> {
    for (let i = 0; i < 20; i++) await Promise.resolve();
  }

  async pass(ms: number): Promise<void> {
    this.time += ms;
    const due = this.timers.filter(({ at }) => at <= this.time);
    this.timers = this.timers.filter((timer) => !due.includes(timer));
    for (const { call } of due) call();
    for (let i = 0; i < 10; i++) await this.pause();
  }

  async save(text: string | undefined): Promise<void> {
    this.text = text;
    this.loop.touched();
    await this.pass(text === undefined ? GONE_MS : SETTLE_MS);
  }

  /** What was answered, each with what it was compared with, and errors. */
  story(): string[] {
    const textOf = (result: Result | undefined) => result?.rows[0].text ?? "nothing";
    return this.shown.flatMap((shown) => {
      if (shown.kind === "working") return [];
      if (shown.kind === "answer") return [`${textOf(shown.result)} after ${textOf(shown.before)}`];
      return [`${shown.message}; ${textOf(shown.last)} of ${shown.lastRound} stays`];
    });
  }
}

test("each save is built, run, and compared with the answer before", async () => {
  const bench = new Bench();
  bench.loop.start();
  await bench.pass(0);
  await bench.save("b");
  await bench.save("c");
  assert.equal(bench.story(), ["a after nothing", "b after a", "c after b"]);
});

test("what is touched and has the same text is not run again", async () => {
  const bench = new Bench();
  bench.loop.start();
  await bench.pass(0);
  for (let i = 0; i < 3; i++) await bench.save("a");
  assert.equal(bench.built, ["a"]);
});

test("what is written in pieces is built once, when it is at rest", async () => {
  const bench = new Bench();
  bench.loop.start();
  await bench.pass(0);
  bench.text = "";
  bench.loop.touched();
  await bench.pass(SETTLE_MS - 1);
  for (const text of ["b", "bc", "bcd"]) {
    bench.text = text;
    bench.loop.touched();
    await bench.pass(SETTLE_MS);
  }
  assert.equal(bench.built, ["a"]);
  await bench.pass(SETTLE_MS);
  assert.equal(bench.built, ["a", "bcd"]);
  const last = bench.shown.at(-1)!;
  assert.is(last.kind === "answer" && last.ms, 5 * SETTLE_MS - 1, "counted from the first sign of it");
});

test("other files of the folder that change all the time hold nothing up", async () => {
  const bench = new Bench();
  bench.loop.start();
  await bench.pass(0);
  bench.text = "b";
  for (let i = 0; i < SETTLE_MS; i++) {
    bench.loop.touched();
    await bench.pass(1);
  }
  assert.equal(bench.built, ["a", "b"]);
});

test("an error leaves the last good answer, and the next good one is compared with that", async () => {
  const bench = new Bench();
  bench.loop.start();
  await bench.pass(0);
  await bench.save("!b");
  await bench.save("!c");
  await bench.save("d");
  assert.equal(bench.story(), [
    "a after nothing",
    "!b is wrong; a of 1 stays",
    "!c is wrong; a of 1 stays",
    "d after a",
  ]);
});

test("a kernel that is wrong at first has nothing to stay", async () => {
  const bench = new Bench();
  bench.text = "!a";
  bench.loop.start();
  await bench.pass(0);
  await bench.save("b");
  assert.equal(bench.story(), ["!a is wrong; nothing of 0 stays", "b after nothing"]);
});

test("a file that is gone for a moment is not missed, one that stays away is", async () => {
  const bench = new Bench();
  bench.loop.start();
  await bench.pass(0);
  bench.text = undefined;
  bench.loop.touched();
  await bench.pass(GONE_MS / 2);
  bench.text = "a";
  await bench.pass(GONE_MS);
  assert.equal(bench.built, ["a"]);
  await bench.save(undefined);
  await bench.save("a");
  assert.equal(bench.story(), ["a after nothing", "!gone is wrong; a of 1 stays", "a after a"]);
});

test("a save stops a run that never ends, which is gone before the next begins", async () => {
  const bench = new Bench();
  bench.text = "?a";
  bench.loop.start();
  await bench.pass(0);
  assert.is(bench.atWork, 1);
  await bench.save("b");
  assert.is(bench.atWork, 0);
  assert.equal(bench.story(), ["b after nothing"]);
});

test("a save that is undone while it is run is run again", async () => {
  const bench = new Bench();
  bench.loop.start();
  await bench.pass(0);
  await bench.save("?b");
  await bench.save("a");
  assert.equal(bench.story(), ["a after nothing", "a after a"]);
});

test("saves that are stopped before their turn are never built", async () => {
  const bench = new Bench();
  bench.text = "?a";
  bench.loop.start();
  await bench.pass(0);
  await bench.save("?b");
  await bench.save("?c");
  await bench.save("d");
  assert.equal(bench.built, ["?a", "?b", "?c", "d"]);
  assert.equal(bench.story(), ["d after nothing"]);
});

test("it stops with the run that is under way, and begins no other", async () => {
  const bench = new Bench();
  bench.text = "?a";
  bench.loop.start();
  await bench.pass(0);
  bench.text = "b";
  bench.loop.touched();
  await bench.loop.stop();
  assert.is(bench.atWork, 0);
  bench.loop.touched();
  await bench.pass(GONE_MS);
  assert.equal(bench.built, ["?a"]);
  assert.equal(bench.story(), []);
});

test("a mistake of the engine ends it rather than being shown as the kernel's", async () => {
  const bench = new Bench();
  bench.text = "*";
  bench.loop.start();
  const error = await bench.loop.failure.catch((cause: unknown) => cause);
  assert.instance(error, TypeError);
  assert.equal(bench.story(), []);
});

test.run();
