/** Rows as they come out of a run. */

/** A row of a table: its key (an array for a tuple), and one member per field of the state. */
export interface TableRow {
  table: string;
  key: unknown;
  [field: string]: unknown;
}

/** A record that the kernel emitted. */
export type Emitted = Record<string, unknown>;

export type Row = TableRow | Emitted;
