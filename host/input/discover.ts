/** From what the user named (files, folders, globs, `-`) to files in a fixed order, and what each of them is. */
import { closeSync, openSync, readdirSync, readSync, statSync } from "node:fs";
import { basename, extname, join } from "node:path";
import { HallelujahError, messageOf } from "../core/errors.ts";
import { HEAD_BYTES } from "../core/limits.ts";
import type { SourceFormat } from "../wire/jah.ts";

const EXTENSIONS: Record<string, SourceFormat> = {
  ".csv": "csv",
  ".tsv": "csv",
  ".tab": "csv",
  ".psv": "csv",
  ".ndjson": "ndjson",
  ".jsonl": "ndjson",
  ".json": "ndjson",
  ".txt": "lines",
  ".log": "lines",
  ".parquet": "parquet",
  ".pq": "parquet",
  ".arrow": "arrow",
  ".arrows": "arrow",
  ".ipc": "arrow",
  ".feather": "arrow",
};

export interface InputFile {
  /** `-` is standard input; an http(s) or s3 URL is read from its server. */
  path: string;
  /** Bytes on disk, or as a server lists them; 0 for standard input, and where that is not known. */
  size: number;
}

/** The files behind the arguments: in argument order, those of a folder or glob by the bytes of their paths. */
export async function findFiles(inputs: string[], signal?: AbortSignal): Promise<InputFile[]> {
  const files: InputFile[] = [];
  for (const input of inputs) files.push(...(await filesOf(input, signal)));
  return files;
}

/** Whether an input lies on a server. */
export function isRemote(input: string): boolean {
  return /^(https?|s3):\/\//i.test(input);
}

async function remoteFilesOf(url: string, signal?: AbortSignal): Promise<InputFile[]> {
  if (!/^s3:/i.test(url)) return [{ path: url, size: 0 }];
  const { isS3Prefix, s3List } = await import("./s3.ts");
  if (!isS3Prefix(url)) return [{ path: url, size: 0 }];
  const found = await s3List(url, (key) => formatOfName(key) !== undefined, signal);
  return found.map(({ url: path, size }) => ({ path, size }));
}

async function filesOf(input: string, signal?: AbortSignal): Promise<InputFile[]> {
  if (input === "-") return [{ path: "-", size: 0 }];
  if (isRemote(input)) return remoteFilesOf(input, signal);
  const stat = reading(input, () => statSync(input, { throwIfNoEntry: false }));
  if (stat?.isDirectory()) {
    const found = reading(input, () => walk(input))!.filter((path) => formatOfName(path) !== undefined);
    if (!found.length) {
      throw new HallelujahError(
        "input-missing",
        `the folder ${input} has no data files (.csv, .ndjson, .parquet, ...)`,
      );
    }
    return inOrder(found);
  }
  if (stat) return [{ path: input, size: stat.isFile() ? stat.size : 0 }];
  if (/[*?[\]{}]/.test(input)) {
    const { glob } = await import("tinyglobby");
    const found = await glob(input.replaceAll("\\", "/"), { onlyFiles: true, expandDirectories: false });
    if (!found.length) throw new HallelujahError("input-missing", `no file matches ${input}`);
    return inOrder(found);
  }
  throw new HallelujahError("input-missing", `there is no file ${input}`);
}

/** What the system says of a path, in words. */
function reading<T>(path: string, look: () => T): T | undefined {
  try {
    return look();
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOTDIR") return undefined;
    throw new HallelujahError("input-unreadable", `${path} cannot be read: ${messageOf(cause)}`, { cause });
  }
}

function walk(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (entry.name.startsWith(".")) return [];
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return walk(path);
    return entry.isFile() || statSync(path, { throwIfNoEntry: false })?.isFile() ? [path] : [];
  });
}

function inOrder(paths: string[]): InputFile[] {
  return paths
    .toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    .map((path) => ({ path, size: statSync(path).size }));
}

function formatOfName(path: string): SourceFormat | undefined {
  return EXTENSIONS[extname(nameWithoutGz(path)).toLowerCase()];
}

export function nameWithoutGz(path: string): string {
  const name = /^https?:\/\//i.test(path) ? path.replace(/[?#][^]*$/, "") : path;
  return basename(name).replace(/\.gz$/i, "");
}

/** The first bytes of a file, at most HEAD_BYTES. */
export function readHead(path: string): Buffer {
  let fd = -1;
  try {
    fd = openSync(path, "r");
    const head = Buffer.allocUnsafe(HEAD_BYTES);
    let length = 0;
    while (length < head.length) {
      const got = readSync(fd, head, length, head.length - length, length);
      if (!got) break;
      length += got;
    }
    return head.subarray(0, length);
  } catch (cause) {
    throw new HallelujahError("input-unreadable", `${path} cannot be read: ${messageOf(cause)}`, { cause });
  } finally {
    if (fd >= 0) closeSync(fd);
  }
}

export function isGzip(head: Buffer): boolean {
  return head[0] === 0x1f && head[1] === 0x8b;
}

/**
 * What a file is: as the user says, else by content where that is plain (Parquet, Arrow), else by the name's
 * extension, else by content. `head` is decompressed. `linesWanted` says that the kernel's record is one `line`;
 * `shown` is the name for messages.
 */
export function formatOf(
  path: string,
  head: Buffer,
  given: SourceFormat | undefined,
  linesWanted: boolean,
  shown = path,
): SourceFormat {
  const magic = head.toString("latin1", 0, 6);
  const byContent = magic.startsWith("PAR1") ? "parquet" : magic === "ARROW1" ? "arrow" : undefined;
  if (given) return given;
  if (byContent) return byContent;
  const byName = formatOfName(path);
  if (byName === "parquet" || byName === "arrow") return byName;
  refuseBinary(shown, head);
  const start = head
    .toString("utf8", 0, 4096)
    .replace(/^\uFEFF/, "")
    .trimStart();
  const first = start[0];
  if ((byName === "ndjson" && first === "[") || (!byName && /^\[\s*[[{]/.test(start))) {
    const message = `${shown} is one JSON array, not NDJSON; put each record on a line of its own, e.g. with: jq -c '.[]'`;
    throw new HallelujahError("input-format", message);
  }
  if (byName && !(byName === "lines" && !linesWanted)) return byName;
  if (linesWanted) return "lines";
  return first === "{" ? "ndjson" : "csv";
}

/** Refuses what is no text in UTF-8: control bytes that no text holds, UTF-16, and known compressions. */
export function refuseBinary(path: string, head: Buffer): void {
  const refuse = (what: string, advice: string) => {
    throw new HallelujahError("input-binary", `${path} ${what}; ${advice}`);
  };
  const magic = head.toString("hex", 0, 4);
  if (magic.startsWith("fffe") || magic.startsWith("feff")) {
    refuse("is UTF-16", `convert it to UTF-8, e.g. with: iconv -f UTF-16 -t UTF-8`);
  }
  const known: Record<string, string> = {
    "28b52ffd": "zstd",
    "425a68": "bzip2",
    fd377a58: "xz",
    "504b0304": "zip",
  };
  for (const [start, name] of Object.entries(known)) {
    if (magic.startsWith(start))
      refuse(`is compressed with ${name}`, "decompress it, or pipe it in: ... | hallelujah run KERNEL -");
  }
  if (head.subarray(0, 65536).includes(0)) {
    refuse("holds NUL bytes, so it is no text", "name its format with --input-format if it is data");
  }
}
