/**
 * A shard that is watched for writes without a mark: after each step the marked pages are saved, as a checkpoint would, and what
 * was saved must then be the memory, byte for byte.
 */
import * as assert from "uvu/assert";
import { type BuiltKernel, buildKernel } from "../../host/compiler/cache.ts";
import type { RecordField } from "../../host/compiler/descriptor.ts";
import { createMemory } from "../../host/kernel/instance.ts";
import * as map from "../../host/kernel/memory-map.ts";
import {
  clearDirty,
  copyPages,
  dirtyPages,
  FIRST_PAGE,
  growForPages,
  PAGE_BYTES,
  pagesEnd,
  putPage,
} from "../../host/kernel/pages.ts";
import { Shard } from "./shard.ts";

const EMPTY = Buffer.alloc(PAGE_BYTES);
export const MINUTE = 60_000;

/** A shard, and the pages of it that were saved. */
export class Watched {
  readonly shard: Shard;
  private readonly built: BuiltKernel;
  private readonly saved = new Map<number, Buffer>();

  constructor(built: BuiltKernel, saved = new Map<number, Buffer>(), arenaEnd = 0) {
    this.built = built;
    const memory = createMemory(512 << 20);
    if (arenaEnd) growForPages(memory, arenaEnd);
    for (const [page, bytes] of saved) {
      putPage(memory, page, bytes);
      this.saved.set(page, bytes);
    }
    this.shard = new Shard(built, memory);
  }

  /** Saves what is marked; answers how many pages that were. Then nothing else may have changed. */
  save(after: string): number {
    const { memory, arenaEnd, bytes } = this.shard.kernel;
    const pages = dirtyPages(memory, arenaEnd);
    const copy = copyPages(memory, pages);
    pages.forEach((page, i) => this.saved.set(page, Buffer.from(copy, i * PAGE_BYTES, PAGE_BYTES)));
    clearDirty(memory);
    for (let page = FIRST_PAGE; page < pagesEnd(arenaEnd); page++) {
      const now = bytes.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
      const then = this.saved.get(page) ?? EMPTY;
      if (Buffer.compare(then, now) === 0) continue;
      const at = now.findIndex((byte, i) => byte !== then[i]);
      assert.unreachable(`${after}: ${(page * PAGE_BYTES + at).toString(16)} changed without a mark`);
    }
    return pages.length;
  }

  /** What would come back from the pages that were saved. */
  restored(): Watched {
    const { arenaEnd } = this.shard.kernel;
    const other = new Watched(this.built, this.saved, arenaEnd);
    assert.is(other.shard.kernel.arenaEnd, arenaEnd);
    assert.equal(dirtyPages(other.shard.kernel.memory, arenaEnd), [], "a start changes nothing");
    assert.is(Buffer.compare(arenaOf(this), arenaOf(other)), 0);
    return other;
  }
}

function arenaOf({ shard }: Watched): Uint8Array {
  return shard.kernel.bytes.subarray(map.ARENA, shard.kernel.arenaEnd);
}

const ACTIONS = ["view", "cart", "order"];

/** Records of a kernel, at random. Time goes on with them, but for some that come late. */
class Records {
  private readonly fields: RecordField[];
  private readonly draw: () => number;
  private readonly keys: number;
  private now = Date.parse("2024-05-01T00:00:00Z");

  constructor(fields: RecordField[], draw: () => number, keys: number) {
    this.fields = fields;
    this.draw = draw;
    this.keys = keys;
  }

  below(count: number): number {
    return Math.floor(this.draw() * count);
  }

  pass(ms: number): void {
    this.now += ms;
  }

  lines(count: number): string {
    return Array.from({ length: count }, () => `${this.line()}\n`).join("");
  }

  private line(): string {
    const record: Record<string, unknown> = {};
    for (const field of this.fields) {
      if (!field.optional || this.draw() < 0.8) record[field.source] = this.value(field);
    }
    return JSON.stringify(record);
  }

  private value({ name, type }: RecordField): unknown {
    if (type === "Time") {
      this.now += this.below(40);
      const late = this.draw() < 0.05 ? this.below(90 * MINUTE) : this.below(1000);
      return new Date(this.now - late).toISOString();
    }
    if (type === "bool") return this.draw() < 0.5;
    if (type !== "Text") return /^[iu](8|16|32)$/.test(type) ? this.below(100) : this.below(this.keys);
    if (name === "action") return ACTIONS[this.below(3)];
    if (name === "line") return this.logLine();
    return this.text();
  }

  private text(): string {
    const size = this.draw();
    const key = `key ${this.below(this.keys)}`;
    if (size < 0.8) return key;
    if (size < 0.999)
      return `${key}${" with a name that is longer than what an entry holds".repeat(1 + this.below(3))}`;
    return `${key}${"-".repeat(this.below(100_000))}`;
  }

  private logLine(): string {
    const path = `/${this.below(this.keys)}`;
    const status = 200 + this.below(300);
    return `10.0.0.${this.below(256)} - - [10/Oct/2000:13:55:36 -0700] "GET ${path} HTTP/1.0" ${status} ${this.below(1e6)} "-" "agent ${this.below(900)}"`;
  }
}

/** One of the things that happen to a shard between two checkpoints. */
async function happen(watched: Watched, other: Watched, records: Records): Promise<string> {
  const { shard } = watched;
  const from = records.below(256);
  const to = Math.min(256, from + 1 + (records.below(4) ? 0 : records.below(40)));
  switch (records.below(13)) {
    case 0:
      await shard.add(records.lines(800));
      return "many records";
    case 1:
      shard.remove(from, to);
      return "a removal";
    case 2:
      shard.give(other.shard, from, to);
      return "partitions given";
    case 3:
      other.shard.give(shard, 0, 256);
      return "partitions taken";
    case 4:
      shard.rows();
      return "an answer";
    case 5:
      records.pass(records.below(30 * MINUTE));
      await shard.add(records.lines(1));
      return "time";
    case 6:
      await shard.add(records.lines(60));
      return "some records";
    case 7:
      records.pass(records.below(MINUTE));
      await shard.add(records.lines(1), 0, 0);
      return "a frame for others, which only says how time passes";
    default:
      await shard.add(records.lines(1 + records.below(2)));
      return "a record";
  }
}

/**
 * Random frames, moves, removals and answers over a kernel, after `first` records with that many keys; then a restart from what was
 * saved, which must go on as if nothing had been.
 */
export async function walk(
  file: string,
  keys: number,
  first: number,
  steps: number,
  draw: () => number,
): Promise<void> {
  const built = await buildKernel(file);
  const records = new Records(built.descriptor.input.fields, draw, keys);
  const watched = new Watched(built);
  const other = new Watched(built);
  watched.save("a start");
  for (let rest = first; rest > 0; rest -= 2000) await watched.shard.add(records.lines(Math.min(rest, 2000)));
  watched.save("the first records");
  for (let i = 0; i < steps; i++) {
    const what = await happen(watched, other, records);
    watched.save(what);
    other.save(`the other side of ${what}`);
  }
  const back = watched.restored();
  for (let i = 0; i < 5; i++) {
    if (i === 3) records.pass(45 * MINUTE);
    const lines = records.lines(i % 2 ? 2 : 500);
    assert.is(await back.shard.add(lines), await watched.shard.add(lines), "both emit the same");
    back.save("records after a restart");
  }
  assert.equal(back.shard.rows(), watched.shard.rows());
}
