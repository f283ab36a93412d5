/** Checks the data folder of a host that is down, and changes nothing in it. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { holderOf } from "../congregation/lock.ts";
import { HallelujahError, messageOf } from "../core/errors.ts";
import type { DeadLetter } from "../hallelu/dead-letters.ts";
import { readModule } from "../hallelu/module.ts";
import type { StoredShard, StreamRecord } from "../hallelu/record.ts";
import type { Damage } from "../store/log-scan.ts";
import { segmentsIn } from "../store/segments.ts";
import { FileRegistry } from "../store/registry.ts";
import { verifyLog } from "../store/verify.ts";
import { checkStore } from "./store-check.ts";

export interface Finding {
  /** A note needs nothing to be done. */
  kind: "problem" | "note";
  stream?: string;
  /** What is wrong, and where. */
  what: string;
  /** What that affects, and what to do. */
  effect: string;
}

/** Yields what there is to say, a stream at a time. Rejects with `data-missing`, `data-locked` or `registry-damaged`. */
export async function* checkFolder(data: string): AsyncGenerator<Finding> {
  if (!existsSync(join(data, "registry.json")))
    throw new HallelujahError("data-missing", `${data} is no data folder of a host: it has no registry.json`);
  const holder = holderOf(data);
  if (holder !== undefined)
    throw new HallelujahError("data-locked", `a host uses ${data} (process ${holder}); stop it first`);
  const registry = new FileRegistry(join(data, "registry.json"));
  const names = new Set<string>();
  for (const key of registry.list("streams/")) {
    const record = registry.get(key)!.value as StreamRecord;
    names.add(record.name);
    for await (const finding of new StreamCheck(data, record).run())
      yield { stream: record.name, ...finding };
  }
  for (const name of list(join(data, "streams")))
    if (!names.has(name))
      yield note(`${join(data, "streams", name)} belongs to no stream`, "it may be removed");
}

class StreamCheck {
  private readonly record: StreamRecord;
  private readonly folder: string;
  /** Frames that the log has whole from here on to its end. */
  private intactFrom = 0;
  private logFirst = 0;

  constructor(data: string, record: StreamRecord) {
    this.record = record;
    this.folder = join(data, "streams", record.name);
  }

  async *run(): AsyncGenerator<Finding> {
    if (!existsSync(this.folder))
      return yield problem(`${this.folder} is missing`, "the stream is lost; restore a backup, or remove it");
    yield* this.kernel();
    yield* this.log();
    for (const name of ["output", "late"]) yield* this.output(name);
    yield* this.shards();
    for (const letter of this.record.dead) yield* this.letter(letter);
    yield* this.leftovers();
  }

  private *kernel(): Generator<Finding> {
    // The folder may have been moved since the registry was written.
    const path = join(this.folder, this.record.kernel.split("/").at(-1)!);
    try {
      readModule({ ...this.record, kernel: path });
    } catch (error) {
      yield problem(
        messageOf(error),
        "the stream cannot be opened; bring the file back from a backup, or build it anew",
      );
    }
  }

  private *log(): Generator<Finding> {
    const { shares, from, name } = this.record;
    const folder = join(this.folder, "..", shares ? from! : name, "log");
    const { frame } = this.record;
    this.logFirst = existsSync(folder) ? (segmentsIn(folder)[0] ?? 0) : 0;
    this.intactFrom = this.logFirst;
    if (!existsSync(folder) && frame > 0)
      yield problem(`${folder} is missing`, "what is not in the state is lost; restore a backup");
    for (const found of damageOf(folder)) {
      this.intactFrom = Math.max(this.intactFrom, found.to);
      if (found.to <= found.from) yield emptyDamage(found);
      else if (found.to <= frame)
        yield problem(
          sentenceOf(found),
          "these frames are in the state already and cannot be replayed any more; the stream goes on",
        );
      else
        yield problem(
          sentenceOf(found),
          "not all of these frames are in the state: the stream will fail; restore a backup",
        );
    }
  }

  private *output(name: string): Generator<Finding> {
    for (const found of damageOf(join(this.folder, name)))
      yield found.to <= found.from
        ? emptyDamage(found)
        : problem(sentenceOf(found), "who reads these rows gets an error; the stream goes on");
  }

  private async *shards(): AsyncGenerator<Finding> {
    const { stored } = this.record;
    const lost: string[] = [];
    for (const shard of stored) {
      const { what, effect } = (await this.shard(shard)) ?? {};
      if (what === undefined) continue;
      if (effect === undefined) lost.push(what);
      else yield problem(what, effect);
    }
    const all = lost.length === stored.length;
    const becomes = all
      ? "the stream will fail; restore a backup"
      : "these partitions will be unavailable, the others go on; restore a backup";
    for (const what of lost)
      yield problem(what, `the log is whole from frame ${this.intactFrom} on alone: ${becomes}`);
  }

  /** What is wrong with a shard, and what the host makes of it; no `effect` where that is nothing. Undefined if all is well. */
  private async shard({
    folder,
    from,
    to,
  }: StoredShard): Promise<{ what: string; effect?: string } | undefined> {
    const path = join(this.folder, folder);
    const there = existsSync(path);
    if (!there && this.record.frame === 0) return undefined; // it was never saved
    const { whole, problems } = there
      ? await checkStore(path)
      : { whole: [], problems: [`${path} is missing`] };
    const [newest] = whole;
    if (!problems.length && (newest ?? 0) >= this.logFirst) return undefined;
    const why = problems.length ? problems.join("; ") : `${path} does not reach to where the log begins`;
    const what = `partitions ${from} to ${to - 1}: ${why}`;
    if (newest !== undefined && newest >= this.intactFrom)
      return { what, effect: `the checkpoint of frame ${newest} is used, and the log from there` };
    if (this.intactFrom === 0)
      return { what, effect: "the state is made anew from the log, which takes a while" };
    return { what };
  }

  private *letter({ frame, bytes, sum, done }: DeadLetter): Generator<Finding> {
    if (!bytes || done !== undefined) return;
    const path = join(this.folder, "dead", String(frame));
    try {
      const body = readFileSync(path);
      if (body.length === bytes && crc32(body) === sum) return;
      yield problem(`${path} is damaged`, "this dead letter cannot be retried");
    } catch (error) {
      yield problem(`${path}: ${messageOf(error)}`, "this dead letter cannot be retried");
    }
  }

  private *leftovers(): Generator<Finding> {
    const { stored, reprocess } = this.record;
    const known = new Set([...stored, ...(reprocess?.stored ?? [])].map(({ folder }) => folder));
    for (const name of list(this.folder)) {
      const path = join(this.folder, name);
      if (/\.damaged-\d+$/.test(name)) yield note(`${path} was set aside as damaged`, "it may be removed");
      else if (/^shard-v?\d+$/.test(name) && !known.has(name))
        yield note(`${path} holds state that counts no more`, "it may be removed");
    }
  }
}

/** What is wrong with a log, a last segment that is gone included. */
function* damageOf(folder: string): Generator<Damage> {
  if (!existsSync(folder)) return;
  yield* verifyLog(folder);
  const last = segmentsIn(folder).at(-1) ?? -1;
  for (const name of list(folder)) {
    const first = Number(/^(\d{16})\.idx$/.exec(name)?.[1] ?? -1);
    const path = join(folder, name.replace(".idx", ".seg"));
    if (first > last) yield { path, byte: 0, from: first, to: first + 1, why: "the file is missing" };
  }
}

function sentenceOf({ path, byte, from, to, why }: Damage): string {
  const entries = to - from > 1 ? `entries ${from} to ${to - 1}` : `entry ${from}`;
  return `${path} is damaged at byte ${byte}: ${why}; this affects ${entries}`;
}

/** A place that holds no entry: a torn tail, or what a segment says of those before. */
function emptyDamage({ path, byte, why }: Damage): Finding {
  return note(`${path}, byte ${byte}: ${why}`, "nothing that was acknowledged is lost");
}

function problem(what: string, effect: string): Finding {
  return { kind: "problem", what, effect };
}

function note(what: string, effect: string): Finding {
  return { kind: "note", what, effect };
}

function list(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder).toSorted() : [];
}
