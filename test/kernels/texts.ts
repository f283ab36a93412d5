// texts.ts: three texts, given out as they are
import { out, Text } from "hallelujah";


@record class Row {
  a: Text;
  b: Text;
  c: Text;
}

export function each(row: Row): void {
  out.emit(row);
}
