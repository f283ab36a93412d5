/** Starts a module once, as its tables are made then: sizes of windows, names and limits that make no sense show there. */
import { HallelujahError, messageOf } from "../core/errors.ts";
import { createMemory, KernelInstance } from "../kernel/instance.ts";
import { NDJSON } from "../kernel/memory-map.ts";

const STATE_BYTES = 64 << 20;

/** Throws `kernel-invalid`, with what the kernel says of it. A start that never ends is for the caller to end. */
export function checkStart(wasm: Uint8Array): void {
  try {
    const module = new WebAssembly.Module(wasm as BufferSource);
    new KernelInstance(module, createMemory(STATE_BYTES)).exports.start(NDJSON, 0);
  } catch (cause) {
    throw new HallelujahError("kernel-invalid", `the kernel stops as it starts: ${messageOf(cause)}`, {
      cause,
    });
  }
}
