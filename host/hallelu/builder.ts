/** Kernels as clients send them, made into modules and checked. */
import { readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildApart } from "../compiler/apart.ts";
import type { CompileTarget } from "../compiler/compile.ts";
import type { KernelDescriptor } from "../compiler/descriptor.ts";
import type { DeployRequest } from "./host.ts";
import { checkModule } from "./module.ts";

export interface CheckedKernel {
  wasm: Uint8Array;
  descriptor: KernelDescriptor;
}

/** Kernels of sources that are kept: a visit that is made again need not look for its module. */
const KEPT_MAX = 16;

export class Builder {
  /** Kernels by their sources, the one used last comes last; those that are being compiled, too. */
  private readonly kernels = new Map<string, Promise<CheckedKernel>>();

  /** Throws `compile-failed`, `kernel-invalid` or `kernel-version`. */
  async kernelOf(
    kernel: Exclude<DeployRequest["kernel"], { kind: "version" }>,
    file: string | undefined,
    target: CompileTarget = "release",
  ): Promise<CheckedKernel> {
    return kernel.kind === "wasm"
      ? checked(Buffer.from(kernel.bytes))
      : this.built(kernel.text, file, target);
  }

  /** The kernel of a source; who asks for the same at the same time waits for the same compiler. */
  private async built(text: string, file: string | undefined, target: CompileTarget): Promise<CheckedKernel> {
    const key = `${target}\0${safeName(file)}\0${text}`;
    const kernel = this.kernels.get(key) ?? this.build(text, file, target).then(checked);
    this.kernels.delete(key);
    this.kernels.set(key, kernel);
    if (this.kernels.size > KEPT_MAX) this.kernels.delete(this.kernels.keys().next().value!);
    try {
      return await kernel;
    } catch (error) {
      if (this.kernels.get(key) === kernel) this.kernels.delete(key);
      throw error;
    }
  }

  private async build(text: string, file: string | undefined, target: CompileTarget): Promise<Buffer> {
    const folder = await mkdtemp(join(tmpdir(), "hallelujah-"));
    try {
      const path = join(folder, safeName(file));
      writeFileSync(path, text);
      return readFileSync((await buildApart(path, target)).path);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
}

async function checked(wasm: Buffer): Promise<CheckedKernel> {
  return { wasm, descriptor: await checkModule(wasm) };
}

/** The name of a source file, as errors name it: nothing of it leads out of its folder. */
function safeName(file: string | undefined): string {
  const name =
    file
      ?.split(/[/\\]/)
      .at(-1)
      ?.replace(/[^\w.-]/g, "_") ?? "kernel.ts";
  return name.endsWith(".ts") && !name.startsWith(".") ? name : "kernel.ts";
}
