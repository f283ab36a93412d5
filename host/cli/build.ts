/** `hallelujah build`: a kernel as a module file. */
import { copyFileSync } from "node:fs";
import { relative } from "node:path";
import { buildKernel } from "../compiler/cache.ts";
import { HallelujahError, messageOf } from "../core/errors.ts";

export async function buildCommand(kernel: string, { output }: { output?: string }): Promise<void> {
  if (!kernel.endsWith(".ts"))
    throw new HallelujahError("usage", `${kernel} is no kernel's source (a .ts file)`);
  const built = await buildKernel(kernel);
  const target = output ?? kernel.replace(/\.ts$/, ".wasm");
  try {
    copyFileSync(built.path, target);
  } catch (cause) {
    throw new HallelujahError("output-unwritable", `${target} cannot be written: ${messageOf(cause)}`, {
      cause,
    });
  }
  process.stdout.write(`${relative(".", target)}\n`);
}
