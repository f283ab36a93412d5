/** What comes of versions on trial, broken on purpose, one way each (broken.ts): their output and their state. */
import { Progress } from "../../host/hallelu/progress.ts";
import { Versions } from "../../host/hallelu/versions.ts";
import { Assembler } from "../../host/shuffle/assembler.ts";
import { type Mutant, type Open, replace } from "./broken.ts";
import { SimulatedJah } from "./jah.ts";

export const OUTPUT_MUTANTS: Mutant[] = [
  {
    name: "outputs: what is on trial is put out",
    where: { kind: "moves" },
    breaks: () => replace(Progress, "keepOutput", () => () => {}),
  },
  {
    name: "outputs: what was kept of a version stays when it is rolled back",
    where: { kind: "storm" },
    breaks: () => replace(Progress, "rewind", () => () => {}),
  },
  {
    name: "outputs: those of a version that was rolled back come with those of the next one",
    where: { kind: "storm" },
    breaks: () =>
      replace(
        Progress,
        "rewind",
        () =>
          function (this: Open, frame: number) {
            this.assembler.rewind(frame);
          },
      ),
  },
  {
    name: "outputs: a checkpoint does not wait for them",
    where: { kind: "moves" },
    breaks: () => replace(Progress, "outputUpTo", () => async () => {}),
  },
  {
    name: "outputs: what owners of other partitions tell again is dropped",
    where: { kind: "moves" },
    first: 8,
    breaks: () =>
      replace(
        Assembler,
        "applied",
        (real) =>
          function (this: Open, output: Open) {
            const owners = this.pending.get(output.frame)?.owners ?? [];
            const isKnown = owners.some(({ from, to }: Open) => from < output.to && output.from < to);
            return isKnown ? [] : real.call(this, output);
          },
      ),
  },
  {
    name: "swap: takes over at frames that are put out",
    where: { kind: "storm" },
    breaks: () => replace(Progress, "putOutBelow", () => () => 0),
  },
  {
    name: "trial: state on trial is saved",
    where: { kind: "moves" },
    breaks: () =>
      replace(
        SimulatedJah,
        "maySave",
        (real) =>
          function (this: Open) {
            const { confirmed } = this;
            this.confirmed = Infinity;
            const may = real.call(this);
            this.confirmed = confirmed;
            return may;
          },
      ),
  },
  {
    name: "trial: Jahs that come are told that it is over",
    where: { kind: "moves" },
    breaks: () =>
      replace(
        Versions,
        "confirmed",
        () =>
          function (this: Open) {
            return this.current.version;
          },
      ),
  },
];
