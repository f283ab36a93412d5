/** Reprocesses that are broken on purpose, one way each (broken.ts). */
import { Drain } from "../../host/hallelu/drain.ts";
import { Jahs } from "../../host/hallelu/jahs.ts";
import { Progress } from "../../host/hallelu/progress.ts";
import { Reprocess, succeeded } from "../../host/hallelu/reprocess.ts";
import { Reprocesses } from "../../host/hallelu/reprocesses.ts";
import { Rollout } from "../../host/hallelu/rollout.ts";
import { Stream } from "../../host/hallelu/stream.ts";
import { type Mutant, type Open, replace } from "./broken.ts";

export const REPROCESS_MUTANTS: Mutant[] = [
  {
    name: "reprocess: begins while its stream's kernel is on trial",
    where: { kind: "storm" },
    breaks: () => replace(Rollout, "untrialled", () => async () => {}),
  },
  {
    name: "reprocess: green takes over and blue is not held",
    where: { kind: "moves" },
    first: 6,
    breaks: () => replace(Drain, "holdFresh", () => () => () => {}),
  },
  {
    name: "reprocess: the cut is where blue is to come yet",
    where: { kind: "moves" },
    first: 8,
    breaks: () =>
      replace(
        Drain,
        "boundary",
        () =>
          async function (this: Open) {
            return this.parts.shards.dispatch.fresh;
          },
      ),
  },
  {
    name: "reprocess: the cut is one frame too late",
    where: { kind: "moves" },
    first: 6,
    breaks: () =>
      replace(
        Reprocesses,
        "takeOver",
        (real) =>
          function (this: Open, running: Open, cut: number) {
            return real.call(this, running, cut + 1);
          },
      ),
  },
  {
    name: "reprocess: the cut is one frame too early",
    where: { kind: "moves" },
    breaks: () =>
      replace(
        Reprocesses,
        "takeOver",
        (real) =>
          function (this: Open, running: Open, cut: number) {
            return real.call(this, running, cut - 1);
          },
      ),
  },
  {
    name: "reprocess: green passes blue",
    where: { kind: "moves" },
    first: 6,
    breaks: () =>
      replace(
        Stream,
        "head",
        () =>
          function (this: Open) {
            return this.log.next;
          },
      ),
  },
  {
    name: "reprocess: green does not know what blue has answered",
    where: { kind: "storm" },
    first: 21,
    breaks: () =>
      replace(
        Stream,
        "succeed",
        (real) =>
          function (this: Open, before: Open, record: Open) {
            real.call(this, before, record);
            this.answered = record.begin ?? 0;
          },
      ),
  },
  {
    name: "reprocess: the registry is told when green is in blue's place already",
    where: { kind: "moves" },
    first: 6,
    breaks: () =>
      replace(
        Reprocesses,
        "takeOver",
        () =>
          async function (this: Open, running: Open, cut: number) {
            const { stream: blue, reprocess } = running;
            const { green } = reprocess;
            const record = succeeded(blue.record, green.record, cut);
            running.stream = green;
            running.reprocess = undefined;
            green.succeed(blue, record);
            await this.host.registry.put(`streams/${green.name}`, structuredClone(record));
            this.dropOld(running, blue);
          },
      ),
  },
  {
    name: "reprocess: green puts out what blue has put out",
    where: { kind: "moves" },
    breaks: () =>
      replace(
        Progress,
        "emit",
        (real) =>
          function (this: Open, complete: Open) {
            const { record } = this;
            this.record = Object.create(record, { cut: { value: 0 } });
            real.call(this, complete);
            this.record = record;
          },
      ),
  },
  {
    name: "reprocess: blue stays",
    where: { kind: "moves" },
    first: 6,
    breaks: () => replace(Stream, "retire", () => () => {}),
  },
  {
    name: "reprocess: green goes on when it is cancelled",
    where: { kind: "moves" },
    first: 8,
    breaks: () => replace(Reprocess, "remove", () => async () => false),
  },
  {
    name: "reprocess: folders are removed that Jahs have open",
    where: { kind: "moves" },
    first: 4,
    breaks: () => replace(Jahs, "isEnding", () => () => false),
  },
];
