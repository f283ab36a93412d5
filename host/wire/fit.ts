/** How the state of one kernel becomes that of another, as the Hallelu tells its Jahs. */

/** A part of a value: where it lies in the old one, and in the new one. */
export interface Copy {
  from: number;
  to: number;
  bytes: number;
}

export interface TableFit {
  name: string;
  /** Its number in the old kernel; undefined if it is new. */
  from?: number;
  /** What of each value stays, where values lie otherwise now; undefined: they are as they were. */
  copies?: Copy[];
  /** What the kernel's function `upgrade` is given of each old value, if it makes the new one: see compiler/generate-upgrade.ts. */
  upgrade?: Copy[];
  /** Fields that get their empty value, unless `upgrade` fills them, and fields that are dropped. */
  added: string[];
  dropped: string[];
}

/** Why something does not fit: a sentence with table, field and both types. */
export interface StateFit {
  /** By their number in the new kernel. */
  tables: TableFit[];
  /** Tables of the old kernel that the new one does not have. */
  removed: { name: string; from: number }[];
  misfits: string[];
}
