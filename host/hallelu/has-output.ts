/** Whether kernels put anything out, and that nobody is left without rows who takes the output of a stream. */
import type { KernelDescriptor } from "../compiler/descriptor.ts";
import { HallelujahError } from "../core/errors.ts";
import type { Running } from "./running.ts";
import type { Stream } from "./stream.ts";

/** Older modules do not say; they may. */
export function hasOutput({ emits = true }: KernelDescriptor): boolean {
  return emits;
}

/** `output-none`; `so` is what follows from it. */
export function noOutput(name: string, so: string): HallelujahError {
  return new HallelujahError(
    "output-none",
    `${name} has no output, as its kernel never calls out.emit; ${so}`,
  );
}

/** Throws `output-none` if another kernel would leave those without rows who take the output. */
export function checkOutput({ name, record }: Stream, descriptor: KernelDescriptor, all: Running[]): void {
  const follower = all.find(({ stream: { record: other } }) => other.from === name && !other.shares);
  if (!hasOutput(descriptor) && (record.sink.length || follower))
    throw noOutput(
      name,
      follower ? `${follower.stream.name} would get no record` : "its sinks would get no row",
    );
}
