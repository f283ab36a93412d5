/** Swaps of kernels that are broken on purpose, one way each (broken.ts). */
import { Dispatch } from "../../host/hallelu/dispatch.ts";
import { Rollout } from "../../host/hallelu/rollout.ts";
import { Inbox } from "../../host/jah/inbox.ts";
import { Succession } from "../../host/jah/succession.ts";
import { type Mutant, type Open, replace } from "./broken.ts";

export const SWAP_MUTANTS: Mutant[] = [
  {
    name: "swap: a Jah that hears of it takes it for one frame later",
    where: { kind: "moves" },
    breaks: () =>
      replace(
        Succession,
        "add",
        (real) =>
          function (this: Open, version: Open) {
            real.call(this, { ...version, from: version.from + 1 });
          },
      ),
  },
  {
    name: "swap: takes over at a frame that was handed out",
    where: { kind: "storm" },
    breaks: () =>
      replace(
        Rollout,
        "nextVersionFrom",
        () =>
          function (this: Open) {
            return this.parts.shards.lowest;
          },
      ),
  },
  {
    name: "swap: takes over below the version before",
    where: { kind: "storm" },
    first: 24,
    breaks: () =>
      replace(
        Rollout,
        "nextVersionFrom",
        () =>
          function (this: Open) {
            const { shards, log } = this.parts;
            return shards.areReady ? shards.dispatch.fresh : log.next;
          },
      ),
  },
  {
    name: "swap: a Jah takes in what a version made that it has not heard of",
    where: { kind: "moves" },
    breaks: () =>
      replace(
        Inbox,
        "take",
        (real) =>
          function (this: Open, isKnown: Open) {
            return real.call(
              this,
              (routing: number, version: number) => isKnown(routing, version) || isKnown(routing, 1),
            );
          },
      ),
  },
  {
    name: "swap: state of the version before moves to a Jah of the next",
    where: { kind: "moves" },
    first: 34,
    breaks: () =>
      replace(
        Dispatch,
        "move",
        (real) =>
          function (this: Open, moves: Open) {
            return real.call(this, moves);
          },
      ),
  },
  {
    name: "roll-back: Jahs go on with the state that they have",
    where: { kind: "storm" },
    breaks: () =>
      replace(
        Rollout,
        "rollBack",
        (real) =>
          function (this: Open, ...given: Open) {
            const { kill } = this.parts;
            this.parts.kill = () => {};
            try {
              return real.apply(this, given);
            } finally {
              this.parts.kill = kill;
            }
          },
      ),
  },
];
