/**
 * The versions of a stream's kernel in one Jah. The state is that of one version, whose instance stands over the memory most of the
 * time; at the frame where the next one takes over, the state becomes that one's. A frame is mapped by the version that it
 * belongs to, which may be another one (a frame that was lost is mapped again, or one is mapped ahead): its
 * instance is made over the same memory without a look at the state, and the other one comes back after it.
 */
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { FRAME_BYTES } from "../core/limits.ts";
import type { FieldWish } from "../kernel/columns.ts";
import { KernelInstance } from "../kernel/instance.ts";
import * as map from "../kernel/memory-map.ts";
import { upgrade } from "../kernel/upgrade.ts";
import type { SourceSpec } from "../wire/jah.ts";
import type { LiveVersion } from "../wire/live.ts";
import { Mapper } from "./mapper.ts";
import { Owner } from "./owner.ts";
import { Succession } from "./succession.ts";

export class Kernels {
  private readonly memory: WebAssembly.Memory;
  private readonly succession: Succession;
  /** By their files. */
  private readonly modules: Map<string, WebAssembly.Module>;
  private readonly mappers = new Map<LiveVersion, Mapper>();
  /** Whose instance stands over the memory; nobody's after another kernel has used it. */
  private standing: LiveVersion | undefined;
  private instance: KernelInstance;
  private applier: Owner;

  /** `at` is the version whose state the memory holds, or will hold. */
  constructor(
    memory: WebAssembly.Memory,
    versions: readonly LiveVersion[],
    at: number,
    modules = new Map<string, WebAssembly.Module>(),
  ) {
    this.memory = memory;
    this.modules = modules;
    this.succession = new Succession(versions, at);
    this.standing = this.at;
    this.instance = this.instantiate(this.at);
    this.applier = new Owner(this.instance);
  }

  private get at(): LiveVersion {
    return this.succession.at;
  }

  /** The version of the kernel whose the state is. */
  get version(): number {
    return this.at.version;
  }

  /** The instance over the state. */
  get main(): KernelInstance {
    if (this.standing !== this.at) this.stand(this.at);
    return this.instance;
  }

  /** What stands over the memory now, which may have stopped. */
  get current(): KernelInstance {
    return this.instance;
  }

  get owner(): Owner {
    void this.main;
    return this.applier;
  }

  /** The next version, if the state is to become its own before frame `next` is applied. */
  due(next: number): boolean {
    return this.succession.due(next);
  }

  knows(version: number): boolean {
    return this.succession.knows(version);
  }

  /** The version that a frame is mapped by. */
  versionOf(frame: number): LiveVersion {
    return this.succession.of(frame);
  }

  add(version: LiveVersion): void {
    this.succession.add(version);
  }

  /** V8's own threads compile a module while frames go on. What fails is thrown when the module is needed. */
  async compile(file: string): Promise<void> {
    // A file that no version has may be of a swap that was refused, and another one by now.
    if (this.succession.all.some(({ kernel }) => kernel === file) && this.modules.has(file)) return;
    this.modules.delete(file);
    try {
      this.modules.set(file, await WebAssembly.compile(await readFile(file)));
    } catch {}
  }

  /** The state becomes that of the next version. Throws what its kernel throws; this Jah is at its end then. */
  advance(): void {
    const old = this.main;
    const before = this.at;
    const next = this.succession.following!;
    this.instance = upgrade(old, this.moduleOf(next), next.fit);
    this.instance.exports.start(map.NDJSON, COMMA);
    this.succession.advance();
    this.standing = next;
    this.applier = new Owner(this.instance);
    this.mappers.get(next)?.use(this.instance);
    const { all } = this.succession;
    const needed = all.slice(all.indexOf(before));
    const files = needed.map(({ kernel }) => kernel);
    for (const file of this.modules.keys()) if (!files.includes(file)) this.modules.delete(file);
    for (const [version, mapper] of this.mappers) {
      if (needed.includes(version)) continue;
      mapper.close();
      this.mappers.delete(version);
    }
  }

  /** An instance over a state in another memory, which is of version `at` or becomes that of this one's. */
  over(memory: WebAssembly.Memory, at: number): KernelInstance {
    const other = new Kernels(memory, this.succession.all, at, this.modules);
    while (other.version < this.version) other.advance();
    if (other.version !== this.version)
      throw new TypeError(`a state of version ${other.version} is ahead of ${this.version}`);
    return other.main;
  }

  learn(source: number, specs: { version: number; spec: SourceSpec }[]): void {
    for (const { version, spec } of specs) this.succession.find(version).sources[source] = spec;
  }

  /** Whether a frame belongs to the version whose the state is. */
  isOwn(frame: number): boolean {
    return this.succession.of(frame) === this.at;
  }

  /** A mapper for a frame, which may be used once. */
  mapperOf(frame: number): Mapper {
    const version = this.succession.of(frame);
    if (this.standing !== version) this.stand(version);
    return this.mapper(version);
  }

  /** What stood over the memory is not there any more: it stopped, or another kernel visited. It comes back when it is needed. */
  restart(): void {
    this.standing = undefined;
  }

  close(): void {
    for (const mapper of this.mappers.values()) mapper.close();
  }

  private mapper(version: LiveVersion): Mapper {
    const known = this.mappers.get(version);
    if (known) return known;
    const { sources, columns } = version;
    const mapper = new Mapper(this.instance, sources, 1, columns as FieldWish[], FRAME_BYTES);
    this.mappers.set(version, mapper);
    return mapper;
  }

  private stand(version: LiveVersion): void {
    this.standing = version;
    this.instance = this.instantiate(version);
    if (version === this.at) this.applier.use(this.instance);
    this.mappers.get(version)?.use(this.instance);
  }

  private instantiate(version: LiveVersion): KernelInstance {
    const visiting = new DataView(this.memory.buffer, map.VISITING, 4);
    visiting.setUint32(0, version === this.at ? 0 : 1, true);
    const kernel = new KernelInstance(this.moduleOf(version), this.memory);
    kernel.exports.start(map.NDJSON, COMMA);
    return kernel;
  }

  private moduleOf({ kernel }: LiveVersion): WebAssembly.Module {
    const module = this.modules.get(kernel) ?? new WebAssembly.Module(readFileSync(kernel));
    this.modules.set(kernel, module);
    return module;
  }
}

const COMMA = 0x2c;
