/** Compiles AssemblyScript source text against the assembly/ folder and instantiates it, for tests. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { asc } from "../../host/compiler/asc.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));

export interface CompileOptions {
  /** More options for asc. */
  options?: string[];
  /** Functions to import, by module and name; "env.memory" and "env.abort" are given. */
  imports?: WebAssembly.Imports;
  /** The size of the memory in pages of 64 KiB. */
  pages?: number;
}

export interface Compiled<Exports> {
  exports: Exports;
  memory: WebAssembly.Memory;
  /** The size of the module in bytes. */
  size: number;
  /** The first address free for the test, a multiple of 16: all after the static data. */
  base: number;
  /** Writes texts one after another at `at`, and their ends and starts (u32, texts + 1) at `index`. */
  writeTexts(texts: readonly string[], at: number, index: number): void;
}

/** The source is compiled as if it were the file assembly/test.ts: import with "./number/parse" and so on. */
export async function compileText(source: string, options: readonly string[] = []): Promise<Uint8Array> {
  let binary: Uint8Array | undefined;
  const entry = "assembly/test.ts";
  const text = `${source}\nexport function __base(): usize {\n  return __heap_base;\n}\n`;
  const { error, stderr } = await asc.main(
    [
      entry,
      "-O3",
      "--enable",
      "simd",
      "--runtime",
      "stub",
      "--importMemory",
      "--outFile",
      "out.wasm",
      ...options,
    ],
    {
      readFile(name: string, base: string): string | null {
        if (name.replaceAll("\\", "/") === entry) return text;
        if (name.endsWith("asconfig.json")) return null; // that is for kernels
        try {
          return readFileSync(join(root, base === "." ? "" : base, name), "utf8");
        } catch {
          return null;
        }
      },
      writeFile(name: string, contents: string | Uint8Array): void {
        if (name === "out.wasm") binary = contents as Uint8Array;
      },
      listFiles: () => [],
    },
  );
  if (error || !binary) throw new Error(`asc: ${error?.message}\n${stderr}`);
  return binary;
}

export async function compile<Exports extends object>(
  source: string,
  { options = [], imports = {}, pages = 16 }: CompileOptions = {},
): Promise<Compiled<Exports>> {
  const binary = await compileText(source, options);
  const memory = new WebAssembly.Memory({ initial: pages });
  const abort = (): never => {
    throw new Error("abort");
  };
  const { instance } = (await WebAssembly.instantiate(
    binary as BufferSource,
    {
      ...imports,
      env: { memory, abort, ...imports.env },
    } as WebAssembly.Imports,
  )) as unknown as WebAssembly.WebAssemblyInstantiatedSource;
  const exports = instance.exports as unknown as Exports & { __base(): number };
  const encoder = new TextEncoder();
  return {
    exports,
    memory,
    size: binary.length,
    base: (exports.__base() + 15) & ~15,
    writeTexts(texts, at, index) {
      const bytes = new Uint8Array(memory.buffer);
      const ends = new Uint32Array(memory.buffer, index, texts.length + 1);
      let end = at;
      ends[0] = end;
      for (let i = 0; i < texts.length; i++) {
        end += encoder.encodeInto(texts[i], bytes.subarray(end)).written;
        ends[i + 1] = end;
      }
    },
  };
}
