/**
 * Built kernels by content: the author's files, the SDK and the compilers' versions name the module, so that an
 * unchanged kernel starts without AssemblyScript.
 */
import { createHash } from "node:crypto";
import {
  mkdirSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { homedir, tmpdir } from "node:os";
import { dirname, extname, join, relative, resolve } from "node:path";
import { HallelujahError } from "../core/errors.ts";
import { packageRoot } from "../core/package-root.ts";
import { ABI_VERSION } from "../kernel/memory-map.ts";
import type { CompileTarget } from "./compile.ts";
import { checkStart } from "./start.ts";
import { type KernelDescriptor, sectionNames, sectionText } from "./descriptor.ts";
import { invalidDescriptor } from "./descriptor-check.ts";

const WASM_MAGIC = 0x6d736100; // "\0asm"

/** Modules kept, and generated sources, unless `HALLELUJAH_CACHE_FILES` says how many; the ones not used for longest go first. */
const KEPT_MAX = 256;

export interface BuiltKernel {
  /** The module's file. */
  path: string;
  descriptor: KernelDescriptor;
  /** Whether it was there already. */
  cached: boolean;
}

/** The module of a kernel: a `.wasm` file as it is, a `.ts` file built unless it was built before. `quick` is built in half the time, see `CompileTarget`. */
export async function buildKernel(
  file: string,
  { target = "release" }: { target?: CompileTarget } = {},
): Promise<BuiltKernel> {
  const built = findBuilt(file, target);
  if (built) return built;
  const { compileKernel } = await import("./compile.ts");
  const { wasm } = await compileKernel(file, target);
  checkStart(wasm);
  const path = pathFor(file, target);
  keep(path, wasm);
  return { path, descriptor: readDescriptor(path), cached: false };
}

/** The module of a kernel that does not have to be built; undefined if it has. */
export function findBuilt(file: string, target: CompileTarget = "release"): BuiltKernel | undefined {
  if (file.endsWith(".wasm"))
    return { path: resolve(file), descriptor: readDescriptor(resolve(file)), cached: true };
  const path = pathFor(file, target);
  const descriptor = existsSync(path) ? tryDescriptor(path) : undefined;
  if (!descriptor) return undefined;
  touch(path);
  return { path, descriptor, cached: true };
}

function pathFor(file: string, target: CompileTarget): string {
  const suffix = target === "release" ? "" : `-${target}`;
  return join(cacheFolder(), `${kernelHash(resolve(file))}${suffix}.wasm`);
}

/** Where built modules lie: `HALLELUJAH_CACHE`, or the user's cache folder. */
function cacheFolder(): string {
  const { HALLELUJAH_CACHE, XDG_CACHE_HOME } = process.env;
  if (HALLELUJAH_CACHE) return HALLELUJAH_CACHE;
  const home = XDG_CACHE_HOME ?? (homedir() ? join(homedir(), ".cache") : tmpdir());
  return join(home, "hallelujah");
}

/** The file of a source that was generated: the same text is the same file. It is kept as modules are. */
export function sourceFile(name: string, text: string): string {
  const hash = createHash("sha256").update(text).digest("hex").slice(0, 16);
  const path = join(cacheFolder(), `${name}-${hash}.ts`);
  if (existsSync(path) && readText(path) === text) touch(path);
  else keep(path, text);
  return path;
}

function keep(path: string, content: Uint8Array | string): void {
  mkdirSync(dirname(path), { recursive: true });
  const unfinished = `${path}.${process.pid}`;
  writeFileSync(unfinished, content);
  renameSync(unfinished, path); // another process finds the whole file or none
  const files = readdirSync(dirname(path)).filter((name) => extname(name) === extname(path));
  const max = Number(process.env.HALLELUJAH_CACHE_FILES ?? KEPT_MAX);
  if (files.length <= max) return;
  const byAge = files
    .map((name) => join(dirname(path), name))
    .map((name) => ({ name, used: statSync(name, { throwIfNoEntry: false })?.mtimeMs ?? 0 }))
    .toSorted((a, b) => a.used - b.used);
  for (const { name } of byAge.slice(0, files.length - max)) rmSync(name, { force: true });
}

function touch(path: string): void {
  try {
    const now = new Date();
    utimesSync(path, now, now);
  } catch {
    // a cache that cannot be written still serves
  }
}

/** The texts of a kernel's files by their paths: its own first, and those that these import by a relative path, where they are there. */
export function sourcesOf(file: string): Map<string, string> {
  const sources = new Map<string, string>();
  const add = (path: string) => {
    if (sources.has(path)) return;
    const text = readText(path);
    sources.set(path, text);
    for (const [, own] of text.matchAll(/from\s*["'](\.[^"']*)["']/g)) {
      const base = resolve(dirname(path), own);
      const found = [`${base}.ts`, join(base, "index.ts")].find((candidate) => existsSync(candidate));
      if (found) add(found);
    }
  };
  const path = resolve(file);
  if (!existsSync(path)) throw new HallelujahError("kernel-missing", `there is no kernel ${path}`);
  add(path);
  return sources;
}

/** SHA-256 over everything that makes the module what it is; where the kernel's folder lies does not. */
function kernelHash(path: string): string {
  const hash = createHash("sha256");
  for (const [file, text] of sourcesOf(path))
    hash.update(`${relative(dirname(path), file)}\0${text.length}\0${text}`);
  // An installed package's compiler is told by its version; in a clone it changes under the same one.
  const folders = ["assembly", "host/compiler"]
    .map((name) => join(packageRoot, name))
    .filter((name) => existsSync(name));
  for (const file of [
    ...folders.flatMap(sourceFiles),
    join(packageRoot, "package.json"),
    join(packageRoot, "asconfig.json"),
  ]) {
    hash.update(`${file.slice(packageRoot.length)}\0${readFileSync(file)}`);
  }
  return hash.digest("hex").slice(0, 40);
}

function sourceFiles(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      return entry.isDirectory() ? sourceFiles(path) : entry.name.endsWith(".ts") ? [path] : [];
    });
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new HallelujahError("kernel-unreadable", `${path} cannot be read`, { cause });
  }
}

function tryDescriptor(path: string): KernelDescriptor | undefined {
  try {
    return readDescriptor(path);
  } catch {
    return undefined;
  }
}

/** The descriptor of a module file. Throws if it is no kernel, or one for another version of the SDK. */
export function readDescriptor(path: string): KernelDescriptor {
  if (!existsSync(path)) throw new HallelujahError("kernel-missing", `there is no kernel ${path}`);
  return descriptorOf(readFileSync(path), path);
}

/** The descriptor of a module; `name` is for messages. Throws `kernel-invalid` or `kernel-version`. */
export function descriptorOf(wasm: Buffer, name: string): KernelDescriptor {
  if (wasm.length < 8 || wasm.readUInt32LE(0) !== WASM_MAGIC) {
    throw new HallelujahError("kernel-invalid", `${name} is no WebAssembly module`);
  }
  const text = sectionText(wasm, sectionNames.descriptor);
  const descriptor = text === undefined ? undefined : parse(text);
  if (typeof descriptor?.abi !== "number") {
    const message = `${name} is no kernel of Hallelujah; build one with: hallelujah build`;
    throw new HallelujahError("kernel-invalid", message);
  }
  if (descriptor.abi !== ABI_VERSION) {
    const message = `${name} was built for version ${descriptor.abi} of the kernel interface, this is ${ABI_VERSION}; build it again`;
    throw new HallelujahError("kernel-version", message);
  }
  const why = invalidDescriptor(descriptor);
  if (why !== undefined) {
    const message = `${name} describes itself wrongly: ${why}; build it with: hallelujah build`;
    throw new HallelujahError("kernel-invalid", message);
  }
  return descriptor;
}

function parse(text: string): KernelDescriptor | undefined {
  try {
    return JSON.parse(text) as KernelDescriptor;
  } catch {
    return undefined;
  }
}
