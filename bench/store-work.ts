/** What `store.ts` measures, in a process of its own: argument 1 says what, 2 is the store's folder, 3 its size, MiB. */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { openPages, preparePages } from "../host/store/pages.ts";
import { Random } from "./random.ts";

const PAGE = 65_536;
/** Pages in one write. */
const AT_ONCE = 64;
/** First page of the arena. */
const FIRST = 2048;

const [, , work, folder, size] = process.argv;
const pages = Number(size) * 16;

function residentMb(what: "VmRSS" | "VmHWM"): number {
  return Number(new RegExp(`${what}:\\s+(\\d+)`).exec(readFileSync("/proc/self/status", "utf8"))?.[1]) / 1024;
}

/** Numbers that do not compress, as sums of floats do not. */
function randomPages(): Uint8Array {
  const random = new Random(1, 0);
  const words = new Uint32Array((AT_ONCE * PAGE) / 4);
  for (let i = 0; i < words.length; i++) words[i] = random.bits();
  return new Uint8Array(words.buffer);
}

/** Two checkpoints of all pages, as the second replaces what the first wrote. */
async function fill(): Promise<object> {
  const store = await openPages(folder);
  const source = randomPages();
  const before = residentMb("VmRSS");
  const rates: number[] = [];
  let buffer = new ArrayBuffer(source.length);
  for (let round = 1; round <= 2; round++) {
    const startedAt = performance.now();
    for (let at = 0; at < pages; at += AT_ONCE) {
      const numbers = Uint32Array.from({ length: Math.min(AT_ONCE, pages - at) }, (_, i) => FIRST + at + i);
      const bytes = numbers.length * PAGE;
      if (buffer.byteLength !== bytes) buffer = new ArrayBuffer(bytes);
      new Uint8Array(buffer).set(source.subarray(0, bytes));
      buffer = await store.write(numbers, buffer);
    }
    await store.commit({ round });
    rates.push(((pages * PAGE) / 1e6 / (performance.now() - startedAt)) * 1000);
  }
  await store.close();
  return { rate: rates[1], mb: residentMb("VmHWM") - before };
}

/** The newest checkpoint, into memory; once more or less cold. */
async function restore(): Promise<object> {
  const memory = new Uint8Array((FIRST + pages) * PAGE);
  if (work === "restore") {
    preparePages();
    await sleep(500);
  }
  const startedAt = performance.now();
  const store = await openPages(folder);
  const openMs = performance.now() - startedAt;
  let bytes = 0;
  if (store.checkpoints.length)
    await store.restore(store.checkpoints[0].number, (page, content) => {
      memory.set(content, page * PAGE);
      bytes += content.length;
    });
  const ms = performance.now() - startedAt;
  await store.close();
  return { bytes, openMs, ms };
}

const result = work === "fill" ? await fill() : await restore();
process.send!(result, () => process.exit(0));
