/** The columns of rows that a kernel keeps, as a query sees them. */
import type { Schema, SqlType } from "./expression.ts";

/** A field of a dataset: `type` as kernels write it. */
interface Field {
  name: string;
  type: string;
  optional: boolean;
}

export function schemaOfFields(fields: readonly Field[]): Schema {
  return fields.map(({ name, type, optional }) => ({
    name,
    type: sqlTypeOf(type),
    nullable: optional,
    ...(type.startsWith("f") ? { nan: true } : {}),
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
