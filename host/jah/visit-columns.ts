/**
 * The columns of a dataset as the fields of a visiting kernel want them: most are read where they lie; a type that has to be made into
 * another one is converted as a file's would be (input/fit.ts), some rows at a time.
 */
import { VISIT_CONVERTED_ROWS } from "../core/limits.ts";
import { type Column, DESCRIPTOR_BYTES, FRAME_HEADER_BYTES, KIND, writeColumn } from "../kernel/columns.ts";
import * as map from "../kernel/memory-map.ts";
import type { Chunk, RowField, Rows, VisitField } from "../kernel/rows.ts";
import { type ColumnType, fileColumn, findColumn, type Raw } from "../input/file-column.ts";
import { fitColumn } from "../input/fit.ts";

/** How a field is filled: from a column as it is, from one that is converted, or not at all. */
type Filling = { column: number; converted?: ColumnType } | undefined;

const INTEGER = /^[iu](8|16|32|64)$/;

/** The type of a column of a dataset or a table, as one of a file. */
export function columnType(type: string): ColumnType {
  if (INTEGER.test(type)) return { is: "integer", unsigned: type.startsWith("u") };
  if (type === "f64" || type === "f32") return { is: "float", single: type === "f32" };
  if (type === "Time") return { is: "time", unit: "ms" };
  if (type === "Decimal") return { is: "decimal", scale: 6 };
  return { is: type === "bool" ? "bool" : "text" };
}

/** Whether a kernel reads a column of one type into a field of another as it lies there. */
function readsAsIs(has: string, wants: string): boolean {
  if (has === wants) return true;
  const float = wants === "f64" || wants === "f32";
  if (has === "f64" || has === "f32") return float;
  if (has === "bool") return float || INTEGER.test(wants);
  if (!INTEGER.test(has)) return false;
  const unsigned = has.startsWith("u");
  if (has === "u64") return /^[iu](8|16|32)$/.test(wants); // the kernel refuses what is out of range
  if (wants === "u64") return unsigned;
  return float || INTEGER.test(wants);
}

export class VisitColumns {
  private readonly rows: Rows;
  private readonly where: string;
  private readonly wishes: VisitField[];
  private readonly fillings: Filling[];

  /** `where` names the dataset. Throws `column-missing` or `column-type`, with the field and both types. */
  constructor(where: string, rows: Rows, wishes: VisitField[]) {
    this.rows = rows;
    this.where = where;
    this.wishes = wishes;
    const columns = rows.fields.map(({ name, type }) => fileColumn(name, columnType(type), type));
    this.fillings = wishes.map((wish) => {
      const found = findColumn(where, columns, wish);
      if (!found) return undefined;
      const column = columns.indexOf(found);
      return readsAsIs(rows.fields[column].type, wish.written)
        ? { column }
        : { column, converted: found.type };
    });
  }

  /** Rows that are laid out at a time. */
  get step(): number {
    return this.fillings.some((filling) => filling?.converted) ? VISIT_CONVERTED_ROWS : map.CHUNK_ROWS * 4;
  }

  /** Lays rows [from, to) of a chunk out as a column frame at INPUT. */
  layOut(bytes: Uint8Array, chunk: Chunk, from: number, to: number): void {
    const words = (FRAME_HEADER_BYTES + this.wishes.length * DESCRIPTOR_BYTES) / 4;
    const header = new Uint32Array(bytes.buffer, map.INPUT, words);
    header.fill(0);
    header[0] = to - from;
    header[1] = this.wishes.length;
    let end = map.INPUT + words * 4;
    this.fillings.forEach((filling, i) => {
      if (!filling) return;
      const descriptor = header.subarray((FRAME_HEADER_BYTES + i * DESCRIPTOR_BYTES) / 4);
      const field = this.rows.fields[filling.column];
      const { values, validity, views, texts } = this.rows.column(chunk, filling.column);
      const lacking = field.optional ? validity + from : 0;
      if (filling.converted) {
        const raw = rawColumn(bytes.buffer, field, values + from * field.width, lacking, to - from);
        const column = fitColumn(raw, filling.converted, this.wishes[i].type, `${this.where}, ${field.name}`);
        end = writeColumn(bytes, end, column, descriptor);
      } else {
        descriptor[0] = field.kind;
        descriptor[1] = lacking;
        descriptor[2] = values + from * field.width;
        descriptor[3] = texts;
        descriptor[4] = views;
      }
    });
  }
}

/** A copy of some values of a column, as a file would hold them. */
function rawColumn(
  buffer: ArrayBufferLike,
  field: RowField,
  at: number,
  validity: number,
  rows: number,
): Raw {
  const values = rawValues(buffer, field, at, rows);
  return validity ? { ...values, validity: new Uint8Array(buffer, validity, rows).slice() } : values;
}

function rawValues(buffer: ArrayBufferLike, { kind }: RowField, at: number, rows: number): Column {
  const integers = (values: Iterable<number>): Column => ({
    kind: "i64",
    values: BigInt64Array.from(values, BigInt),
  });
  switch (kind) {
    case KIND.f64:
      return { kind: "f64", values: new Float64Array(buffer, at, rows).slice() };
    case KIND.f32:
      return { kind: "f64", values: Float64Array.from(new Float32Array(buffer, at, rows)) };
    case KIND.bool:
      return { kind: "bool", values: new Uint8Array(buffer, at, rows).slice() };
    case KIND.i8:
      return integers(new Int8Array(buffer, at, rows));
    case KIND.u8:
      return integers(new Uint8Array(buffer, at, rows));
    case KIND.i16:
      return integers(new Int16Array(buffer, at, rows));
    case KIND.u16:
      return integers(new Uint16Array(buffer, at, rows));
    case KIND.i32:
      return integers(new Int32Array(buffer, at, rows));
    case KIND.u32:
      return integers(new Uint32Array(buffer, at, rows));
    default:
      return { kind: "i64", values: new BigInt64Array(buffer, at, rows).slice() };
  }
}
