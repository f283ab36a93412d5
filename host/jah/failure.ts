/** What a Jah tells of an error: of the kernel's making, for want of memory, in the input, or its own. */
import { HallelujahError, messageOf } from "../core/errors.ts";
import { FRAME_BYTES } from "../core/limits.ts";
import { KernelAbort, type KernelInstance } from "../kernel/instance.ts";
import { FULL_ROWS, FULL_TABLE } from "../kernel/memory-map.ts";
import type { Failure, FrameTask, SourceSpec } from "../wire/jah.ts";

export function failureOf(
  error: unknown,
  kernel?: KernelInstance,
  task?: FrameTask,
  source?: SourceSpec,
  frameBytes = FRAME_BYTES,
): Failure {
  const place = task ? { frame: task.frame, source: task.source, ...rangeOf(task, source, frameBytes) } : {};
  const stack = error instanceof Error ? (error.stack ?? "") : "";
  const message = messageOf(error);
  if (error instanceof HallelujahError) return { kind: "input", code: error.code, message, stack, ...place };
  if (error instanceof KernelAbort && message === "out of memory" && kernel) {
    const table = kernel.u32(FULL_TABLE) - 1;
    const entries = table < FULL_ROWS ? kernel.exports.size(Math.max(0, table)) : 0;
    return { kind: "memory", code: "out-of-memory", message, stack, table, entries, ...place };
  }
  if (error instanceof KernelAbort || error instanceof WebAssembly.RuntimeError || /wasm/.test(stack)) {
    return { kind: "trap", code: "kernel-trapped", message, stack, ...place };
  }
  return { kind: "internal", code: "internal", message, stack, ...place };
}

function rangeOf(
  task: FrameTask,
  source: SourceSpec | undefined,
  frameBytes: number,
): { start?: number; end?: number } {
  if (task.kind === "bytes") return { start: task.offset, end: task.offset + task.bytes.length };
  if (task.kind === "rows" || task.kind === "slice" || task.kind === "time") return {};
  const end = Math.min((task.index + 1) * frameBytes, source?.size ?? Infinity);
  return { start: task.index * frameBytes, end };
}
