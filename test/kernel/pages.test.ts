import { test } from "uvu";
import * as assert from "uvu/assert";
import { createMemory } from "../../host/kernel/instance.ts";
import * as map from "../../host/kernel/memory-map.ts";
import {
  clearDirty,
  copyPages,
  dirtyPages,
  FIRST_PAGE,
  growForPages,
  markDirty,
  PAGE_BYTES,
  pagesEnd,
  putPage,
} from "../../host/kernel/pages.ts";

const at = (page: number) => page * PAGE_BYTES;

test("marks are listed in order, from the arena's start up to its end", () => {
  const memory = createMemory(64 << 20);
  assert.equal(dirtyPages(memory, at(65536)), []);
  const marks = new Uint8Array(memory.buffer, map.DIRTY, 65536);
  const pages = [FIRST_PAGE, FIRST_PAGE + 1, FIRST_PAGE + 7, FIRST_PAGE + 8, 9999, 65535];
  for (const page of pages) marks[page] = 1;
  marks[FIRST_PAGE - 1] = 1; // of the output window
  marks[0] = 1;
  assert.equal(dirtyPages(memory, at(65536)), pages);
  assert.equal(dirtyPages(memory, at(FIRST_PAGE + 8)), pages.slice(0, 3));
  assert.equal(dirtyPages(memory, at(FIRST_PAGE + 8) + 1), pages.slice(0, 4));
  assert.equal(dirtyPages(memory, map.ARENA), []);
  clearDirty(memory);
  assert.equal(dirtyPages(memory, at(65536)), []);
  assert.ok(marks.every((mark) => mark === 0));
});

test("what the host writes is marked to its last byte", () => {
  const memory = createMemory(64 << 20);
  const marked = (address: number, bytes: number) => {
    clearDirty(memory);
    markDirty(memory, address, bytes);
    return dirtyPages(memory, at(65536)).map((page) => page - FIRST_PAGE);
  };
  assert.equal(marked(map.ARENA, 1), [0]);
  assert.equal(marked(map.ARENA, PAGE_BYTES), [0]);
  assert.equal(marked(map.ARENA + 1, PAGE_BYTES), [0, 1]);
  assert.equal(marked(map.ARENA + PAGE_BYTES - 1, 2), [0, 1]);
  assert.equal(marked(map.ARENA + PAGE_BYTES - 1, PAGE_BYTES * 2), [0, 1, 2]);
});

test("the marks lie in pages of their own: neither input nor control block touches them", () => {
  const memory = createMemory(64 << 20);
  const bytes = new Uint8Array(memory.buffer);
  bytes.fill(1, map.INPUT, map.DIRTY);
  bytes.fill(1, map.CONTROL, map.OUTPUT);
  assert.equal(dirtyPages(memory, at(65536)), []);
});

test("pages that are copied out and put back are the same, in a memory that is as large", () => {
  const memory = createMemory(64 << 20);
  growForPages(memory, map.ARENA + 5 * PAGE_BYTES);
  const bytes = new Uint8Array(memory.buffer);
  const pages = [FIRST_PAGE, FIRST_PAGE + 3, FIRST_PAGE + 4];
  for (const page of pages) bytes.fill(page & 0xff, at(page), at(page + 1));
  const copy = copyPages(memory, pages);
  assert.is(copy.byteLength, 3 * PAGE_BYTES);
  bytes.fill(0, map.ARENA); // the copy is none of the memory's own bytes
  const other = createMemory(64 << 20);
  growForPages(other, map.ARENA + 4 * PAGE_BYTES + 1);
  pages.forEach((page, i) => putPage(other, page, new Uint8Array(copy, i * PAGE_BYTES, PAGE_BYTES)));
  const back = new Uint8Array(other.buffer);
  for (let page = FIRST_PAGE; page < FIRST_PAGE + 5; page++) {
    const byte = pages.includes(page) ? page & 0xff : 0;
    assert.ok(back.subarray(at(page), at(page + 1)).every((each) => each === byte));
  }
  assert.equal(copyPages(memory, []).byteLength, 0);
});

test("no page is put back below the arena, nor a part of one", () => {
  const memory = createMemory(64 << 20);
  assert.throws(() => putPage(memory, FIRST_PAGE - 1, new Uint8Array(PAGE_BYTES)), /no page/);
  assert.throws(() => putPage(memory, FIRST_PAGE, new Uint8Array(PAGE_BYTES - 1)), /no page/);
});

test("a memory has room behind the last byte of its arena, and grows no further than it may", () => {
  const memory = createMemory(4 << 20);
  for (const end of [map.ARENA + 1, map.ARENA + PAGE_BYTES, map.ARENA + 3 * PAGE_BYTES]) {
    growForPages(memory, end);
    assert.ok(memory.buffer.byteLength >= end + 64);
  }
  assert.is(pagesEnd(map.ARENA + PAGE_BYTES), FIRST_PAGE + 1);
  assert.throws(() => growForPages(memory, map.ARENA + (64 << 20)), RangeError);
});

test.run();
