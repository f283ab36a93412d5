/** Whether bytes that a client sent are a kernel. Nothing of them is run here, and what they say of themselves is checked. */
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { crc32 } from "node:zlib";
import { descriptorOf, readDescriptor } from "../compiler/cache.ts";
import type { KernelDescriptor } from "../compiler/descriptor.ts";
import { HallelujahError, messageOf } from "../core/errors.ts";
import type { StreamRecord } from "./record.ts";

/** What a module may ask of the host: its memory, and the means to end itself. */
const IMPORTS: Record<string, WebAssembly.ImportExportKind> = { memory: "memory", abort: "function" };

/** The descriptor of a module. Throws `kernel-invalid` or `kernel-version`. */
export async function checkModule(wasm: Buffer): Promise<KernelDescriptor> {
  const descriptor = descriptorOf(wasm, "the module");
  const module = await WebAssembly.compile(new Uint8Array(wasm)).catch((cause: unknown) => {
    throw invalid(`the module is broken: ${messageOf(cause)}`, cause);
  });
  for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
    if (from !== "env" || !Object.hasOwn(IMPORTS, name) || IMPORTS[name] !== kind)
      throw invalid(`the module imports ${from}.${name} (${kind}); a kernel has only what the SDK gives it`);
  }
  if (!WebAssembly.Module.exports(module).some(({ name, kind }) => name === "start" && kind === "function"))
    throw invalid("the module has no function start; build a kernel with: hallelujah build");
  return descriptor;
}

/**
 * The descriptor of a stream's module on disk. Throws `kernel-damaged` if it is not what was deployed, `kernel-missing`, `kernel-invalid` or
 * `kernel-version`.
 */
export function readModule({
  kernel,
  moduleSums,
}: Pick<StreamRecord, "kernel" | "moduleSums">): KernelDescriptor {
  const descriptor = readDescriptor(kernel);
  const sum = moduleSums?.[basename(kernel)];
  if (sum === undefined || crc32(readFileSync(kernel)) === sum) return descriptor;
  const message = `${kernel} is not what was deployed; bring it back from a backup, or build it anew`;
  throw new HallelujahError("kernel-damaged", message);
}

function invalid(message: string, cause?: unknown): HallelujahError {
  return new HallelujahError("kernel-invalid", message, { cause });
}
