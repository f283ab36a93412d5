/** What a stream does while it is being removed, broken on purpose, one way each (broken.ts). */
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
];
