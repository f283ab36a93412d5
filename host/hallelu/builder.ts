/** Kernels as clients send them, made into modules and checked. */
import { readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildApart } from "../compiler/apart.ts";
import type { KernelDescriptor } from "../compiler/descriptor.ts";
import type { DeployRequest } from "./host.ts";
import { checkModule } from "./module.ts";

export interface CheckedKernel {
  wasm: Uint8Array;
  descriptor: KernelDescriptor;
}

export class Builder {
  /** Sources that are being compiled. */
  private readonly builds = new Map<string, Promise<Buffer>>();

  /** Throws `compile-failed`, `kernel-invalid` or `kernel-version`. */
  async kernelOf(
    kernel: Exclude<DeployRequest["kernel"], { kind: "version" }>,
    file: string | undefined,
  ): Promise<CheckedKernel> {
    const wasm = kernel.kind === "wasm" ? Buffer.from(kernel.bytes) : await this.built(kernel.text, file);
    return { wasm, descriptor: await checkModule(wasm) };
  }

  /** The module of a source; who asks for the same at the same time waits for the same compiler. */
  private built(text: string, file: string | undefined): Promise<Buffer> {
    const key = `${safeName(file)}\0${text}`;
    const known = this.builds.get(key);
    if (known) return known;
    const build = this.build(text, file).finally(() => this.builds.delete(key));
    this.builds.set(key, build);
    return build;
  }

  private async build(text: string, file: string | undefined): Promise<Buffer> {
    const folder = await mkdtemp(join(tmpdir(), "hallelujah-"));
    try {
      const path = join(folder, safeName(file));
      writeFileSync(path, text);
      return readFileSync((await buildApart(path)).path);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
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
