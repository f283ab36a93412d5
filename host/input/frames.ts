/** All frames of a job in their one order, numbered from 0 as they are handed out. */
import { RUN_FRAMES } from "../core/limits.ts";
import { Cutter } from "./cutter.ts";
import { NO_SOURCE } from "../wire/batch.ts";
import type { FrameTask, Problem } from "../wire/jah.ts";
import type { Source } from "./plan.ts";

const TOO_LONG = 16;

/**
 * Yields runs of frames: some consecutive frames of a file, else one. Where `timed`, the end of each source is a frame, too. `onProblem` hears of a line that was dropped
 * behind a frame while a stream was cut, before that frame is yielded.
 */
export async function* framesOf(
  sources: Source[],
  jahs: number,
  frameBytes: number,
  timed: boolean,
  onProblem: (problem: Problem) => void,
): AsyncGenerator<FrameTask[]> {
  let frame = 0;
  for (const [source, spec] of sources.entries()) {
    if (spec.kind === "rows") {
      for (let index = 0; index < spec.frames; index++)
        yield [{ kind: "rows", frame: frame++, source, index }];
    } else if (spec.kind === "range") {
      // Small files are shared out evenly, too.
      const run = Math.max(1, Math.min(RUN_FRAMES, Math.floor(spec.frames / (jahs * 4))));
      for (let first = firstFrame(spec, frameBytes); first < spec.frames; first += run) {
        const last = Math.min(first + run, spec.frames);
        const tasks: FrameTask[] = [];
        for (let index = first; index < last; index++)
          tasks.push({ kind: "range", frame: frame++, source, index });
        yield tasks;
      }
    } else {
      for await (const task of bytesOf(spec, source, frameBytes, onProblem, () => frame++)) yield [task];
    }
    if (timed) yield [{ kind: "time", frame: frame++, source: NO_SOURCE, time: Infinity, ended: source }];
  }
}

/** The frame in which a file's first record starts; frames before hold only the header line. */
function firstFrame(source: Source, frameBytes: number): number {
  return Math.floor(source.dataStart / frameBytes);
}

function countLines(bytes: Buffer): number {
  let lines = 0;
  for (let at = bytes.indexOf(0x0a); at >= 0; at = bytes.indexOf(0x0a, at + 1)) lines++;
  return lines;
}

async function* bytesOf(
  spec: Source,
  source: number,
  frameBytes: number,
  onProblem: (problem: Problem) => void,
  nextFrame: () => number,
): AsyncGenerator<FrameTask> {
  const stream = spec.stream!;
  const cutter = new Cutter(spec.dataStart, spec.format === "csv", spec.delimiter, frameBytes);
  let skip = spec.dataStart;
  try {
    for (let more = true; more; ) {
      const chunk = await stream.next();
      if (chunk) {
        const skipped = Math.min(skip, chunk.length);
        skip -= skipped;
        cutter.push(chunk.subarray(skipped));
      } else {
        cutter.end();
        more = false;
      }
      for (let cut = cutter.next(); cut; cut = cutter.next()) {
        const frame = nextFrame();
        if (cut.dropped) {
          const offset = cut.offset + cut.bytes.length;
          const line = countLines(cut.bytes);
          onProblem({ frame, source, offset, line, reason: TOO_LONG, field: 0, detail: 0, excerpt: "" });
        }
        yield { kind: "bytes", frame, source, bytes: cut.bytes, offset: cut.offset };
      }
    }
  } finally {
    stream.close();
  }
}
