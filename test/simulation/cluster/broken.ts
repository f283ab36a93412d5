/** Parts of a cluster that are broken on purpose, one way each: the simulation has to find them out. */
import { Leading } from "../../../host/hallelu/leading.ts";
import { Directory, type DirectoryEntry } from "../../../host/substrate/directory.ts";
import { Lease, Observer } from "../../../host/substrate/liveness.ts";
import { Claim } from "../../../host/substrate/log-claim.ts";
import type { Message, Said } from "../../../host/substrate/log-message.ts";
import { Terms } from "../../../host/substrate/log-terms.ts";
import { hostsIn, Membership } from "../../../host/substrate/membership.ts";
import { ClusterRegistry } from "../../../host/substrate/registry.ts";
import { readHead, Snapshots } from "../../../host/substrate/snapshots.ts";
import { type Open, replace } from "../broken.ts";
import { LedLog } from "./led-log.ts";
import type { ClusterKind } from "./scenario.ts";

export interface ClusterMutant {
  name: string;
  /** Where it shows. */
  kind: ClusterKind;
  breaks: () => () => void;
}

/** The same object, but for some of its fields. */
const but = (one: Open, fields: object): Open => Object.assign(Object.create(one), fields);

/** Has directories say something else of streams when it is planned. */
function plannedAs(change: (entry: DirectoryEntry) => object): () => void {
  return replace(
    Directory,
    "all",
    (real) =>
      function (this: Open) {
        const all: [string, DirectoryEntry][] = [...real.call(this)];
        return new Map(all.map(([name, entry]) => [name, { ...entry, ...change(entry) }]));
      },
  );
}

export const CLUSTER_MUTANTS: ClusterMutant[] = [
  {
    name: "a log is taken over from a later leader",
    kind: "groups",
    breaks: () =>
      replace(
        Claim,
        "last",
        (real) =>
          function (this: Open, isOurs: boolean) {
            return real.call(but(this, { parts: { ...this.parts, epoch: Infinity } }), isOurs);
          },
      ),
  },
  {
    name: "what an earlier leader had under way counts",
    kind: "storm",
    breaks: () =>
      replace(
        Terms,
        "push",
        (real) =>
          function (this: Open, message: Message, said: Said | undefined) {
            if (said && !message.isTerm) Object.assign(this, { term: said.term, isWhole: true });
            return real.call(this, message, said);
          },
      ),
  },
  {
    name: "snapshots are written by whoever wants to",
    kind: "storm",
    breaks: () =>
      replace(
        Snapshots,
        "writeHead",
        (real) =>
          async function (this: Open, manifests: unknown, _expected: number, standing: unknown) {
            const there = await readHead(this.names);
            return real.call(this, manifests, there?.number ?? 0, standing);
          },
      ),
  },
  {
    name: "an entry is written whatever is there",
    kind: "groups",
    breaks: () =>
      replace(
        Directory,
        "write",
        (real) =>
          function (
            this: Open,
            name: string,
            entry: DirectoryEntry,
            there: { revision: number } | undefined,
          ) {
            return real.call(this, name, entry, there && { revision: undefined });
          },
      ),
  },
  {
    name: "a stream is taken over without a new epoch",
    kind: "storm",
    breaks: () =>
      replace(
        Directory,
        "write",
        (real) =>
          function (
            this: Open,
            name: string,
            entry: DirectoryEntry,
            there: { entry?: DirectoryEntry } | undefined,
          ) {
            const epoch = there?.entry?.epoch ?? entry.epoch;
            return real.call(this, name, { ...entry, epoch }, there);
          },
      ),
  },
  {
    name: "an entry is taken that is another than was planned by",
    kind: "storm",
    breaks: () =>
      replace(
        Directory,
        "take",
        (real) =>
          function (this: Open, name: string, planned: DirectoryEntry) {
            return real.call(this, name, this.get(name) ?? planned);
          },
      ),
  },
  {
    name: "it is planned by what is known of some things and not of others",
    kind: "storm",
    breaks: () => replace(ClusterRegistry, "isWhole", () => () => true),
  },
  {
    name: "streams that read files of their host are taken over",
    kind: "storm",
    breaks: () => plannedAs(() => ({ isBound: false })),
  },
  {
    name: "streams whose state is with their host alone are taken over",
    kind: "storm",
    breaks: () =>
      replace(
        Directory,
        "find",
        (real) =>
          function (this: Open, name: string) {
            const found = real.call(this, name);
            return found && { ...found, entry: found.entry && { identity: "any", ...found.entry } };
          },
      ),
  },
  {
    name: "streams go without those that they take in",
    kind: "groups",
    breaks: () => plannedAs(() => ({ from: undefined })),
  },
  {
    name: "a group that is on two hosts stays there",
    kind: "groups",
    breaks: () =>
      replace(
        Directory,
        "orphans",
        (real) =>
          function (this: Open) {
            const up = hostsIn(this.registry).filter(({ state }) => state === "up");
            const all: [string, DirectoryEntry][] = [...real.call(this)];
            return new Map(all.filter(([, entry]) => !up.some(({ folder }) => folder === entry.folder)));
          },
      ),
  },
  {
    name: "a stream is kept open that another host leads",
    kind: "storm",
    breaks: () =>
      replace(
        Leading,
        "once",
        (real) =>
          function (this: Open) {
            const streams = { ...this.parts.streams, letGo: async () => {} };
            return real.call(but(this, { parts: { ...this.parts, streams } }));
          },
      ),
  },
  {
    name: "an observer counts while it was away",
    kind: "outage",
    breaks: () =>
      replace(
        Observer,
        "read",
        (real) =>
          function (this: Open, beats: unknown, now: number, askedAt: number) {
            this.readAt = now;
            return real.call(this, beats, now, askedAt);
          },
      ),
  },
  {
    name: "no beat is sent while others are observed, however long that takes",
    kind: "outage",
    breaks: () => {
      const undo = [
        replace(
          Membership,
          "step",
          () =>
            async function (this: Open) {
              await this.sendBeat();
              if (!this.isOver) await this.observe();
            },
        ),
        replace(
          Membership,
          "read",
          () =>
            function (this: Open, at: string) {
              return this.beats.get(at);
            },
        ),
      ];
      return () => undo.forEach((each) => each());
    },
  },
  {
    name: "a lease lasts longer than it takes to be lost",
    kind: "storm",
    breaks: () =>
      replace(
        Lease,
        "isHeld",
        () =>
          function (this: Open, now: number) {
            return now - this.heldSince < this.times.lostMs * 1.5;
          },
      ),
  },
  {
    name: "a host that was taken for lost stays so",
    kind: "storm",
    breaks: () => replace(Membership, "comeBack", () => async () => {}),
  },
  {
    name: "a record is acknowledged before it is kept",
    kind: "storm",
    breaks: () =>
      replace(
        LedLog,
        "append",
        (real) =>
          async function (this: Open, sent: unknown) {
            real.call(this, sent).catch(() => {});
            return 0;
          },
      ),
  },
];
