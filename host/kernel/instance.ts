/** One kernel in one memory: the exports of assembly/main.ts with their types, and the memory as bytes. */
import { instantiateSync } from "@assemblyscript/loader";
import { HallelujahError } from "../core/errors.ts";
import * as map from "./memory-map.ts";

export interface KernelExports {
  start(emitFormat: number, delimiter: number): void;
  /** `frame` is its number; modules that keep no rows do not ask for it. */
  beginFrame(frame: number): void;
  beginPart(): void;
  mapCsv(from: number, limit: number, end: number, final: boolean, delimiter: number): number;
  mapLines(from: number, limit: number, end: number, final: boolean): number;
  mapNdjson(from: number, limit: number, end: number, final: boolean): number;
  mapColumnRows(base: number, from: number): number;
  /** Modules that say `decoded` in their descriptor have these. */
  startDecoded(words: number): void;
  endDecoded(): number;
  mapDecoded(from: number, to: number, stride: number): number;
  decodedTextsFit(rows: number, stride: number, end: number): number;
  countQuotes(from: number, end: number): number;
  emittedBytes(): number;
  emittedRows(): number;
  group(owners: number): void;
  encode(owner: number): number;
  lateBytes(): number;
  lateEmittedRows(): number;
  beginApply(): void;
  apply(from: number, end: number): number;
  isOrdered(): number;
  isTimed(): number;
  advanceClock(clock: number, time: number): void;
  closeStart(table: number): void;
  closeStep(table: number, silent: boolean): number;
  nextClose(): number;
  watermarkOf(): number;
  tableCount(): number;
  adopt(from: number, end: number): void;
  size(table: number): number;
  orderBy(table: number, column: number, descending: boolean): void;
  sample(table: number, most: number): number;
  split(table: number, addresses: number, splitters: number): void;
  splitStep(table: number): number;
  splitEnd(table: number): void;
  exportStart(from: number, to: number): void;
  exportStep(): number;
  removeStart(from: number, to: number): void;
  removeStep(): number;
  takeOver(table: number): void;
  freeAside(): void;
  find(table: number, key: number, length: number): number;
  arenaEnd(): number;
  rangeSize(table: number, range: number): number;
  encodeRange(table: number, range: number, from: number, to: number): number;
  sortRange(table: number, range: number): number;
  renderAs(format: number, delimiter: number): void;
  render(table: number, from: number, to: number): number;
  renderedEnd(): number;
}

/** A kernel that stopped itself: `throw` in the kernel or in the SDK. */
export class KernelAbort extends Error {
  override name = "KernelAbort";
}

export class KernelInstance {
  readonly exports: KernelExports;
  readonly memory: WebAssembly.Memory;
  private view: Uint8Array;
  private words: DataView;

  constructor(module: WebAssembly.Module, memory: WebAssembly.Memory) {
    this.memory = memory;
    this.view = new Uint8Array(memory.buffer);
    this.words = new DataView(memory.buffer);
    const instance = instantiateSync(module, {
      env: {
        memory,
        abort: (message: number) => {
          throw new KernelAbort(message ? this.text(message) : "it ended itself");
        },
      },
    });
    this.exports = instance.exports as unknown as KernelExports;
  }

  /** The whole memory; a fresh view after it grew. */
  get bytes(): Uint8Array {
    if (this.view.buffer !== this.memory.buffer) {
      this.view = new Uint8Array(this.memory.buffer);
      this.words = new DataView(this.memory.buffer);
    }
    return this.view;
  }

  /**
   * Copies what came from elsewhere into the input window, `from` bytes behind its start; returns the address behind it. Throws
   * `window-full` rather than write over what lies behind the window.
   */
  place(bytes: Uint8Array, from = 0): number {
    const at = map.INPUT + from;
    if (at + bytes.length > map.DIRTY) {
      const message = `${from + bytes.length} bytes do not fit the input window (${map.DIRTY - map.INPUT} bytes)`;
      throw new HallelujahError("window-full", message);
    }
    this.bytes.set(bytes, at);
    return at + bytes.length;
  }

  /** Copies the splitters of a result into the input window: their addresses, then they themselves. Throws `window-full`. */
  placeSplitters(splitters: Uint8Array[]): void {
    const addresses = new Uint32Array(splitters.length);
    let behind = (addresses.byteLength + 7) & ~7;
    for (const [i, splitter] of splitters.entries()) {
      addresses[i] = map.INPUT + behind;
      behind = this.place(splitter, behind) - map.INPUT;
    }
    this.place(new Uint8Array(addresses.buffer));
  }

  /** A string of AssemblyScript: UTF-16, its bytes counted in front of it. Needs no exports, as a start that throws has none. */
  private text(address: number): string {
    const length = this.u32(address - 4);
    return Buffer.from(this.bytes.buffer, address, length).toString("utf16le");
  }

  u32(address: number): number {
    void this.bytes;
    return this.words.getUint32(address, true);
  }

  /** Where the arena's used bytes end: what lies from ARENA up to there is all of the state. */
  get arenaEnd(): number {
    return this.exports.arenaEnd() >>> 0; // beyond 2 GiB, an i32 of Wasm is negative in JavaScript
  }

  f64(address: number): number {
    void this.bytes;
    return this.words.getFloat64(address, true);
  }

  u64(address: number): bigint {
    void this.bytes;
    return this.words.getBigUint64(address, true);
  }
}

/** Room for the directory and the empty tables of any kernel. */
const STATE_BYTES_MIN = 4 << 20;

/** A memory of the drawn map whose arena may grow to `stateBytesMax`. */
export function createMemory(stateBytesMax: number): WebAssembly.Memory {
  if (stateBytesMax < STATE_BYTES_MIN)
    throw new HallelujahError("memory-too-small", "a Jah needs at least 4M of --memory");
  const fixed = map.ARENA >> 16;
  const maximum = Math.min(65536, fixed + Math.ceil(stateBytesMax / 65536));
  return new WebAssembly.Memory({ initial: fixed + 1, maximum });
}
