/**
 * Makes test/fixtures/data-N.tar.gz and .json, for the next N: a data folder as this version writes it, with a shard on disk, a log
 * that is partly applied, output, and a dead letter. To be run under the oldest Node, whose stores all can read.
 */
import {
  cpSync,
  createWriteStream,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { pack } from "tar-stream";
import { answersOf, FOLDER, fixtures, KERNEL, STREAM } from "../test/fixtures/fixtures.ts";
import { drained, startHost, until } from "../test/flow/host.ts";

/** What is of the machine, or of no use to another host. */
const LEFT_OUT = /^(logs|lock|processes)|(^|\/)LO(G|CK)/;

const body = (from: number, count: number) =>
  Array.from({ length: count }, (_, i) => ({ word: `w${(from + i) % 17}`, value: (from + i) % 97 }));

const data = mkdtempSync(join(tmpdir(), "hallelujah-fixture-"));
const name = `data-${fixtures().length + 1}`;
const host = await startHost({ cpus: 1, data });
await host.client.deploy(STREAM, { kernel: KERNEL, file: "words.ts" });
for (let i = 0; i < 5; i++)
  await host.client.push(STREAM, body(i * 100, 100), { producer: "p", sequence: i });
await host.client.push(STREAM, [{ word: "trap", value: 1 }]);
await until(host.client, STREAM, drained);
await host.client.change(STREAM, { paused: true });
for (let i = 5; i < 8; i++)
  await host.client.push(STREAM, body(i * 100, 100), { producer: "p", sequence: i });
await host.stop();

const archive = pack();
for (const file of readdirSync(data, { recursive: true, encoding: "utf8" }).toSorted())
  if (!LEFT_OUT.test(file) && statSync(join(data, file)).isFile())
    archive.entry({ name: file }, readFileSync(join(data, file)));
archive.finalize();
await pipeline(archive, createGzip({ level: 9 }), createWriteStream(join(FOLDER, `${name}.tar.gz`)));

// What it has to answer is what it does now, which is to be looked at before it is committed.
const copy = mkdtempSync(join(tmpdir(), "hallelujah-fixture-"));
cpSync(data, copy, { recursive: true });
const second = await startHost({ cpus: 1, data: copy });
writeFileSync(join(FOLDER, `${name}.json`), `${JSON.stringify(await answersOf(second), undefined, 2)}\n`);
await second.stop();
for (const folder of [data, copy]) rmSync(folder, { recursive: true, force: true });
process.stdout.write(`${join(FOLDER, name)}.tar.gz and .json\n`);
