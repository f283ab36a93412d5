/** Data folders of earlier versions are opened, and answer as they did. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { cli } from "../run.ts";
import { type Answers, answersOf, FOLDER, fixtures, STREAM, unpack } from "../fixtures/fixtures.ts";
import { drained, startHost, until } from "./host.ts";

const test = suite("flow/formats");

assert.ok(fixtures().length > 0);
for (const name of fixtures()) {
  test(`${name} is whole, answers as it did, and goes on`, async () => {
    const data = mkdtempSync(join(tmpdir(), "hallelujah-formats-"));
    await unpack(name, data);
    const { stdout, code } = await cli(["doctor", "--data", data]);
    assert.is(code, 0, stdout);
    const host = await startHost({ cpus: 2, data });
    try {
      const expected = JSON.parse(readFileSync(join(FOLDER, `${name}.json`), "utf8")) as Answers;
      assert.equal(await answersOf(host), expected);
      const { records } = await host.client.stream(STREAM);
      // A producer's last number is known, too.
      await host.client.push(STREAM, [{ word: "again", value: 1 }], { producer: "p", sequence: 7 });
      await host.client.push(STREAM, [{ word: "new", value: 1 }], { producer: "p", sequence: 8 });
      await until(host.client, STREAM, drained);
      assert.is((await host.client.stream(STREAM)).records, records + 1);
    } finally {
      assert.is(await host.stop(), 0);
      rmSync(data, { recursive: true, force: true });
    }
  });
}

test.run();
