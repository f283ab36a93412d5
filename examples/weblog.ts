// weblog.ts: an Apache log in combined format, by path and by status
//   127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /a.gif HTTP/1.0" 200 2326 "http://..." "Mozilla/4.08"
import { Count, Cursor, Distinct, Quantiles, Sum, Table, Text, Top } from "hallelujah";

@record class Line { line: Text }
@state  class Path { requests: Count; bytes: Sum<i64>; visitors: Distinct; size: Quantiles }
@state  class Status { requests: Count; agents: Top<Text> }

const paths = new Table<Text, Path>("paths");
const statuses = new Table<i32, Status>("statuses");

export function each(record: Line): void {
  const cursor = new Cursor(record.line);
  const host = cursor.until(0x20);
  cursor.until(0x5b);                         // [ the user before it is not wanted
  cursor.until(0x22);                         // " nor is the time
  const request = new Cursor(cursor.until(0x22));
  request.until(0x20);                        // the method
  const path = request.until(0x20);
  cursor.skip(1);
  const status = <i32>cursor.until(0x20).toI64();
  const bytes = cursor.until(0x20).toI64();   // "-" counts as 0
  if (path.isEmpty || !status) return;

  const seen = paths.at(path);
  seen.requests.add();
  seen.bytes.add(bytes);
  seen.visitors.add(host);
  seen.size.add(<f64>bytes);

  cursor.until(0x22);
  cursor.until(0x22);                         // the referrer
  cursor.until(0x22);
  const answered = statuses.at(status);
  answered.requests.add();
  answered.agents.add(cursor.until(0x22));
}
