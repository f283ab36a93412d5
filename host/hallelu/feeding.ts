/** What goes into a stream and out of it by itself: its sources, the output of another stream, its sinks. */
import { type HallelujahError, messageOf } from "../core/errors.ts";
import { BACKLOG_BYTES_MAX, SOURCE_OPEN_MS } from "../core/limits.ts";
import type { Journal } from "../store/journal.ts";
import { whenRoom } from "./room.ts";
import type { Running } from "./running.ts";
import { runSink, type SinkStanding } from "./sinks.ts";
import { readSources } from "./sources.ts";
import type { Stream } from "./stream.ts";

/** How often it is looked whether a stream has room for more, ms. */
const ROOM_MS = 100;

/** The host, as far as this needs it. */
interface FeedingHost {
  journal: Journal;
  /** Throws `stream-unknown`. */
  find: (name: string) => Running;
}

export class Feeding {
  private readonly host: FeedingHost;

  constructor(host: FeedingHost) {
    this.host = host;
  }

  /** Resolves when its first input is open, or may yet take long; rejects if it cannot be opened, and then the stream has failed. */
  feed(running: Running): Promise<void> {
    const { stream, stop, feeding } = running;
    const { record, name } = stream;
    const watched = (work: Promise<unknown>) => {
      feeding.push(
        work.catch((error: unknown) => {
          if (!stop.signal.aborted) running.stream.fail(messageOf(error));
        }),
      );
    };
    const opened = record.source.length
      ? new Promise<void>((done, fail) => {
          setTimeout(done, SOURCE_OPEN_MS).unref();
          const reading = this.readSource(running, done);
          reading.then(done, fail);
          watched(reading);
        })
      : Promise.resolve();
    opened.catch(() => {}); // told by `watched`
    if (record.from !== undefined && !record.shares)
      watched(this.followStream(running, record.from).catch((error) => this.followed(stream, error)));
    for (const [i, target] of record.sink.entries()) {
      const read = (from: number) => stream.outputs.read(from, stop.signal);
      const stands = (standing: SinkStanding) => this.sinkStands(running, i, standing);
      feeding.push(runSink(target, name, running.home.positions(i), read, stop.signal, stands));
    }
    return opened;
  }

  /** A sink stopped taking rows, and why; or takes them again. */
  private sinkStands({ stream: { name }, sinks }: Running, sink: number, standing: SinkStanding): void {
    const { journal } = this.host;
    const { error } = sinks[sink];
    if (error === undefined && standing.error !== undefined) journal.error({ stream: name }, standing.error);
    if (error !== undefined && standing.error === undefined)
      journal.info({ stream: name }, "its sink takes rows again");
    sinks[sink] = standing;
  }

  /** Has something logged of what a stream reads by itself; while the disk is full, that waits, and users see it. */
  private logged<T>(running: Running, work: () => Promise<T>): Promise<T> {
    const { stream, stop } = running;
    return whenRoom(work, stop.signal, (why) => {
      const { journal } = this.host;
      if (why === undefined) journal.info({ stream: stream.name }, "there is room again");
      else if (running.waits === undefined) journal.error({ stream: stream.name }, messageOf(why));
      running.waits = why === undefined ? undefined : `${messageOf(why)}; it goes on when there is room`;
    });
  }

  /** Logs the frames of `--source`, those that are not logged yet; `onOpen` hears that an input is open. */
  private async readSource(running: Running, onOpen: () => void): Promise<void> {
    const { signal } = running.stop;
    const { record, kernel } = running.stream;
    const { sources } = record;
    const numbers = sources.flatMap(({ origin }, number) => (origin === "source" ? [number] : []));
    let left = 0;
    for await (const event of readSources(record, kernel, record.read ?? 0, signal)) {
      const { stream } = running;
      switch (event.type) {
        case "inputs":
          await this.logged(running, () => stream.frames.openClocks(event.count));
          // What the log says of it may have been logged by an older version, which said less.
          for (let input = 0; input < (record.read ?? 0); input++)
            await this.logged(running, () => stream.frames.endClock(input));
          break;
        case "begins":
          onOpen();
          if (numbers.length <= event.input) numbers.push(stream.frames.shapes.add(event.source));
          left = stream.frames.countOf(numbers[event.input]);
          break;
        case "frame": {
          if (left-- > 0) break;
          await this.room(running, signal);
          if (signal.aborted) return;
          const source = numbers[event.input];
          const body = "bytes" in event ? [Buffer.from(event.bytes)] : [];
          const head = "index" in event ? { index: event.index } : undefined;
          await this.logged(running, () =>
            running.stream.frames.append([{ source, body, producers: [] }], [head]),
          );
          break;
        }
        case "ended":
          await this.logged(running, () => stream.frames.endClock(event.input));
          running.stream.record.read = event.input + 1;
          await running.stream.save();
          break;
      }
    }
  }

  /** Takes in the output of another stream, from the row behind the last that is logged. */
  private async followStream(running: Running, from: string): Promise<void> {
    const { stream } = running;
    const { signal } = running.stop;
    const { outputs } = this.host.find(from).stream;
    let source = stream.frames.shapes.sources.findIndex(({ origin }) => origin === "stream");
    if (source < 0) {
      source = stream.frames.shapes.add({
        origin: "stream",
        kind: "slice",
        name: `the output of ${from}`,
        format: "ndjson",
        size: 0,
        dataStart: 0,
        delimiter: 0,
        plan: [],
      });
    }
    const start = stream.frames.nextRowOf(source) ?? outputs.first;
    for await (const { from: row, count, bytes } of outputs.read(start, signal)) {
      await this.room(running, signal);
      const frame = { source, body: [bytes], producers: [] };
      await this.logged(running, () => running.stream.frames.append([frame], [{ rows: row + count }]));
    }
  }

  /** What another stream takes in ends where a shard of it is unavailable: it keeps what it has, and goes on with that. */
  private followed(stream: Stream, error: Error): void {
    if ((error as HallelujahError).code !== "shard-unavailable") throw error;
    this.host.journal.error({ stream: stream.name }, `nothing more comes in: ${error.message}`);
  }

  /** Waits while the stream has all the backlog that it may have. */
  private async room(running: Running, signal: AbortSignal): Promise<void> {
    while (running.stream.backlogBytes > BACKLOG_BYTES_MAX / 4 && !signal.aborted)
      await new Promise((done) => setTimeout(done, ROOM_MS));
  }
}
