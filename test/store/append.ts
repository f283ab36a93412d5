/** Appends to the log in a folder until it is killed, several at a time; prints the number of each that was answered. */
import { writeSync } from "node:fs";
import { Tally } from "../../host/hallelu/tally.ts";
import { Log } from "../../host/store/log.ts";

const log = await Log.open(process.argv[2], { segmentBytes: 20_000, digest: new Tally() });
const appender = async (producer: number) => {
  for (;;) {
    const head = Buffer.from(JSON.stringify({ producers: [[`p${producer}`, log.next]] }));
    const body = [1, 2, 3].map((part) => Buffer.from(`${producer} ${part} `.repeat(producer * 30)));
    const { number } = await log.append({ kind: producer, head, body, records: 0 });
    writeSync(1, `${number} ${producer}\n`);
  }
};
await Promise.all([1, 2, 3, 4, 5].map(appender));
