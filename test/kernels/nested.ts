// nested.ts: fields of nested objects
import { Optional, out, Text } from "hallelujah";


@record class Row {
  id: i64;

  @name("user.id") user: Optional<i64>;

  @name("user.name") name: Optional<Text>;

  @name("user.address.city") city: Optional<Text>;
}

export function each(row: Row): void {
  out.emit(row);
}
