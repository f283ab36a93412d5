/** The last records of a stream that did not fit, for users who look for what is wrong with what they send. */
import type { RecordField } from "../compiler/descriptor.ts";
import { PROBLEMS_SHOWN } from "../core/limits.ts";
import { mistypedOf, reasonOf } from "../input/reasons.ts";
import type { StreamProblem } from "../wire/http.ts";
import type { FrameDone } from "../wire/jah.ts";

/** Characters of a record that are shown. */
const EXCERPT_LENGTH = 80;

export class Problems {
  private readonly fieldsOf: (frame: number) => RecordField[];
  /** With where each starts in its source. */
  private readonly last: { offset: number; problem: StreamProblem }[] = [];

  /** `fieldsOf` tells the fields of the record that a frame was decoded as. */
  constructor(fieldsOf: (frame: number) => RecordField[]) {
    this.fieldsOf = fieldsOf;
  }

  /** The newest last. */
  get all(): StreamProblem[] {
    return this.last.map(({ problem }) => problem);
  }

  /** A frame of `source` was mapped, maybe not for the first time. */
  mapped({ frame, problems }: FrameDone, source: string): void {
    for (const found of problems.slice(-PROBLEMS_SHOWN)) {
      const { offset, excerpt } = found;
      if (this.last.some((known) => known.problem.frame === frame && known.offset === offset)) continue;
      const fields = this.fieldsOf(frame);
      const mistyped = mistypedOf(found, fields);
      const problem = {
        frame,
        source,
        reason: reasonOf(found, fields),
        ...(mistyped === undefined ? {} : { mistyped }),
        record: excerpt.slice(0, EXCERPT_LENGTH),
      };
      this.last.push({ offset, problem });
      if (this.last.length > PROBLEMS_SHOWN) this.last.shift();
    }
  }
}
