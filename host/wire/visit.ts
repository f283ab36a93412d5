/** What a Hallelu and the Jahs of a stream say to each other of a visit: another kernel that runs over the rows that they hold. */

/** A dataset of the stream's kernel; see kernel/rows.ts. */
interface VisitedDataset {
  number: number;
  name: string;
  fields: VisitedColumn[];
}

/** A table of it; see kernel/table-columns.ts. */
interface VisitedTable {
  number: number;
  name: string;
  kind?: "Table" | "Windows" | "Sessions" | undefined;
  key: string[];
  fields: { name: string; aggregate: string; type?: string | undefined; offset: number; columns: string[] }[];
}

interface VisitedColumn {
  name: string;
  type: string;
  optional: boolean;
  kind: number;
  width: number;
}

export interface VisitStart {
  /** Tells the visits of a host apart. */
  visit: number;
  /** The version of the stream's kernel of which is what is visited. */
  version: number;
  /** The visiting kernel. */
  wasm: Uint8Array;
  over: { dataset: VisitedDataset } | { table: VisitedTable };
  /** The fields of the record that it takes. */
  fields: { name: string; type: string; optional: boolean; written: string }[];
  /** Chunks of a dataset in which no row lies within all of them are passed over; both inclusive, times in ms, decimals in millionths. */
  bounds: { field: string; least?: number | bigint; greatest?: number | bigint }[];
  /** How emitted records are rendered; see kernel/memory-map.ts. */
  format: number;
  /** Whether all comes together here. */
  isHome: boolean;
}

/** What came of some of the rows of one partition. All are merged in the order of (partition, index). */
export interface Visited {
  partition: number;
  /** Place of the frame in its partition. */
  index: number;
  rows: number;
  bad: number;
  /** Routed sections. */
  parts: Uint8Array[];
  /** Rows that `each` emitted, rendered, and how many. */
  emitted: Uint8Array[];
  emittedRows: number;
}

/** What a Jah did of a visit. */
export interface VisitStep {
  /** Whether all rows that it has were visited. */
  over: boolean;
  /** Rows that were there when the visit began, and were dropped before it came to them: so far. */
  dropped: number;
  rows: number;
  /** Where it all comes together: what was emitted; elsewhere: what is to be merged there. */
  emitted: Uint8Array[];
  visited: Visited[];
}

/** A part of a visit in which its kernel is at work. */
interface VisitWork {
  visit: number;
  /** Time that the visit has left, ms. */
  leftMs: number;
}

export interface VisitMethods {
  /** Begins a visit of the rows that are here now, and answers how many there are. */
  visit: { argument: VisitStart & VisitWork; answer: { rows: number } };
  /** Goes on with the rows that came since; answers how many there are by now. */
  visitMore: { argument: { visit: number }; answer: { rows: number } };
  /** Visits some of them, for a few milliseconds. */
  visitStep: { argument: VisitWork; answer: VisitStep };
  /** Merges what others visited; answers what was emitted with that. */
  visitTake: { argument: VisitWork & { visited: Visited[] }; answer: { emitted: Uint8Array[] } };
  /** All is merged: windows close. */
  visitClose: { argument: VisitWork; answer: { emitted: Uint8Array[] } };
  /** A question to the tables in which all came together. */
  visitAsk: { argument: { visit: number; method: string; argument: unknown }; answer: unknown };
  /** It is over, however it ended. */
  visitEnd: { argument: { visit: number }; answer: void };
}
