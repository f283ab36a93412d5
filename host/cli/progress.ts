/** One line on a terminal's standard error: bytes, rows per second, time left. */
import cliProgress from "cli-progress";
import type { Progress } from "../run/job.ts";

export class ProgressLine {
  private readonly startedAt = performance.now();
  private bar: cliProgress.SingleBar | undefined;
  private readonly done: string;

  /** `done` is what happens to bytes, where records are not counted. */
  constructor(done?: string) {
    this.done = done ?? "";
  }

  update({ bytes, bytesTotal, rows }: Progress): void {
    const seconds = (performance.now() - this.startedAt) / 1000;
    if (seconds < 0.3) return; // what ends at once shows nothing
    const left = bytes ? ((bytesTotal - bytes) / bytes) * seconds : 0;
    const shown = {
      done: formatBytes(bytes),
      all: formatBytes(bytesTotal),
      speed: formatCount(rows / seconds),
      left: left < 60 ? `${Math.ceil(left)} s` : `${Math.ceil(left / 60)} min`,
    };
    if (!this.bar) {
      const format = bytesTotal
        ? `{bar} {done} of {all}  ${this.done || "{speed} rows/s"}  {left} left`
        : `{done}  ${this.done || "{speed} rows/s"}`;
      this.bar = new cliProgress.SingleBar(
        { format, hideCursor: true, clearOnComplete: true, stream: process.stderr, fps: 10 },
        cliProgress.Presets.shades_classic,
      );
      this.bar.start(bytesTotal || 1, 0, shown);
    }
    this.bar.update(Math.min(bytes, bytesTotal || bytes), shown);
  }

  clear(): void {
    this.bar?.stop();
  }
}

function formatBytes(bytes: number): string {
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(0)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}

function formatCount(count: number): string {
  if (count < 1e3) return count.toFixed(0);
  return count < 1e6 ? `${(count / 1e3).toFixed(0)} k` : `${(count / 1e6).toFixed(1)} M`;
}
