/** What a soak checks as it changes kernels (changes.ts) sees a host that does not do what it answers. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { VersionInfo } from "../../host/client/live.ts";
import { Changes } from "./changes.ts";
import { fileOf, History } from "./handled.ts";
import type { Run } from "./run.ts";

const version = (number: number, make: number, more: Partial<VersionInfo> = {}): VersionInfo => ({
  version: number,
  from: number,
  file: fileOf(make),
  at: "2024-05-01T10:00:00Z",
  how: "swapped",
  trial: false,
  ...more,
});

/** The changes of a stream `s` on a host that has `versions`, and does to them what is given when it is asked. */
function changesOf(
  versions: VersionInfo[],
  does: { swap?: (to: number) => void; cancelReprocess?: () => void },
) {
  const summary = { backs: 0, cancelled: 0 };
  const client = {
    versions: async () => structuredClone(versions),
    swap: async (_name: string, { to }: { to: number }) => does.swap!(to),
    cancelReprocess: async () => does.cancelReprocess!(),
  };
  const run = {
    client,
    summary,
    histories: new Map([["s", new History()]]),
    abandoned: new AbortController(),
    say: () => {},
    pause: async () => {},
  };
  const changes = new Changes(run as unknown as Run) as unknown as {
    kernels: Map<string, unknown>;
    back(name: string, chance: () => number): Promise<void>;
    cancel(name: string, chance: () => number): Promise<void>;
  };
  const makes = [1, 2, 3].map((make) => ({ file: fileOf(make) }));
  changes.kernels.set("s", { makes });
  return {
    summary,
    back: () => changes.back("s", () => 0),
    cancel: () => changes.cancel("s", () => 0),
  };
}

const swapped = () => [version(1, 1, { how: "deployed" }), version(2, 2)];

test("a stream that goes back to the version that was asked for passes, also where that is rolled back since", async () => {
  for (const isRolledBack of [false, true]) {
    const versions = swapped();
    const { back, summary } = changesOf(versions, {
      swap: (to) => {
        versions.push(version(3, 1, { how: "went back", sameAs: to }));
        if (isRolledBack) versions.push(version(4, 2, { how: "rolled back", sameAs: 2 }));
      },
    });
    await back();
    assert.is(summary.backs, 1);
  }
});

test("a stream that does not go back, goes to another version, or is swapped instead, is seen", async () => {
  for (const wrong of [
    [],
    [version(3, 2, { how: "went back", sameAs: 2 })],
    [version(3, 1)],
    [version(3, 1, { sameAs: 1 })],
    [version(3, 1, { how: "went back", sameAs: 1 }), version(4, 3)],
  ]) {
    const versions = swapped();
    const { back } = changesOf(versions, { swap: () => void versions.push(...wrong) });
    await failing(back(), /was to go back to version 1, and has/);
  }
});

const reprocessed = (more: Partial<VersionInfo> = {}) => version(3, 3, { how: "reprocessed", ...more });

test("a reprocess that was cancelled passes", async () => {
  const versions = swapped();
  const { cancel, summary } = changesOf(versions, {
    cancelReprocess: () => void versions.push(reprocessed({ error: "its user gave it up" })),
  });
  await cancel();
  assert.is(summary.cancelled, 1);
});

test("a reprocess that takes over although it was cancelled, and one that leaves no version, are seen", async () => {
  for (const wrong of [
    [reprocessed()],
    [reprocessed({ version: 3, error: "it stopped" }), reprocessed()],
    [],
  ]) {
    const versions = swapped();
    const { cancel } = changesOf(versions, { cancelReprocess: () => void versions.push(...wrong) });
    await failing(cancel(), /had its reprocess cancelled, and has/);
  }
});

test("a cancel that came too late is none", async () => {
  const { cancel, summary } = changesOf(swapped(), {
    cancelReprocess: () => {
      throw Object.assign(new Error("none is under way"), { code: "reprocess-unknown" });
    },
  });
  await cancel();
  assert.is(summary.cancelled, 0);
});

async function failing(work: Promise<void>, message: RegExp): Promise<void> {
  const error = await work.then(
    () => undefined,
    (cause: Error) => cause,
  );
  assert.match(error?.message ?? "nothing was seen", message);
}

test.run();
