import * as fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Ledger, type LedgerCommand } from "../../host/congregation/ledger.ts";
import { TURN_MS } from "../../host/core/limits.ts";
import { seeded } from "../run.ts";

const test = suite("host/congregation/ledger");

const started = (commands: LedgerCommand[]) =>
  commands.filter(({ type }) => type === "start").map(({ jah }) => jah);
const claim = (jah: number, stream: string, waits = true) => ({
  jah,
  stream,
  kind: "persistent" as const,
  waits,
});

test("a claim gets a free CPU; one that does not wait is refused when there is none", () => {
  const ledger = new Ledger([0, 3]);
  assert.equal(ledger.claim(claim(1, "a"), 0), [{ type: "start", jah: 1, cpu: 0, stream: "a" }]);
  assert.equal(ledger.claim(claim(2, "b"), 0), [{ type: "start", jah: 2, cpu: 3, stream: "b" }]);
  assert.equal(ledger.claim(claim(3, "c", false), 0), [{ type: "refuse", jah: 3 }]);
  assert.is(ledger.free, 0);
});

test("a Jah is of the stream that says so, whoever claimed it", () => {
  const ledger = new Ledger([0]);
  ledger.claim(claim(1, "a/reprocess"), 0);
  ledger.claim(claim(2, "b"), 10);
  const idle = { jah: 1, kind: "persistent" as const, idleMs: 300 };
  const load = { stream: "a", min: 1, max: 1, busy: true, backlogSeconds: 0, jahs: [idle] };
  assert.equal(ledger.told([load], 20), [{ type: "reclaim", jah: 1 }]);
});

test("a CPU idles that has no Jah, or one that has nothing to do", () => {
  const ledger = new Ledger([0, 1]);
  ledger.claim(claim(1, "a"), 0);
  assert.is(ledger.hasIdle, true);
  ledger.claim(claim(2, "a"), 0);
  const load = (idleMs: number) => [
    {
      stream: "a",
      min: 1,
      max: 2,
      busy: true,
      backlogSeconds: 0,
      jahs: [
        { jah: 1, kind: "persistent" as const, idleMs: 0 },
        { jah: 2, kind: "transient" as const, idleMs },
      ],
    },
  ];
  assert.is(ledger.hasIdle, false);
  ledger.told(load(100), 0);
  assert.is(ledger.hasIdle, false, "it may have only just finished");
  ledger.told(load(300), 0);
  assert.is(ledger.hasIdle, true);
});

test("an idle Jah gives way at once, a busy one when its turn is over", () => {
  const ledger = new Ledger([0]);
  ledger.claim(claim(1, "a"), 0);
  assert.equal(ledger.claim(claim(2, "b"), 10), []);
  const load = (idleMs: number) => [
    {
      stream: "a",
      min: 1,
      max: 1,
      busy: true,
      backlogSeconds: 1,
      jahs: [{ jah: 1, kind: "persistent" as const, idleMs }],
    },
  ];
  assert.equal(ledger.told(load(0), 20), []);
  assert.equal(ledger.told(load(0), TURN_MS + 1), [{ type: "reclaim", jah: 1 }]);
  assert.equal(ledger.told(load(0), TURN_MS + 2), [], "it is not asked again at once");
  assert.equal(started(ledger.exited(1, TURN_MS + 3)), [2]);
});

test("a stream with more than its share gives first what only maps", () => {
  const ledger = new Ledger([0, 1, 2]);
  ledger.claim(claim(1, "a"), 0);
  ledger.claim({ ...claim(2, "a"), kind: "transient" }, 0);
  ledger.claim({ ...claim(3, "a"), kind: "persistent" }, 0);
  assert.equal(ledger.claim(claim(4, "b"), 1), [{ type: "reclaim", jah: 2 }]);
});

test("never more Jahs than CPUs, no CPU is lost, and every claim that waits is met if holders obey", () => {
  const event = fc.record({
    kind: fc.constantFrom("claim", "exit", "withdraw", "tell"),
    stream: fc.nat(9),
    pick: fc.nat(),
  });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4 }), fc.array(event, { maxLength: 200 }), (cpus, events) => {
      const ledger = new Ledger(Array.from({ length: cpus }, (_, i) => i));
      const held = new Map<number, number>();
      const waiting = new Set<number>();
      let leaving: number[] = [];
      let now = 0;
      let next = 1;
      const obey = (commands: LedgerCommand[]) => {
        for (const command of commands) {
          if (command.type === "reclaim") leaving.push(command.jah);
          else if (command.type === "start") {
            assert.not.ok([...held.values()].includes(command.cpu), "two Jahs on a CPU");
            held.set(command.jah, command.cpu);
            waiting.delete(command.jah);
          } else waiting.delete(command.jah);
        }
        assert.ok(held.size <= cpus);
        assert.is(ledger.free, cpus - held.size);
      };
      const exit = (jah: number) => {
        held.delete(jah);
        leaving = leaving.filter((each) => each !== jah);
        obey(ledger.exited(jah, now));
      };
      for (const { kind, stream, pick } of events) {
        now += 50;
        if (kind === "claim") {
          waiting.add(next);
          obey(ledger.claim(claim(next++, `s${stream}`, pick % 4 > 0), now));
        } else if (kind === "exit" && held.size) exit([...held.keys()][pick % held.size]);
        else if (kind === "withdraw" && waiting.size) {
          const jah = [...waiting][pick % waiting.size];
          waiting.delete(jah);
          ledger.withdraw(jah);
        } else obey(ledger.told([], now));
      }
      for (let i = 0; waiting.size; i++) {
        assert.ok(i < 2000, `claims that are never met: ${[...waiting].join(" ")}`);
        now += 100;
        obey(ledger.told([], now));
        for (const jah of leaving) exit(jah);
        // What is left belongs to one stream alone, which has all CPUs: it ends some day.
        if (i > 1000 && held.size) exit([...held.keys()][0]);
      }
    }),
    seeded(200),
  );
});

test.run();
