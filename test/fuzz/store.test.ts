/** Logs, retained output, and the pages of shards: every change of their bytes is seen, and what is not hit is read as it was. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import * as fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { PAGE_BYTES, PAGES_MAX } from "../../host/core/limits.ts";
import { Tally } from "../../host/hallelu/tally.ts";
import {
  decodeRecord,
  encodePage,
  encodeRecord,
  invalidPage,
  PAGE_VALUE_BYTES,
  pageKey,
  recordKeys,
} from "../../host/store/keys.ts";
import { type Digest, Log } from "../../host/store/log.ts";
import {
  decodeEntry,
  decodeSegment,
  decodeSidecar,
  encodeEntry,
  encodeSegment,
  encodeSidecar,
} from "../../host/store/log-format.ts";
import { SegmentIndex } from "../../host/store/log-index.ts";
import { MemoryDatabase } from "../../host/store/memory-database.ts";
import { Outputs } from "../../host/store/outputs.ts";
import { PageVersions } from "../../host/store/page-versions.ts";
import { verifyLog } from "../../host/store/verify.ts";
import { scratch } from "../run.ts";
import { cases, damage, noise, outcomeNow, outcomeOf } from "./mutate.ts";

const test = suite("fuzz: host/store");
const root = mkdtempSync(join(scratch(), "fuzz-store-"));

type Files = Record<string, Buffer>;

function filesIn(folder: string): Files {
  return Object.fromEntries(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))]));
}

/** A folder with just these files. */
function laid(folder: string, files: Files): string {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  for (const [name, bytes] of Object.entries(files)) writeFileSync(join(folder, name), bytes);
  return folder;
}

// --- the log -------------------------------------------------------------------------------------------------------

const SEGMENT_BYTES = 500;
const ENTRIES = 24;
const headOf = (number: number) => (number % 3 ? Buffer.from(JSON.stringify({ rows: number })) : undefined);
const bodyOf = (number: number) => Buffer.from(`${number}:`.repeat(1 + ((number * 7) % 13)));

/** Adds up what it is told, so that an entry that is missed shows. */
class Sum implements Digest {
  sum = 0;
  add(number: number, kind: number, head: Buffer | undefined): void {
    this.sum += (number + 1) * (kind + 1) + (head?.length ?? 0);
  }
  save(): Buffer {
    return Buffer.from(JSON.stringify(this.sum));
  }
  load(saved: Buffer): void {
    this.sum = JSON.parse(saved.toString()) as number;
  }
}

const open = (folder: string, digest?: Digest) =>
  Log.open(folder, { segmentBytes: SEGMENT_BYTES, ...(digest ? { digest } : {}) });

/** The files of a log of some segments, closed or as a killed process leaves it; and its digest. */
async function logFiles(closed: boolean): Promise<{ files: Files; sum: number }> {
  const folder = join(root, closed ? "closed" : "killed");
  const digest = new Sum();
  const log = await open(folder, digest);
  for (let number = 0; number < ENTRIES; number += 2)
    await log.appendGroup(
      [number, number + 1].map((each) => ({
        kind: each % 5,
        head: headOf(each),
        body: [bodyOf(each)],
        records: 1,
      })),
    );
  const killed = filesIn(folder);
  await log.close();
  return { files: closed ? filesIn(folder) : killed, sum: digest.sum };
}

/** An entry is what was written, or is said to be damaged. Which of the two. */
async function isThere(log: Log, number: number): Promise<boolean> {
  const { value, error } = await outcomeOf(() => log.read(number));
  if (error) {
    assert.is(error.code, "log-damaged");
    return false;
  }
  assert.is(value!.kind, number % 5);
  assert.equal(value!.head?.toString(), headOf(number)?.toString());
  assert.ok(value!.body.equals(bodyOf(number)), `entry ${number}`);
  return true;
}

async function checkLog(folder: string, sum: number, isWhole: boolean, mayBeTorn: boolean): Promise<void> {
  const digest = new Sum();
  const { value: log, error } = await outcomeOf(() => open(folder, digest));
  if (error) return assert.is(error.code, "log-version");
  const { first, next } = log!;
  let lost = 0;
  for (let number = first; number < Math.min(next, ENTRIES); number++)
    if (!(await isThere(log!, number))) lost++;
  const known = log!.damageFrom(0);
  if (!mayBeTorn && (next < ENTRIES || first > 0)) assert.ok(known, `${first} to ${next} are there`);
  if (isWhole) assert.equal([first, next, lost, known], [0, ENTRIES, 0, undefined]);
  if (!known && next === ENTRIES) assert.is(digest.sum, sum);
  // What comes is kept all the same.
  const { number } = await log!.append({ kind: 0, body: [Buffer.from("new")], records: 1 });
  assert.ok(number >= Math.min(next, ENTRIES));
  assert.is((await log!.read(number)).body.toString(), "new");
  await log!.close();
}

test("a file of a closed log that was changed: each entry is as it was, or is known to be damaged", async () => {
  const { files, sum } = await logFiles(true);
  const folder = join(root, "changed");
  const names = Object.keys(files).toSorted();
  assert.ok(names.filter((name) => name.endsWith(".seg")).length > 2);
  const last = names.filter((name) => name.endsWith(".seg")).at(-1);
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...names), damage, async (name, change) => {
      const changed = change(files[name]);
      const isSame = changed.equals(files[name]);
      laid(folder, { ...files, [name]: changed });
      if (name.endsWith(".seg")) {
        const { value: found, error } = outcomeNow(() => [...verifyLog(folder)]);
        if (error) assert.is(error.code, "log-version");
        // Bytes behind the last entry of a segment belong to nothing.
        const grown = changed.subarray(0, files[name].length).equals(files[name]) && name !== last;
        if (!error) assert.is(found!.length > 0, !isSame && !grown, `${name}: ${found!.length} damages`);
      }
      await checkLog(folder, sum, isSame || name.endsWith(".idx"), false);
    }),
    cases(130),
  );
});

test("a file of a log whose process was killed that was changed: what is there is as it was", async () => {
  const { files, sum } = await logFiles(false);
  const folder = join(root, "torn");
  const names = Object.keys(files).toSorted();
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...names), damage, async (name, change) => {
      laid(folder, { ...files, [name]: change(files[name]) });
      await checkLog(folder, sum, false, name === names.filter((each) => each.endsWith(".seg")).at(-1));
    }),
    cases(80),
  );
});

test("headers of entries, segments and sidecars, and columns, are read as they were written; every change is seen", () => {
  const word = fc.nat(0xffffffff);
  const number = fc.maxSafeNat();
  fc.assert(
    fc.property(
      number,
      fc.nat(0xffff),
      word,
      word,
      noise,
      damage,
      (first, kind, follow, records, body, change) => {
        const head = encodeEntry({ kind, body: [body], records }, first, follow, 3);
        const entry = decodeEntry(head) as { number: number; kind: number; bodyBytes: number };
        assert.equal([entry.number, entry.kind, entry.bodyBytes], [first, kind, body.length]);
        const segment = encodeSegment(first, body);
        const read = outcomeNow(() => decodeSegment(segment, "a segment")).value as { first: number };
        assert.is(read.first, first);
        const sidecar = encodeSidecar(
          { first, size: first, bodyBytes: 1, count: follow, columnsSum: 2 },
          body,
        );
        assert.is(decodeSidecar(sidecar)?.count, follow);
        const changed = change(head);
        if (changed.length < head.length || !changed.subarray(0, head.length).equals(head))
          assert.type(decodeEntry(changed), "string");
        const other = change(segment);
        const { value, error } = outcomeNow(() => decodeSegment(other, "a segment"));
        if (!other.subarray(0, segment.length).equals(segment))
          assert.ok(typeof value === "string" || error?.code === "log-version");
        const beside = change(sidecar);
        if (!beside.subarray(0, sidecar.length).equals(sidecar)) assert.is(decodeSidecar(beside), undefined);
        for (const bytes of [body, changed, other])
          outcomeNow(() => [decodeEntry(bytes), decodeSidecar(bytes), decodeSegment(bytes, "noise")]);
      },
    ),
    cases(300),
  );
  fc.assert(
    fc.property(fc.array(fc.nat(100), { maxLength: 20 }), word, damage, (lengths, count, change) => {
      const index = new SegmentIndex();
      let offset = 32;
      for (const bytes of lengths) {
        index.push({ offset, kind: 1, headBytes: 0, bytes, records: 1, sum: bytes });
        offset += 48 + bytes;
      }
      const { bytes, sum } = index.encode();
      assert.is(SegmentIndex.decode(bytes, lengths.length, sum, offset)?.bodyBytes, index.bodyBytes);
      const changed = change(bytes);
      if (!changed.equals(bytes))
        assert.is(SegmentIndex.decode(changed, lengths.length, sum, offset), undefined);
      // Even with a checksum that is right: no places outside of the segment, no room for what is not there.
      const odd = SegmentIndex.decode(changed, lengths.length, crc32(changed), offset);
      for (let i = 0; i < (odd?.count ?? 0); i++) assert.ok(odd!.endOf(i) <= offset);
      if (count !== lengths.length) assert.is(SegmentIndex.decode(bytes, count, sum, offset), undefined);
    }),
    cases(300),
  );
});

test("the digest of a stream's log: what was saved, or an error, and nothing of it is taken over then", () => {
  const producer = fc.tuple(fc.string(), fc.maxSafeNat());
  fc.assert(
    fc.property(
      fc.array(producer, { maxLength: 5 }),
      fc.nat(9),
      fc.oneof(damage, damage),
      noise,
      (producers, source, change, odd) => {
        const tally = new Tally();
        tally.add(3, source, Buffer.from(JSON.stringify({ producers, rows: 8 })));
        const saved = tally.save();
        const again = new Tally();
        again.load(saved);
        assert.equal(
          [again.save().toString(), again.framesOf(source), again.nextRowOf(source)],
          [saved.toString(), 1, 8],
        );
        for (const bytes of [change(saved), odd]) {
          const before = again.save().toString();
          try {
            again.load(bytes);
          } catch {
            assert.is(again.save().toString(), before);
          }
          for (const [name] of producers) {
            const last = again.lastOf(name);
            assert.ok(
              !last || (Number.isSafeInteger(last.sequence) && Number.isSafeInteger(last.frame)),
              bytes.toString(),
            );
          }
          assert.ok(Number.isSafeInteger(again.framesOf(source)));
          again.load(saved);
        }
      },
    ),
    cases(500),
  );
});

// --- output --------------------------------------------------------------------------------------------------------

test("retained output that was changed: each row is as it was, or its reader is told", async () => {
  const folder = join(root, "output");
  const outputs = await Outputs.open(folder, undefined, SEGMENT_BYTES);
  const ROWS = 60;
  for (let row = 0, frame = 0; row < ROWS; frame++) {
    const count = Math.min(1 + (frame % 4), ROWS - row);
    const lines = Array.from({ length: count }, (_, i) => `row ${row + i}\n`);
    await outputs.append(Buffer.from(lines.join("")), count, frame);
    row += count;
  }
  await outputs.close();
  const files = filesIn(folder);
  const names = Object.keys(files);
  const at = join(root, "output-changed");
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...names), damage, fc.nat(ROWS - 1), async (name, change, from) => {
      laid(at, { ...files, [name]: change(files[name]) });
      const { value: again, error } = await outcomeOf(() => Outputs.open(at, undefined, SEGMENT_BYTES));
      if (error) return assert.ok(["log-damaged", "log-version"].includes(error.code), error.code);
      const stop = new AbortController();
      let next = from;
      const read = await outcomeOf(async () => {
        if (again!.next <= from) return;
        for await (const rows of again!.read(from, stop.signal)) {
          assert.is(rows.from, next);
          for (const line of rows.bytes.toString().split("\n").slice(0, rows.count))
            assert.is(line, `row ${next++}`);
          if (next >= again!.next) break;
        }
      });
      stop.abort();
      if (read.error) assert.ok(["log-damaged", "output-trimmed"].includes(read.error.code), read.error.code);
      await again!.close();
    }),
    cases(70),
  );
});

// --- pages ---------------------------------------------------------------------------------------------------------

test("a checkpoint's record or a page, whatever its bytes and however right its checksum: a reason, or a value that holds", () => {
  const versions = new Uint32Array(PAGES_MAX);
  versions.set([3, 0, 2, 1]);
  const record = encodeRecord({ number: 3, before: 2, versions, meta: { frame: 9 } });
  const page = Buffer.alloc(PAGE_VALUE_BYTES);
  encodePage(page, 3, 1, new Uint8Array(PAGE_BYTES).fill(5));
  const rightSum = (bytes: Buffer) => {
    if (bytes.length >= 8) bytes.writeUInt32LE(crc32(bytes.subarray(8)), 4);
    return bytes;
  };
  fc.assert(
    fc.property(damage, fc.boolean(), noise, (change, summed, odd) => {
      const changed = change(record);
      if (!changed.equals(record)) assert.type(decodeRecord(changed, 3), "string");
      if (summed && changed.length >= 4) changed.writeUInt32LE(1, 0);
      const read = decodeRecord(summed ? rightSum(changed) : odd, 3);
      if (typeof read !== "string") assert.ok(read.versions.every((version) => version <= 3));
      assert.type(invalidPage(odd, 3, 1), "string");
      const other = change(page);
      if (!other.equals(page)) assert.type(invalidPage(other, 3, 1), "string");
    }),
    cases(300),
  );
});

test("keys and values that nobody wrote, among those of a store: it is as one of its checkpoints, or says that it is damaged", async () => {
  const checkpoints = [1, 2, 3];
  const contentOf = (number: number) => [0, 1, 2].map((page) => (page < number ? number * 10 + page : 0));
  const bytesOf = (word: number) => new Uint8Array(PAGE_BYTES).fill(word);
  const key = fc.oneof(
    fc
      .tuple(fc.constantFrom(0x61, 0x70, 0x7a), fc.uint8Array({ maxLength: 10 }))
      .map(([kind, rest]) => Buffer.from([kind, ...rest])),
    fc.nat(2).map((page) => pageKey(3, page)),
    fc.constantFrom(...checkpoints.flatMap((number) => recordKeys(number))),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(key, noise), { minLength: 1, maxLength: 3 }), async (odd) => {
      const database = new MemoryDatabase();
      const store = await PageVersions.open(database);
      for (const number of checkpoints) {
        const bytes = new Uint8Array(3 * PAGE_BYTES);
        contentOf(number).forEach((word, page) => bytes.set(bytesOf(word), page * PAGE_BYTES));
        await store.write(Uint32Array.of(0, 1, 2), bytes.buffer);
        await store.commit({ number });
      }
      await database.write((batch) => odd.forEach(([name, value]) => batch.put(name, value)), true);
      const again = await PageVersions.open(database);
      for (const { number } of again.checkpoints) {
        const words = [0, 0, 0];
        const { error } = await outcomeOf(() =>
          again.restore(number, (page, bytes) => void (words[page] = bytes[7])),
        );
        if (error) assert.is(error.code, "store-damaged");
        else assert.equal(words, contentOf(number));
      }
      // And it goes on.
      if (again.checkpoints.length)
        await again.restore(again.checkpoints[0].number, () => {}).catch(() => {});
      await again.write(Uint32Array.of(0), new Uint8Array(PAGE_BYTES).buffer);
      await again.commit({});
    }),
    cases(60),
  );
});

test.run();
