/** The bytes of a store: what is written is read, and nothing else is taken for it. */
import * as fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { PAGE_BYTES, PAGES_MAX } from "../../host/core/limits.ts";
import {
  type CheckpointRecord,
  checkpointOf,
  decodeRecord,
  encodePage,
  encodeRecord,
  invalidPage,
  PAGE_VALUE_BYTES,
  pageBytes,
  pageKey,
  pageOf,
  pagesOf,
  recordKeys,
} from "../../host/store/keys.ts";
import { seeded } from "../run.ts";

const test = suite("host/store/keys");

const checkpoints = fc.integer({ min: 1, max: 0xffff_fffe });
const pages = fc.nat(PAGES_MAX - 1);

test("keys sort by checkpoint, then by page, and hold both", () => {
  const order = (a: number, b: number) => Math.sign(a - b);
  fc.assert(
    fc.property(checkpoints, pages, checkpoints, pages, (c1, p1, c2, p2) => {
      const key = pageKey(c1, p1);
      assert.equal(pageOf(key), { checkpoint: c1, page: p1 });
      for (const each of recordKeys(c1)) assert.is(checkpointOf(each), c1);
      assert.equal(
        [checkpointOf(key), pageOf(recordKeys(c1)[0]), pageOf(key.subarray(1))],
        [undefined, undefined, undefined],
      );
      assert.is(Buffer.compare(key, pageKey(c2, p2)), order(c1, c2) || order(p1, p2));
      const { from, to } = pagesOf(c2, c2);
      assert.is(Buffer.compare(from, key) <= 0 && Buffer.compare(key, to) < 0, c1 === c2);
      assert.ok(Buffer.compare(recordKeys(c1)[0], key) < 0 && Buffer.compare(recordKeys(c1)[1], key) > 0);
    }),
    seeded(500),
  );
});

test("a page is read as it was written, and as no other; every bit that flips is seen", () => {
  fc.assert(
    fc.property(
      checkpoints,
      pages,
      fc.nat(255),
      fc.nat(PAGE_VALUE_BYTES * 8 - 1),
      (checkpoint, page, fill, bit) => {
        const value = Buffer.alloc(PAGE_VALUE_BYTES);
        encodePage(value, checkpoint, page, new Uint8Array(PAGE_BYTES).fill(fill));
        assert.is(invalidPage(value, checkpoint, page), undefined);
        assert.is(pageBytes(value)[PAGE_BYTES - 1], fill);
        assert.ok(invalidPage(value, checkpoint + 1, page));
        assert.ok(invalidPage(value, checkpoint, page ^ 1));
        assert.ok(invalidPage(value.subarray(1), checkpoint, page));
        value[bit >> 3] ^= 1 << (bit & 7);
        assert.ok(invalidPage(value, checkpoint, page));
      },
    ),
    seeded(200),
  );
});

test("a record is read as it was written; every bit that flips, and every end that is missing, is seen", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 1000 }),
      fc.array(fc.tuple(pages, fc.integer({ min: 1, max: 1000 })), { maxLength: 20 }),
      fc.jsonValue(),
      fc.nat(),
      (number, versions, meta, place) => {
        const record: CheckpointRecord = {
          number,
          before: number - 1,
          versions: new Uint32Array(PAGES_MAX),
          meta,
        };
        for (const [page, version] of versions) record.versions[page] = Math.min(version, number);
        const value = encodeRecord(record);
        const read = decodeRecord(value, number) as CheckpointRecord;
        assert.equal(
          [read.number, read.before, JSON.stringify(read.meta)],
          [number, number - 1, JSON.stringify(meta)],
        );
        assert.ok(Buffer.from(read.versions.buffer).equals(Buffer.from(record.versions.buffer)));
        assert.type(decodeRecord(value, number + 1), "string");
        assert.type(decodeRecord(value.subarray(0, place % value.length), number), "string");
        const bit = place % (value.length * 8);
        value[bit >> 3] ^= 1 << (bit & 7);
        assert.type(decodeRecord(value, number), "string");
      },
    ),
    seeded(300),
  );
});

test("any bytes at all are refused with a reason", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), checkpoints, pages, (bytes, checkpoint, page) => {
      assert.type(decodeRecord(Buffer.from(bytes), checkpoint), "string");
      assert.type(invalidPage(Buffer.from(bytes), checkpoint, page), "string");
    }),
    seeded(1000),
  );
});

test.run();
