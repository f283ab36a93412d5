/**
 * The file STORE of a store's folder: which binding of RocksDB wrote last, and the newest checkpoint. It is read before RocksDB is
 * loaded, as an older RocksDB may not know that it cannot read what a newer one wrote.
 *
 * Two lines of 128 bytes, the same JSON in both, so that a damaged one can be done without:
 *
 *   {"format":1,"rocksdb":9,"node":22,"checkpoint":12,"crc":123}
 */
import {
  closeSync,
  existsSync,
  fdatasyncSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { crc32 } from "node:zlib";
import { HallelujahError, messageOf } from "../core/errors.ts";

const FILE = "STORE";
const FORMAT = 1;
const LINE = 128;

/** Who writes: the major version of RocksDB, and the first of Node's that has it. */
export interface Writer {
  rocksdb: number;
  node: number;
}

/** The marker of an open store. */
export class Marker {
  private constructor(
    private readonly fd: number,
    private readonly writer: Writer,
    /** The newest checkpoint that was noted, 0 before the first. */
    public checkpoint: number,
  ) {}

  /**
   * Opens the marker of a folder, or makes both. Throws `store-newer` if a newer RocksDB or a newer format was there,
   * `store-damaged` if it cannot be read but something was stored, `disk-full` or `store-unwritable`.
   */
  static open(folder: string, writer: Writer): Marker {
    const path = join(folder, FILE);
    const found = readMarker(folder);
    if (!found && existsSync(join(folder, "CURRENT")))
      throw new HallelujahError("store-damaged", `${path} is damaged, or is missing`);
    if (found && (found.format > FORMAT || found.rocksdb > writer.rocksdb))
      throw new HallelujahError(
        "store-newer",
        `${folder} was written by a newer version; start it with Node ${found.node} or newer${found.format > FORMAT ? " and the Hallelujah that wrote it" : ""}`,
      );
    let fd = -1;
    try {
      const there = existsSync(path);
      if (!there) {
        mkdirSync(folder, { recursive: true });
        syncFolder(dirname(folder));
      }
      fd = openSync(path, there ? "r+" : "w");
      const marker = new Marker(fd, writer, found?.checkpoint ?? 0);
      if (found?.rocksdb !== writer.rocksdb) {
        marker.write();
        fdatasyncSync(fd);
        syncFolder(folder);
      }
      return marker;
    } catch (cause) {
      if (fd >= 0) closeSync(fd);
      const full = ["ENOSPC", "EDQUOT"].includes((cause as NodeJS.ErrnoException).code ?? "");
      throw new HallelujahError(
        full ? "disk-full" : "store-unwritable",
        `${path} cannot be written: ${messageOf(cause)}`,
        { cause },
      );
    }
  }

  /** Notes a checkpoint that is durable; only the first is synced, as after it RocksDB's files must be there. */
  note(checkpoint: number): void {
    const first = this.checkpoint === 0;
    this.checkpoint = checkpoint;
    try {
      this.write();
      if (first) fdatasyncSync(this.fd);
    } catch {
      // The checkpoint is there all the same.
    }
  }

  close(): void {
    closeSync(this.fd);
  }

  private write(): void {
    const content = { format: FORMAT, ...this.writer, checkpoint: this.checkpoint };
    const line = `${JSON.stringify({ ...content, crc: sum(content) }).padEnd(LINE - 1)}\n`;
    writeSync(this.fd, line + line, 0);
  }
}

interface Content extends Writer {
  format: number;
  checkpoint: number;
}

/** What a folder's marker says; undefined if there is none, or none that can be read. */
function readMarker(folder: string): Content | undefined {
  let text: string;
  try {
    text = readFileSync(join(folder, FILE), "latin1");
  } catch {
    return undefined;
  }
  for (const line of [text.slice(0, LINE), text.slice(LINE)]) {
    try {
      const { crc, ...content } = JSON.parse(line) as Content & { crc: number };
      if (crc === sum(content)) return content;
    } catch {
      // The other line may be whole.
    }
  }
  return undefined;
}

function sum(content: Content): number {
  return crc32(JSON.stringify(content));
}

function syncFolder(folder: string): void {
  const fd = openSync(folder, "r");
  fsyncSync(fd);
  closeSync(fd);
}
