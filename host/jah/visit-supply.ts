/** What is visited, cut into visit frames: the rows of a dataset (visit-rows.ts), or the entries of a table (visit-table.ts). */

/** A part of one partition. All frames are merged in the order of (partition, index), which depends on the data alone. */
export interface VisitFrame {
  partition: number;
  index: number;
  /**
   * Lays its rows out as column frames at INPUT, one after the other in the same place; says of each whether texts lie there, too, which are
   * gone with the next one.
   */
  layOut(): Iterable<boolean>;
}

export interface VisitSupply {
  /** Rows that are here. */
  readonly count: number;
  /** Rows that were there when the visit began, and are gone without being met. */
  readonly dropped: number;
  /** Goes on with the rows that came since there were no more frames. Whether it can. */
  more(): boolean;
  /** Whether what was found has to be met at once: it may not be where it is when the stream has gone on. */
  readonly isFleeting: boolean;
  /**
   * Goes on after frames of the stream may have been applied: looks for what is to be met next, until `enough` says so. Whether it has found
   * it, or knows that there is no more.
   */
  find(enough: () => boolean): boolean;
  /** The next frame of what was found, to be laid out before the stream goes on. */
  next(): VisitFrame | undefined;
}
