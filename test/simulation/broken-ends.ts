/** What a stream does while it is removed or closed, broken on purpose, one way each (broken.ts). */
import { Reprocess } from "../../host/hallelu/reprocess.ts";
import { Stream } from "../../host/hallelu/stream.ts";
import { type Mutant, type Open, replace } from "./broken.ts";

/** How long a stream goes on when it is removed, ms. */
const GOES_ON_MS = 2000;

export const END_MUTANTS: Mutant[] = [
  {
    name: "removal: a stream that goes on meanwhile passes frames without a word to the registry",
    where: { kind: "storm" },
    breaks: () =>
      replace(
        Stream,
        "remove",
        (real) =>
          async function (this: Open) {
            if (this.until) return real.call(this); // a reprocess, which ends first
            this.registration.write = async () => {};
            await new Promise((done) => setTimeout(done, GOES_ON_MS));
            await real.call(this);
          },
      ),
  },
  {
    name: "close: the host ends before what was applied is saved",
    where: { kind: "crowd" },
    breaks: () =>
      replace(
        Stream,
        "close",
        () =>
          async function (this: Open) {
            this.tell("close");
            this.shards.jahs.forEach((jah: Open) => this.shards.drop(jah));
            await this.closeFiles();
          },
      ),
  },
  {
    name: "close: a reprocess goes on when its host ends",
    where: { kind: "crowd" },
    breaks: () => replace(Reprocess, "close", () => async () => false),
  },
];
