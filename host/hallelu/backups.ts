/** The backups of a host, one at a time. See backup.ts for what is in one. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { HallelujahError } from "../core/errors.ts";
import { type Registry, registryText } from "../store/registry.ts";
import { archiveOf, inBackupOrder, snapshot, type SnapshotFile } from "./backup.ts";
import type { Roster } from "./roster.ts";

/** The host, as far as this needs it. */
interface BackedUpHost {
  data: string;
  registry: Registry;
  roster: Roster;
}

export class Backups {
  private readonly host: BackedUpHost;
  /** Where the snapshots of a backup are until it is read; on the file system of what they are links to. */
  private readonly folder: string;
  private isUnderWay = false;

  constructor(host: BackedUpHost) {
    this.host = host;
    this.folder = join(host.data, "backup");
  }

  /** Whether one is made, or made and not read yet. */
  get isBusy(): boolean {
    return this.isUnderWay;
  }

  /** Removes what a process left there that was killed. */
  clear(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** The archive. Rejects with `busy` until another one is read. */
  async make(): Promise<AsyncIterable<Uint8Array>> {
    if (this.isUnderWay)
      throw new HallelujahError(
        "busy",
        "another backup of this host is being made; try again when it is done",
      );
    this.isUnderWay = true;
    const end = () => {
      this.clear();
      this.isUnderWay = false;
    };
    const { registry, roster } = this.host;
    const holds: (() => void)[] = [];
    const letGo = () => {
      for (const each of holds.splice(0)) each();
    };
    try {
      await Promise.all(roster.all.map(({ reprocess }) => reprocess?.settled));
      const files: SnapshotFile[] = [];
      const entries: [string, unknown][] = [["generation", registry.get("generation")?.value ?? 0]];
      const streams = roster.all.map(({ stream }) => stream);
      // What shares a log is copied before it, and needs all of it that there is then.
      holds.push(...streams.map(({ frames }) => frames.hold()));
      for (const stream of inBackupOrder(streams)) {
        if (!roster.get(stream.name)) continue; // removed meanwhile
        const made = await snapshot(stream, join(this.folder, stream.name));
        entries.push([`streams/${stream.name}`, made.record]);
        files.push(...made.files);
      }
      letGo();
      return archiveOf([["registry.json", registryText(entries)]], files, end);
    } catch (error) {
      letGo();
      end();
      throw error;
    }
  }
}
