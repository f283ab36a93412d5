/** Fills a small disk with a log, makes room, and goes on, some times over; prints what log.test.ts compares. */
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { HallelujahError } from "../../host/core/errors.ts";
import { Log } from "../../host/store/log.ts";

const ROUNDS = 4;
const folder = join(process.argv[2], "log");
const log = await Log.open(folder, { segmentBytes: 300_000 });
const kept: string[] = [];
const codes: string[] = [];

async function append(): Promise<boolean> {
  const text = `${kept.length} `.repeat(10_000);
  try {
    await log.append({ kind: 0, body: [Buffer.from(text)], records: 0 });
    kept.push(text);
    return true;
  } catch (error) {
    codes.push(error instanceof HallelujahError ? error.code : String(error));
    return false;
  }
}

for (let round = 0; round < ROUNDS; round++) {
  while (await append());
  // Still no room.
  await append();
  await log.trim(log.next - 30);
  await append();
}
await log.close();
for (const name of readdirSync(folder)) if (name.endsWith(".idx")) rmSync(join(folder, name));
const again = await Log.open(folder);
let same = again.next === kept.length;
for (let number = again.first; number < again.next; number++)
  same &&= (await again.read(number)).body.toString() === kept[number];
console.log(JSON.stringify({ codes, same, damage: again.damageFrom(again.first) ?? null }));
