// wordcount.ts: how often each word occurs in free text
import { Count, Cursor, Table, Text } from "hallelujah";

@record class Line { line: Text }
@state  class Word { count: Count }

const words = new Table<Text, Word>("words");

export function each(line: Line): void {
  const cursor = new Cursor(line.line);
  for (let word = cursor.word(); !word.isEmpty; word = cursor.word()) {
    words.at(word.toLowerAscii()).count.add();
  }
}
