/** Whether bytes that a client sent are a kernel. Nothing of them is run here, and what they say of themselves is checked. */
import { z } from "@hono/zod-openapi";
import { descriptorOf } from "../compiler/cache.ts";
import type { KernelDescriptor } from "../compiler/descriptor.ts";
import { HallelujahError, messageOf } from "../core/errors.ts";

/** What a module may ask of the host: its memory, and the means to end itself. */
const IMPORTS: Record<string, WebAssembly.ImportExportKind> = { memory: "memory", abort: "function" };

const NAME = z.string().min(1).max(1024);
const COUNT = z.number().int().min(0);
const Row = z.object({
  name: NAME,
  fields: z
    .array(z.object({ name: NAME, source: NAME, type: NAME, optional: z.boolean(), offset: COUNT }))
    .max(4096),
  size: COUNT,
});
const Descriptor = z.object({
  abi: COUNT,
  sdk: z.string(),
  file: z.string(),
  input: Row,
  outputs: z.array(Row),
  tables: z.array(
    z.object({
      kind: z.enum(["Table", "Windows", "Sessions"]).optional(),
      span: z.string().max(1024).optional(),
      name: NAME,
      key: z.array(NAME).min(1),
      state: NAME,
      fields: z.array(
        z.object({
          name: NAME,
          aggregate: NAME,
          type: NAME.optional(),
          offset: COUNT,
          size: COUNT,
          columns: z.array(NAME),
        }),
      ),
    }),
  ),
  ordered: z.boolean(),
  time: z.object({ field: NAME, lateness: z.number() }).optional(),
  late: z.boolean(),
  emits: z.boolean().optional(),
});

/** The descriptor of a module. Throws `kernel-invalid` or `kernel-version`. */
export async function checkModule(wasm: Buffer): Promise<KernelDescriptor> {
  const { data, error } = Descriptor.safeParse(descriptorOf(wasm, "the module"));
  if (error) {
    const [{ path, message }] = error.issues;
    throw invalid(`the module describes itself wrongly: ${path.join(".")}: ${message}`);
  }
  const module = await WebAssembly.compile(new Uint8Array(wasm)).catch((cause: unknown) => {
    throw invalid(`the module is broken: ${messageOf(cause)}`, cause);
  });
  for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
    if (from !== "env" || !Object.hasOwn(IMPORTS, name) || IMPORTS[name] !== kind)
      throw invalid(`the module imports ${from}.${name} (${kind}); a kernel has only what the SDK gives it`);
  }
  if (!WebAssembly.Module.exports(module).some(({ name, kind }) => name === "start" && kind === "function"))
    throw invalid("the module has no function start; build a kernel with: hallelujah build");
  return data as KernelDescriptor;
}

function invalid(message: string, cause?: unknown): HallelujahError {
  return new HallelujahError("kernel-invalid", message, { cause });
}
