/** A full disk, as the system says it: no stack, no end of the host. */
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { problemOf } from "../../host/hallelu/api/problem.ts";
import { openJournal } from "../../host/store/journal.ts";

const FULL = "/dev/full";

test("what the system refuses for lack of room is a problem of its own, and nobody's mistake", () => {
  const error = Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
  const { status, headers, body } = problemOf(error, () => assert.unreachable("it is no surprise"));
  assert.equal([status, headers["retry-after"]], [507, "10"]);
  assert.is((JSON.parse(body) as { code: string }).code, "disk-full");
});

test("a journal that cannot be written ends no process", async () => {
  if (!existsSync(FULL)) return;
  const data = mkdtempSync(join(tmpdir(), "hallelujah-full-"));
  try {
    mkdirSync(join(data, "logs"));
    symlinkSync(FULL, join(data, "logs", "host.ndjson"));
    const journal = openJournal(data, "test");
    for (let i = 0; i < 3; i++) journal.info({ i }, "a line");
    await new Promise((done) => setImmediate(done));
  } finally {
    rmSync(data, { recursive: true, force: true });
  }
});

test.run();
