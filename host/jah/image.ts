/** A shard's memory to disk and back: the arena as it is, at the same addresses. */
import { type ImageMeta, readImage, writeImage } from "../store/images.ts";
import type { KernelInstance } from "../kernel/instance.ts";
import * as map from "../kernel/memory-map.ts";
import { growForPages } from "../kernel/pages.ts";

/** Writes the arena of a kernel; answers its bytes. */
export function saveImage(path: string, kernel: KernelInstance, meta: Omit<ImageMeta, "abi">): number {
  const arena = kernel.bytes.subarray(map.ARENA, kernel.arenaEnd);
  writeImage(path, { ...meta, abi: map.ABI_VERSION }, arena);
  return arena.length;
}

/** Puts an arena back into a memory in which no kernel was instantiated yet. */
export function loadImage(path: string, memory: WebAssembly.Memory): ImageMeta {
  return readImage(path, map.ABI_VERSION, (bytes) => {
    growForPages(memory, map.ARENA + bytes);
    return new Uint8Array(memory.buffer, map.ARENA, bytes);
  });
}
