/** A persistent Jah without its process: one kernel that maps frames, applies them, gives partitions away and answers. */
import { readFileSync } from "node:fs";
import type { BuiltKernel } from "../../host/compiler/cache.ts";
import { Answers } from "../../host/jah/answers.ts";
import { Handover } from "../../host/jah/handover.ts";
import { Inbox } from "../../host/jah/inbox.ts";
import { Mapper } from "../../host/jah/mapper.ts";
import { type Applied, Owner } from "../../host/jah/owner.ts";
import { createMemory, KernelInstance } from "../../host/kernel/instance.ts";
import { fitState } from "../../host/compiler/fit.ts";
import * as map from "../../host/kernel/memory-map.ts";
import { upgrade } from "../../host/kernel/upgrade.ts";
import type { HttpPeers } from "../../host/shuffle/http-peers.ts";
import { type Batch, decodeBatch, encodeBatch, ROUTED } from "../../host/wire/batch.ts";

const SOURCE = { format: "ndjson" as const, size: 0, dataStart: 0, delimiter: 0, plan: [] };
let moves = 0;

export class Shard {
  kernel: KernelInstance;
  readonly answers = new Answers(() => this.kernel);
  private built: BuiltKernel;
  private module: WebAssembly.Module;
  private readonly mapper: Mapper;
  private readonly owner: Owner;
  private frame = 0;

  constructor(built: BuiltKernel, memory = createMemory(512 << 20)) {
    this.built = built;
    this.module = new WebAssembly.Module(readFileSync(built.path));
    this.kernel = new KernelInstance(this.module, memory);
    this.kernel.exports.start(map.NDJSON, 0x2c);
    this.mapper = new Mapper(this.kernel, [SOURCE], 1, [], 0);
    this.owner = new Owner(this.kernel);
  }

  /** Another kernel over the same state. */
  swap(built: BuiltKernel): void {
    const fit = fitState(this.built.descriptor, built.descriptor);
    if (fit.misfits.length) throw new Error(fit.misfits.join("; "));
    this.built = built;
    this.module = new WebAssembly.Module(readFileSync(built.path));
    this.kernel = upgrade(this.kernel, this.module, fit);
    this.kernel.exports.start(map.NDJSON, 0x2c);
    this.mapper.use(this.kernel);
    this.owner.use(this.kernel);
  }

  /** The kernel anew over the same memory, as after one that stopped. */
  instantiate(): void {
    this.kernel = new KernelInstance(this.module, this.kernel.memory);
    this.kernel.exports.start(map.NDJSON, 0x2c);
    this.mapper.use(this.kernel);
    this.owner.use(this.kernel);
  }

  /** Applies a frame that was mapped elsewhere. */
  apply(batch: Batch): Applied | undefined {
    return this.owner.apply(batch);
  }

  /** Maps a frame, and applies what of it is of partitions [from, to); answers what was emitted then. */
  async add(text: string, from = 0, to = 256): Promise<string> {
    const bytes = Buffer.from(text);
    this.mapper.route(new Uint8Array(256).fill(map.NOBODY).fill(0, from, to), 1);
    const frame = this.frame++;
    const task = { kind: "bytes" as const, frame, source: 0, offset: 0, bytes };
    const { parts, done } = await this.mapper.map(task, undefined);
    const head = { kind: ROUTED, frame, source: 0, start: 0, end: 0, time: done.time, clock: 0 };
    const applied = this.owner.apply(decodeBatch(encodeBatch(head, parts[0])));
    return applied ? Buffer.concat([...applied.emitted, ...applied.lateEmitted]).toString() : "";
  }

  /** Hands partitions [first, behind) over, as live streams do. */
  give(to: Shard, first: number, behind: number): void {
    const start = ++moves;
    const [donor, receiver] = [0, 1].map(() => new Inbox(start));
    const taking = new Handover(() => to.kernel, receiver, NO_PEERS);
    const send = (_: number, bytes: Buffer) => taking.receive(decodeBatch(bytes));
    const giving = new Handover(() => this.kernel, donor, { full: false, send } as unknown as HttpPeers);
    const move = { from: first, to: behind, donor: 0, receiver: 1 };
    const routing = { id: start, start, targets: [], moves: [move] };
    giving.expect(routing, move, 0);
    taking.expect(routing, move, 1);
    while (giving.step() === "progress");
    while (taking.step() === "progress");
  }

  remove(first: number, behind: number): void {
    const { exports } = this.kernel;
    exports.removeStart(first, behind);
    while (exports.removeStep());
  }

  /** Maps a frame that nobody applies. */
  async map(text: string): Promise<void> {
    const bytes = Buffer.from(text);
    await this.mapper.map({ kind: "bytes", frame: 0, source: 0, offset: 0, bytes }, undefined);
  }

  rows(): string[] {
    return this.built.descriptor.tables.flatMap((_, table) => {
      this.split(table);
      return this.rendered(table);
    });
  }

  /** Begins to read a table; `rendered` goes on with it. */
  split(table: number): void {
    this.answers.perform("split", { table, column: -1, descending: false, splitters: [] });
  }

  rendered(table: number): string[] {
    const { answers } = this;
    const render = { table, range: 0, limit: 1e9, format: map.NDJSON, others: [] };
    const { chunks } = answers.perform("render", render) as { chunks: Uint8Array[] };
    answers.perform("finish", { table });
    return Buffer.concat(chunks).toString().split("\n").filter(Boolean);
  }
}

const NO_PEERS = { full: false } as unknown as HttpPeers;
