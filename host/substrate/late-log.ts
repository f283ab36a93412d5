/** A log on a cluster that is made when something is first appended: of most streams, one or the other is never needed. */
import type { LogEntry } from "../store/log-format.ts";
import type { Damage } from "../store/log-scan.ts";
import type { Extent } from "../store/retention.ts";
import type { Place, StreamLog } from "../store/stream-log.ts";
import { ClusterLog, type ClusterLogParts } from "./cluster-log.ts";

export class LateLog implements StreamLog {
  private readonly parts: ClusterLogParts;
  private log: ClusterLog | undefined;
  private opening: Promise<ClusterLog> | undefined;

  private constructor(parts: ClusterLogParts) {
    this.parts = parts;
  }

  /** Opens it if it is there, or an earlier leader may be about to make it. Rejects as `ClusterLog.open` does. */
  static async open(parts: ClusterLogParts): Promise<LateLog> {
    const late = new LateLog(parts);
    if (parts.epoch > 1 || (await ClusterLog.isThere(parts.connection, parts))) await late.opened();
    return late;
  }

  private async opened(): Promise<ClusterLog> {
    this.opening ??= ClusterLog.open(this.parts);
    try {
      this.log = await this.opening;
      return this.log;
    } catch (error) {
      this.opening = undefined;
      throw error;
    }
  }

  get first(): number {
    return this.log?.first ?? 0;
  }

  get next(): number {
    return this.log?.next ?? 0;
  }

  get end(): number {
    return this.log?.end ?? 0;
  }

  get bytes(): number {
    return this.log?.bytes ?? 0;
  }

  get extents(): Extent[] {
    return this.log?.extents ?? [];
  }

  bytesFrom(number: number): number {
    return this.log?.bytesFrom(number) ?? 0;
  }

  place(number: number): Place {
    return this.there.place(number);
  }

  kindsFrom(number: number): Set<number> {
    return this.log?.kindsFrom(number) ?? new Set();
  }

  damageFrom(number: number): Damage | undefined {
    return this.log?.damageFrom(number);
  }

  async append(entry: LogEntry): Promise<{ number: number }> {
    return (await this.opened()).append(entry);
  }

  async appendGroup(entries: LogEntry[]): Promise<{ number: number }> {
    return (await this.opened()).appendGroup(entries);
  }

  read(number: number): ReturnType<StreamLog["read"]> {
    return this.there.read(number);
  }

  heads(from: number, wanted: (kind: number) => boolean): ReturnType<StreamLog["heads"]> {
    return this.log?.heads(from, wanted) ?? [];
  }

  async trim(below: number): Promise<void> {
    await this.log?.trim(below);
  }

  async sync(): Promise<void> {
    await this.log?.sync();
  }

  async close(): Promise<void> {
    await this.opening?.catch(() => {});
    await this.log?.close();
  }

  private get there(): ClusterLog {
    if (!this.log) throw new RangeError("nothing was appended yet");
    return this.log;
  }
}
