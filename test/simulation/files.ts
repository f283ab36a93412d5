/**
 * The files of a simulated host, as far as the logs of streams go, for the product's `Log`: they are in memory, writes and syncs take
 * virtual time and fail now and then. A host that is killed in the middle of a write leaves the start of it; when
 * power goes, of each write that is not synced all is there, a part, or nothing but zeros in its place, and a name that was made or
 * removed may be as before unless its folder was synced. What could not be synced is forgotten though it can be read
 * (fsyncgate, 2018).
 */
import type { FileHandle } from "node:fs/promises";
import { basename, dirname } from "node:path";
import type { Files } from "../../host/store/files.ts";
import type { Disk } from "../../host/store/log.ts";

/** Bytes at a place, or where the file ends now. */
type Change = { at: number; bytes: Buffer } | { size: number };

class Content {
  bytes = Buffer.alloc(0);

  apply(change: Change): void {
    const end = "size" in change ? change.size : change.at + change.bytes.length;
    if (end > this.bytes.length)
      this.bytes = Buffer.concat([this.bytes, Buffer.alloc(end - this.bytes.length)]);
    if ("size" in change) this.bytes = this.bytes.subarray(0, end);
    else change.bytes.copy(this.bytes, change.at);
  }
}

class SimulatedFile {
  content = new Content();
  /** What a loss of power leaves for certain. */
  private durable = new Content();
  private unsynced: Change[] = [];

  change(change: Change): void {
    this.content.apply(change);
    this.unsynced.push(change);
  }

  sync(): void {
    for (const change of this.unsynced) this.durable.apply(change);
    this.unsynced = [];
  }

  /** A sync that failed: the system takes all for synced. */
  forget(): void {
    this.unsynced = [];
  }

  losePower(chance: () => number): void {
    for (const change of this.unsynced) {
      const roll = chance();
      if (roll < 0.3) continue;
      if ("size" in change || roll < 0.6) this.durable.apply(change);
      else {
        const { at, bytes } = change;
        this.durable.apply({ at, bytes: bytes.subarray(0, Math.floor(chance() * bytes.length)) });
        // The file may have become as long as it was to be, with nothing in it.
        if (roll < 0.8) this.durable.apply({ size: Math.max(this.durable.bytes.length, at + bytes.length) });
      }
    }
    this.unsynced = [];
    this.content.bytes = Buffer.from(this.durable.bytes);
  }
}

/** What time and luck there are. */
export interface Circumstances {
  later(ms: number, what: () => void): void;
  /** How long a write or a sync takes, ms. */
  writing(): number;
  fails(): boolean;
}

export class SimulatedFiles {
  private names = new Map<string, SimulatedFile>();
  private durable = new Map<string, SimulatedFile>();
  private readonly open = new Map<number, SimulatedFile>();
  private opened = 0;
  private readonly chance: () => number;
  /** Of the host that runs; those that were killed never hear of what they began. */
  private host = {};
  /** What is being written. */
  private underWay = new Map<SimulatedFile, Change>();

  constructor(chance: () => number) {
    this.chance = chance;
  }

  /** The host ends where it stands; with `power`, so does all that is not on disk. */
  crash(power: boolean): void {
    this.host = {};
    for (const [file, change] of this.underWay)
      if ("bytes" in change) {
        const { at, bytes } = change;
        file.change({ at, bytes: bytes.subarray(0, Math.floor(this.chance() * (bytes.length + 1))) });
      }
    this.underWay.clear();
    this.open.clear();
    if (!power) return;
    for (const file of new Set([...this.names.values(), ...this.durable.values()]))
      file.losePower(this.chance);
    for (const name of new Set([...this.names.keys(), ...this.durable.keys()])) {
      const now = this.chance() < 0.5 ? this.names.get(name) : this.durable.get(name);
      if (now) this.durable.set(name, now);
      else this.durable.delete(name);
    }
    this.names = new Map(this.durable);
  }

  /** What a log of the host that runs now has of it. */
  of(circumstances: Circumstances): { files: Files; disk: Disk } {
    const { host } = this;
    const isHere = () => this.host === host;
    /** Does something after its time; nobody hears of it if the host has ended. */
    const takes = (what: () => void) =>
      new Promise<void>((done, fail) => {
        if (!isHere()) return;
        circumstances.later(circumstances.writing(), () => {
          if (!isHere()) return;
          try {
            what();
            done();
          } catch (error) {
            fail(error);
          }
        });
      });
    /** Of a host that ended, nothing is open. */
    const file = (fd: number) => this.open.get(fd)!;
    const handleOf = (fd: number) => ({
      fd,
      truncate: async (size: number) => file(fd)?.change({ size }),
      datasync: () => takes(() => this.sync(file(fd), circumstances)),
      close: async () => void this.open.delete(fd),
      read: async (buffer: Buffer, offset: number, length: number, position: number) => ({
        buffer,
        bytesRead: read(file(fd), buffer, offset, length, position),
      }),
    });
    const files: Files = {
      makeFolder: () => {},
      readdirSync: (folder) =>
        [...this.names.keys()].filter((name) => dirname(name) === folder).map((name) => basename(name)),
      openSync: (path) => this.openFile(path),
      closeSync: (fd) => void this.open.delete(fd),
      fstatSync: (fd) => ({ size: file(fd).content.bytes.length, mtimeMs: Date.now() }),
      readSync: (fd, into, offset, length, position) => read(file(fd), into, offset, length, position),
      ftruncateSync: (fd, size) => file(fd).change({ size }),
      fsyncSync: (fd) => this.open.get(fd)?.sync(),
      writeFileSync: (path, bytes) => this.make(path).change({ at: 0, bytes: Buffer.from(bytes) }),
      renameSync: (from, to) => {
        this.names.set(to, this.names.get(from)!);
        this.names.delete(from);
      },
      removeSync: (path) => void this.names.delete(path),
      open: (path, flags) => {
        if (!isHere()) return new Promise(() => {});
        if (flags === "wx+") this.make(path);
        return Promise.resolve(handleOf(this.openFile(path)) as unknown as FileHandle);
      },
      unlink: async (path) => {
        if (!isHere()) await new Promise(() => {});
        if (!this.names.delete(path)) throw Object.assign(new Error(path), { code: "ENOENT" });
      },
    };
    const disk: Disk = {
      writev: (handle, buffers, at) => {
        if (!isHere()) return new Promise(() => {});
        const change = { at, bytes: Buffer.concat(buffers) };
        const written = file(handle.fd);
        this.underWay.set(written, change);
        return takes(() => {
          this.underWay.delete(written);
          const fails = circumstances.fails();
          const end = fails ? Math.floor(this.chance() * change.bytes.length) : change.bytes.length;
          written.change({ at, bytes: change.bytes.subarray(0, end) });
          if (fails) throw Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
        });
      },
      datasync: (handle) => takes(() => this.sync(file(handle.fd), circumstances)),
      syncFolder: (folder) => takes(() => this.syncNames(folder)),
    };
    return { files, disk };
  }

  private sync(file: SimulatedFile, { fails }: Circumstances): void {
    if (!fails()) return file.sync();
    if (this.chance() < 0.5) file.forget();
    throw Object.assign(new Error("input/output error"), { code: "EIO" });
  }

  private syncNames(folder: string): void {
    for (const name of this.durable.keys()) if (dirname(name) === folder) this.durable.delete(name);
    for (const [name, file] of this.names) if (dirname(name) === folder) this.durable.set(name, file);
  }

  private make(path: string): SimulatedFile {
    const file = new SimulatedFile();
    this.names.set(path, file);
    return file;
  }

  /** A folder, which is opened to be synced, has names. */
  private openFile(path: string): number {
    const file = this.names.get(path);
    if (!file && /\.(seg|idx)$/.test(path)) throw Object.assign(new Error(path), { code: "ENOENT" });
    this.open.set(++this.opened, file ?? ({ sync: () => this.syncNames(path) } as SimulatedFile));
    return this.opened;
  }
}

function read(file: SimulatedFile, into: Buffer, offset: number, length: number, position: number): number {
  return file.content.bytes.copy(into, offset, position, position + length);
}
