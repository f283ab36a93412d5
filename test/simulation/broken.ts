/**
 * Parts of a host that are broken on purpose, one way each: what the simulation is for is to find them out. A mutant
 * changes a class for a while; what it answers undoes that.
 */
import { Ledger } from "../../host/congregation/ledger.ts";
import { Checkpoints } from "../../host/hallelu/checkpoints.ts";
import { DeadLetters } from "../../host/hallelu/dead-letters.ts";
import { FrameCounts } from "../../host/hallelu/counts.ts";
import { Dispatch } from "../../host/hallelu/dispatch.ts";
import { Progress } from "../../host/hallelu/progress.ts";
import { Scaler } from "../../host/hallelu/scaler.ts";
import type { ScalingMemory } from "../../host/hallelu/scaling.ts";
import { Shards } from "../../host/hallelu/shards.ts";
import { Stream } from "../../host/hallelu/stream.ts";
import { Checkpointer } from "../../host/jah/checkpointer.ts";
import { Inbox } from "../../host/jah/inbox.ts";
import { Log } from "../../host/store/log.ts";
import { SegmentIndex } from "../../host/store/log-index.ts";
import { scanSegment, windowOf } from "../../host/store/log-scan.ts";
import { PageVersions } from "../../host/store/page-versions.ts";
import { Segment } from "../../host/store/segment.ts";
import type { Scenario } from "./scenario.ts";

export interface Mutant {
  name: string;
  /** Where it shows. */
  where: Partial<Scenario>;
  /** The first seed that is tried, where those before are known not to show it. */
  first?: number;
  breaks: () => () => void;
}

// biome-ignore lint/suspicious/noExplicitAny: a mutant reaches what is private
export type Open = any;

/** Puts `make(the method that is there)` in its place. */
export function replace<T>(type: { prototype: T }, name: string, make: (real: Open) => Open): () => void {
  const prototype = type.prototype as Open;
  const real = Object.getOwnPropertyDescriptor(prototype, name)!;
  const changed = make(real.value ?? real.get);
  Object.defineProperty(prototype, name, {
    ...real,
    ...(real.value ? { value: changed } : { get: changed }),
  });
  return () => Object.defineProperty(prototype, name, real);
}

/** Has the scaler remember something else. */
function remember(change: (memory: ScalingMemory) => Partial<ScalingMemory>): () => void {
  return replace(
    Scaler,
    "tick",
    (real) =>
      function (this: Open, now: number) {
        real.call(this, now);
        this.memory = { ...this.memory, ...change(this.memory) };
      },
  );
}

export const MUTANTS: Mutant[] = [
  {
    name: "dead letters: a frame is passed before the registry knows that it is set aside",
    where: { kind: "storm" },
    breaks: () => {
      const restore = [
        replace(Dispatch, "withhold", () => () => {}),
        replace(
          DeadLetters,
          "setAside",
          (real) =>
            function (this: Open, ...given: Open) {
              const letter = real.apply(this, given);
              this.letters.push(letter);
              return letter;
            },
        ),
        replace(
          DeadLetters,
          "kept",
          () =>
            function (this: Open, letter: Open) {
              this.pending.delete(letter);
              this.told.delete(letter);
            },
        ),
      ];
      return () => {
        for (const each of restore) each();
      };
    },
  },
  {
    name: "dead letters: what a shard has had is set aside with the rest",
    where: { kind: "storm" },
    first: 10,
    breaks: () => replace(Dispatch, "hadFrame", () => () => false),
  },
  {
    name: "ledger: counts one CPU more than there is",
    where: { kind: "crowd" },
    breaks: () =>
      replace(
        Ledger,
        "free",
        (real) =>
          function (this: Open) {
            return real.call(this) + 1;
          },
      ),
  },
  {
    name: "ledger: does not hear now and then that a process ended",
    where: { kind: "storm" },
    breaks: () =>
      replace(
        Ledger,
        "exited",
        (real) =>
          function (this: Open, jah: number, now: number) {
            return jah % 7 ? real.call(this, jah, now) : [];
          },
      ),
  },
  {
    name: "ledger: forgets now and then a claim that waits",
    where: { kind: "storm" },
    breaks: () =>
      replace(
        Ledger,
        "claim",
        (real) =>
          function (this: Open, claim: { jah: number; waits: boolean }, now: number) {
            return claim.waits && claim.jah % 5 === 0 ? [] : real.call(this, claim, now);
          },
      ),
  },
  {
    name: "ledger: whoever waits is met last in, first out",
    where: { kind: "crowd" },
    breaks: () =>
      replace(
        Ledger,
        "settle",
        (real) =>
          function (this: Open, now: number) {
            this.waiting.reverse();
            const commands = real.call(this, now);
            this.waiting.reverse();
            return commands;
          },
      ),
  },
  {
    name: "ledger: nobody's turn is ever over",
    where: { kind: "crowd" },
    first: 8,
    breaks: () => replace(Ledger, "victim", () => () => undefined),
  },
  {
    name: "dispatch: the frames of a lost Jah are not handed out again",
    where: { kind: "moves" },
    breaks: () =>
      replace(
        Dispatch,
        "lost",
        (real) =>
          function (this: Open, jah: number) {
            const before = this.lanes.map(({ again }: Open) => [...again]);
            const owned = real.call(this, jah);
            this.lanes.forEach((lane: Open, i: number) => {
              lane.again = before[i] ?? [];
            });
            return owned;
          },
      ),
  },
  {
    name: "dispatch: a lost shard is replayed from one frame too late",
    where: { kind: "storm" },
    breaks: () =>
      replace(
        Dispatch,
        "recover",
        (real) =>
          function (this: Open, target: Open, start: number) {
            real.call(this, target, start + 1);
          },
      ),
  },
  {
    name: "dispatch: a lost shard is not replayed",
    where: { kind: "storm" },
    breaks: () =>
      replace(
        Dispatch,
        "recover",
        (real) =>
          function (this: Open, lost: Open, jah: number, start: number) {
            real.call(this, lost, jah, start);
            this.lanes = this.lanes.filter((lane: Open) => lane === this.open);
          },
      ),
  },
  {
    name: "counts: a frame that is mapped again counts again",
    where: { kind: "storm" },
    breaks: () =>
      replace(
        FrameCounts,
        "set",
        () =>
          function (this: Open, _frame: number, { records = 0 }: { records?: number }) {
            this.total.records += records;
          },
      ),
  },
  {
    name: "counts: a checkpoint remembers those of frames beyond it",
    where: { kind: "storm" },
    breaks: () =>
      replace(
        FrameCounts,
        "below",
        () =>
          function (this: Open) {
            return { ...this.total };
          },
      ),
  },
  {
    name: "checkpoints: the donor's is made durable before the receiver's",
    where: { kind: "moves" },
    breaks: () => replace(Checkpoints, "holdBack", () => () => {}),
  },
  {
    name: "pages: what says that a checkpoint is whole is written before its pages",
    where: { kind: "storm" },
    breaks: () => {
      let late: (() => Promise<void>)[] = [];
      const restore = [
        replace(
          PageVersions,
          "writePages",
          (real) =>
            async function (this: Open, pages: Uint32Array, bytes: ArrayBuffer) {
              const number = this.next;
              const copy = bytes.slice(0);
              for (const page of pages) this.written.add(page);
              late.push(async () => {
                const { next } = this;
                this.next = number;
                await real.call(this, pages, copy);
                this.next = next;
              });
            },
        ),
        replace(
          PageVersions,
          "writeRecord",
          (real) =>
            async function (this: Open, ...given: Open) {
              await real.apply(this, given);
              const pages = late;
              late = [];
              for (const write of pages) await write();
            },
        ),
      ];
      return () => {
        for (const each of restore) each();
      };
    },
  },
  {
    name: "pages: those of the checkpoint before go before the new one is whole",
    where: { kind: "storm" },
    breaks: () =>
      replace(
        PageVersions,
        "writeRecord",
        (real) =>
          async function (this: Open, record: Open, kept: Open) {
            await this.database.write((batch: Open) => this.deleteAllBut([record], batch), false);
            await real.call(this, record, kept);
          },
      ),
  },
  {
    name: "pages: work goes on while some of them are still to be copied",
    where: { kind: "storm" },
    breaks: () => replace(Checkpointer, "blocks", () => () => false),
  },
  {
    name: "pages: what says that a checkpoint is whole is not synced",
    where: { kind: "storm" },
    breaks: () =>
      replace(
        PageVersions,
        "writeRecord",
        () =>
          async function (this: Open, record: Open, kept: Open) {
            await this.sweep();
            const fill = (batch: Open) => {
              this.putRecord(record, batch);
              this.deleteAllBut(kept, batch);
            };
            await this.database.write(fill, false);
          },
      ),
  },
  {
    name: "log: an append is answered before it is synced",
    where: { kind: "storm" },
    breaks: () =>
      replace(
        Log,
        "writeOrCut",
        (real) =>
          async function (this: Open, ...given: Open) {
            const { disk } = this;
            this.disk = { ...disk, datasync: async () => {} };
            await real.apply(this, given).finally(() => (this.disk = disk));
          },
      ),
  },
  {
    name: "log: a torn tail is believed",
    where: { kind: "storm" },
    first: 61,
    breaks: () =>
      replace(
        Segment,
        "scan",
        () =>
          function (this: Open, fd: number, size: number) {
            const { path, first } = this;
            const window = windowOf(this.files, fd, size, false);
            const at = this.startOf(window);
            const index = new SegmentIndex();
            // As if another segment followed, which says that all of this one was synced.
            const until = Number.MAX_SAFE_INTEGER;
            const scanned = scanSegment(window, { path, at, first, index, until, whole: false });
            this.isScanned = true;
            this.take({ ...scanned, damages: [] });
            return {};
          },
      ),
  },
  {
    name: "log: segments are removed before it is certain that those before them are gone",
    where: { kind: "moves", cpus: 2, ms: 40_000 },
    first: 194,
    breaks: () =>
      replace(
        Log,
        "trimNow",
        (real) =>
          async function (this: Open, below: number) {
            const { disk } = this;
            this.disk = { ...disk, syncFolder: async () => {} };
            await real.call(this, below).finally(() => (this.disk = disk));
          },
      ),
  },
  {
    name: "shards: the registry is told of a move before it is saved",
    where: { kind: "moves" },
    breaks: () =>
      replace(
        Stream,
        "holdBack",
        (real) =>
          function (this: Open, donor: Open, frame: number) {
            real.call(this, donor, frame);
            const { targets } = this.dispatch.routing;
            for (const { jah } of targets) {
              const receiver = this.jahs.get(jah);
              if (receiver && receiver !== donor) this.shards.moved(receiver, frame);
            }
          },
      ),
  },
  {
    name: "shards: whoever has a part of a lost folder is not ended",
    where: { kind: "moves" },
    breaks: () => {
      const restore = [
        replace(Shards, "entangled", () => () => []),
        replace(Scaler, "lost", () => () => undefined),
      ];
      return () => {
        for (const each of restore) each();
      };
    },
  },
  {
    name: "inbox: takes whatever came first",
    where: { kind: "storm" },
    breaks: () =>
      replace(
        Inbox,
        "take",
        (real) =>
          function (this: Open, isKnown: Open) {
            const [first] = this.waiting.keys();
            if (first !== undefined) this.next = first;
            return real.call(this, isKnown);
          },
      ),
  },
  {
    name: "inbox: takes again what it has applied",
    where: { kind: "storm" },
    breaks: () =>
      replace(
        Inbox,
        "take",
        (real) =>
          function (this: Open, isKnown: Open) {
            const batch = real.call(this, isKnown);
            if (batch?.frame % 50 === 49) this.next--;
            return batch;
          },
      ),
  },
  {
    name: "inbox: takes entries before the state that they belong to has moved",
    where: { kind: "moves" },
    breaks: () =>
      replace(
        Inbox,
        "take",
        (real) =>
          function (this: Open) {
            return real.call(this);
          },
      ),
  },
  {
    name: "progress: a query is told at once that it waited too long",
    where: { kind: "storm" },
    breaks: () => replace(Progress, "reaches", () => async () => false),
  },
  {
    name: "scaler: a step that was refused or lost is never over",
    where: { kind: "storm" },
    breaks: () => {
      const restore = [
        replace(Scaler, "refused", () => () => {}),
        replace(Scaler, "lost", () => () => undefined),
      ];
      return () => {
        for (const each of restore) each();
      };
    },
  },
  {
    name: "scaling: a Jah is removed as soon as fewer would do",
    where: { kind: "waves" },
    breaks: () => remember(() => ({ calmMs: 0 })),
  },
  {
    name: "scaling: a step that did not help stays",
    where: { kind: "vain" },
    breaks: () => remember(() => ({ step: undefined })),
  },
  {
    name: "scaling: of a step that did not help only one Jah is taken back",
    where: { kind: "vain" },
    breaks: () => {
      let first = true;
      return remember(({ undo }) => {
        const again = undo && !first;
        first = !undo;
        return again ? { undo: undefined } : {};
      });
    },
  },
];
