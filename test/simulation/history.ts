/** Which version of its kernel counts for which frame of a stream, reprocesses included, as its registered record and its cuts tell. */
import type { StreamRecord, VersionRecord } from "../../host/hallelu/record.ts";
import { type Row, hasRow } from "./outputs.ts";

/** A reprocess took over. */
export interface Cut {
  version: number;
  frame: number;
  /** Frames below it that put nothing out, as they were set aside while they were mapped. */
  silent: Set<number>;
}

/** The version by which a frame was put out: that which had it when it came out, whatever took the history in again since. */
export function versionAt(
  { versions = [] }: StreamRecord,
  cuts: readonly Cut[],
  frame: number,
): VersionRecord {
  const i = cuts.findLastIndex((cut) => cut.frame <= frame);
  const [from, to] = [cuts[i]?.version ?? 0, cuts[i + 1]?.version ?? Infinity];
  const own = versions.filter(
    (each) => each.error === undefined && from <= each.version && each.version < to,
  );
  return own.findLast((each) => each.from <= frame) ?? own[0];
}

/** What is wrong with the rows that were put out for the frames below `end`: each is there once, in order, by its kernel. Undefined if nothing is. */
export function wrongRows(
  rows: readonly Row[],
  record: StreamRecord,
  cuts: readonly Cut[],
  {
    end,
    silent,
    kernelOf,
  }: { end: number; silent: Set<number>; kernelOf: (version: VersionRecord) => number },
): string | undefined {
  let at = 0;
  for (let frame = 0; frame < end; frame++) {
    const cut = cuts.find((each) => frame < each.frame);
    const kernel = kernelOf(versionAt(record, cuts, frame));
    if ((cut?.silent ?? silent).has(frame) || !hasRow(frame, kernel)) continue;
    const row = rows[at++];
    if (!row || row.frame > frame) return `the row of frame ${frame} is lost`;
    if (row.frame < frame) return `frame ${row.frame} has a row that it should not have`;
    if (row.kernel !== kernel) return `the row of frame ${frame} is by kernel ${row.kernel}, not ${kernel}`;
  }
  return at < rows.length ? `there are ${rows.length - at} rows too many` : undefined;
}
