/** The columns of rows that a kernel keeps, or of a table, as a query sees them. */
import type { Schema, SqlType } from "./expression.ts";

/** A field of a dataset, or a column of a table: `type` as kernels write it. */
interface Field {
  name: string;
  type: string;
  optional: boolean;
  /** Why it cannot be read, if so. */
  unsupported?: string | undefined;
}

export function schemaOfFields(fields: readonly Field[]): Schema {
  return fields.map(({ name, type, optional, unsupported }) => ({
    name,
    type: sqlTypeOf(type),
    nullable: optional,
    ...(type.startsWith("f") ? { nan: true } : {}),
    ...(unsupported === undefined ? {} : { unsupported }),
  }));
}

function sqlTypeOf(type: string): SqlType {
  switch (type) {
    case "bool":
      return "bool";
    case "f32":
    case "f64":
      return "float";
    case "Text":
      return "text";
    case "Time":
      return "timestamp";
    case "Decimal":
      return "decimal";
    default:
      return "integer";
  }
}
