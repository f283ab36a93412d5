/**
 * A stream without its processes: kernels that own some partitions each, over the same frames, and visits of what they keep. However many
 * owners there are, what a visit answers must be the same.
 */
import { readFileSync } from "node:fs";
import * as assert from "uvu/assert";
import type { BuiltKernel } from "../../host/compiler/cache.ts";
import { visitFieldsOf } from "../../host/input/plan.ts";
import { Answers } from "../../host/jah/answers.ts";
import { Mapper } from "../../host/jah/mapper.ts";
import { VisitResult, Visitor } from "../../host/jah/visit.ts";
import type { Visited } from "../../host/wire/visit.ts";
import { createMemory, KernelInstance } from "../../host/kernel/instance.ts";
import * as map from "../../host/kernel/memory-map.ts";
import { type Bounds, Rows, type RowSet } from "../../host/kernel/rows.ts";
import type { TableSet } from "../../host/kernel/table-columns.ts";
import { decodeBatch, encodeBatch, ROUTED } from "../../host/wire/batch.ts";
import { Shard } from "./shard.ts";

const SOURCE = { format: "ndjson" as const, size: 0, dataStart: 0, delimiter: 0, plan: [] };

/** The datasets of a kernel, as a visit names them. */
export function rowSets({ descriptor }: BuiltKernel): RowSet[] {
  return (descriptor.datasets ?? []).map(({ name, fields }, number) => ({ number, name, fields }));
}

/** A table of a kernel, as a visit names it. */
export function tableSet({ descriptor }: BuiltKernel, name: string): TableSet {
  const number = descriptor.tables.findIndex((table) => table.name === name);
  return { number, ...descriptor.tables[number] };
}

export interface Owned {
  shard: Shard;
  from: number;
  to: number;
}

/** Shards of one kernel that own the partitions between them. */
export class Owners {
  readonly all: Owned[];
  private readonly mapping: KernelInstance;
  private readonly mapper: Mapper;
  private frame = 0;

  constructor(built: BuiltKernel, owners: number) {
    const border = (owner: number) => Math.round((owner * 256) / owners);
    this.all = Array.from({ length: owners }, (_, i) => ({
      shard: new Shard(built),
      from: border(i),
      to: border(i + 1),
    }));
    const module = new WebAssembly.Module(readFileSync(built.path));
    this.mapping = new KernelInstance(module, createMemory(64 << 20));
    this.mapping.exports.start(map.NDJSON, 0x2c);
    this.mapper = new Mapper(this.mapping, [SOURCE], owners, [], 0);
  }

  /** Maps a frame, and has each owner apply its share. */
  async add(text: string): Promise<void> {
    const targets = new Uint8Array(256);
    this.all.forEach(({ from, to }, i) => targets.fill(i, from, to));
    this.mapper.route(targets, this.all.length);
    const frame = this.frame++;
    const bytes = Buffer.from(text);
    const { parts, done } = await this.mapper.map(
      { kind: "bytes", frame, source: 0, offset: 0, bytes },
      undefined,
    );
    const head = { kind: ROUTED, frame, source: 0, start: 0, end: 0, time: done.time, clock: 0 };
    this.all.forEach(({ shard }, i) => shard.apply(decodeBatch(encodeBatch(head, parts[i]))));
  }

  /** Moves partitions [from, to) of one owner to the next one. */
  give(owner: number, from: number): void {
    const [giver, taker] = [this.all[owner], this.all[owner + 1]];
    giver.shard.give(taker.shard, from, giver.to);
    giver.to = from;
    taker.from = from;
  }
}

export interface VisitOptions {
  dataset?: RowSet;
  /** Instead of a dataset. */
  table?: TableSet;
  bounds?: Bounds[];
  /** Between visit frames. */
  between?: () => Promise<void> | void;
  /** When all was visited: the visit goes on with the rows that came by then. */
  more?: () => Promise<void>;
}

export interface Answer {
  rows: string[];
  emitted: string;
  visited: number;
  bad: number;
  dropped: number;
}

/** Visits the rows of all owners with a kernel, frame by frame. */
export async function visit(
  owned: Owned[],
  keeper: BuiltKernel,
  visitor: BuiltKernel,
  { dataset = rowSets(keeper)[0], table, bounds, between, more }: VisitOptions = {},
): Promise<Answer> {
  const module = new WebAssembly.Module(readFileSync(visitor.path));
  const wishes = visitFieldsOf(visitor.descriptor);
  const result = new VisitResult(module, createMemory(256 << 20));
  const emitted: Uint8Array[] = [];
  const answer = { visited: 0, bad: 0, dropped: 0 };
  const take = (visited: Visited) => {
    emitted.push(...visited.emitted);
    answer.visited += visited.rows;
    answer.bad += visited.bad;
    const applied = result.take(visited);
    if (applied) emitted.push(...applied.emitted);
  };
  const visitors = owned.map(({ shard, from, to }) => ({
    shard,
    visitor: new Visitor(shard.kernel.memory, module, {
      over: table ? { table } : { dataset },
      fields: wishes,
      from,
      to,
      ...(bounds ? { bounds } : {}),
    }),
  }));
  const all = async () => {
    for (const { shard, visitor } of visitors) {
      for (let done = false; !done; ) {
        done = !visitor.step(() => true, take);
        shard.instantiate();
        await between?.();
      }
      answer.dropped += visitor.dropped;
    }
  };
  await all();
  if (more) {
    await more();
    for (const { visitor } of visitors) assert.ok(visitor.more());
    await all();
  }
  const closed = result.end();
  if (closed) emitted.push(...closed.emitted);
  const rows = visitor.descriptor.tables.flatMap((_, table) => rowsOf(result.kernel, table));
  return { ...answer, rows, emitted: Buffer.concat(emitted).toString() };
}

/** The rows of a table, as `query` shows them. */
export function rowsOf(kernel: KernelInstance, table: number): string[] {
  const answers = new Answers(() => kernel);
  answers.perform("split", { table, column: -1, descending: false, splitters: [] });
  const render = { table, range: 0, limit: 1e9, format: map.NDJSON, others: [] };
  const { chunks } = answers.perform("render", render) as { chunks: Uint8Array[] };
  answers.perform("finish", { table });
  return Buffer.concat(chunks).toString().split("\n").filter(Boolean);
}

/** The chunks of all partitions of some owners: what their rows are cut into. */
export function chunksOf(owned: Owned[], dataset: RowSet): [partition: number, rows: number][] {
  return owned.flatMap(({ shard, from, to }) => {
    const rows = new Rows(shard.kernel.memory, dataset);
    const chunks: [number, number][] = [];
    for (let partition = from; partition < to; partition++)
      for (const { rows: count } of rows.chunks(partition)) chunks.push([partition, count]);
    return chunks;
  });
}
