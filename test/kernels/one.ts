// one.ts: one text
import { out, Text } from "hallelujah";


@record class Row {
  a: Text;
}

export function each(row: Row): void {
  out.emit(row);
}
