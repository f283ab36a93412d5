/** Small files of a host: the registry, positions of sinks, processes, locks, markers of stores, backups. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { pack } from "tar-stream";
import * as fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Children } from "../../host/congregation/children.ts";
import { identityOf, isAlive } from "../../host/congregation/identity.ts";
import { holderOf, lockFolder } from "../../host/congregation/lock.ts";
import { restoreBackup } from "../../host/doctor/restore.ts";
import { archiveOf, BACKUP_FILE } from "../../host/hallelu/backup.ts";
import { HallelujahError } from "../../host/core/errors.ts";
import { filePositions } from "../../host/hallelu/positions.ts";
import { runSink } from "../../host/hallelu/sinks.ts";
import { readJournal } from "../../host/store/journal.ts";
import { Marker } from "../../host/store/marker.ts";
import { FileRegistry, registryText } from "../../host/store/registry.ts";
import { seal, unseal } from "../../host/store/sealed.ts";
import { scratch } from "../run.ts";
import { cases, damage, noise, outcomeNow, outcomeOf } from "./mutate.ts";

const test = suite("fuzz: small files");
const root = mkdtempSync(join(scratch(), "fuzz-files-"));
let folders = 0;

function folder(): string {
  const path = join(root, String(folders++));
  mkdirSync(path);
  return path;
}

// --- sealed JSON ---------------------------------------------------------------------------------------------------

const content = fc.dictionary(fc.string(), fc.jsonValue(), { minKeys: 1 });
const plain = (value: unknown) => JSON.parse(JSON.stringify(value)) as Record<string, unknown>;

test("sealed JSON is read as it was written, and every change of it is seen", () => {
  fc.assert(
    fc.property(content, damage, (value, change) => {
      const text = Buffer.from(seal(value));
      const { crc: _, ...read } = unseal(text, "-") as Record<string, unknown>;
      if (!("crc" in value)) assert.equal(read, plain(value));
      const changed = change(text);
      if (!changed.equals(text)) assert.throws(() => unseal(changed, "-"));
    }),
    cases(1000),
  );
});

// --- registry ------------------------------------------------------------------------------------------------------

const entries = fc.dictionary(fc.string({ minLength: 1 }), fc.jsonValue(), { minKeys: 1, maxKeys: 5 });

/** What a registry of these bytes holds. */
function registryOf(path: string, bytes: string | Buffer): [string, unknown][] {
  writeFileSync(path, bytes);
  const registry = new FileRegistry(path);
  return registry.list("").map((key) => [key, registry.get(key)!.value]);
}

test("a registry is read as it was written, and every change of its file is seen", () => {
  const path = join(folder(), "registry.json");
  fc.assert(
    fc.property(entries, damage, (values, change) => {
      const kept = Object.entries(plain(values)).toSorted(([a], [b]) => (a < b ? -1 : 1));
      const text = Buffer.from(registryText(kept));
      assert.equal(registryOf(path, text), kept);
      const changed = change(text);
      if (changed.equals(text)) return;
      assert.is(outcomeNow(() => registryOf(path, changed)).error?.code, "registry-damaged");
    }),
    cases(600),
  );
});

test("a registry of version 1, without a checksum, is still read; one that is none is said to be", () => {
  const path = join(folder(), "registry.json");
  const old = '{"version":1,"revision":2,"entries":[["a",{"value":{"x":1},"revision":1}]]}';
  assert.equal(registryOf(path, old), [["a", { x: 1 }]]);
  for (const [what, file] of Object.entries({
    "no revision": '{"version":1,"entries":[]}',
    "no entries": '{"version":1,"revision":2}',
    "an entry that is none": '{"version":1,"revision":2,"entries":[["a",null]]}',
    "a key that is none": '{"version":1,"revision":2,"entries":[[1,{"value":1,"revision":1}]]}',
    "a version that is none": '{"version":1,"version":"2","revision":2,"entries":[]}',
    "version 2 without a checksum": '{"version":2,"revision":2,"entries":[]}',
    null: "null",
    nothing: "",
  }))
    assert.is(outcomeNow(() => registryOf(path, file)).error?.code, "registry-damaged", what);
  fc.assert(
    fc.property(
      fc.oneof(
        damage.map((change) => change(Buffer.from(old))),
        noise,
      ),
      (bytes) => {
        const { error } = outcomeNow(() => registryOf(path, bytes));
        if (error) assert.is(error.code, "registry-damaged");
      },
    ),
    cases(600),
  );
});

// --- positions of sinks --------------------------------------------------------------------------------------------

/** Runs a sink to row 10; which row it asked for first. */
async function askedOf(target: string, position: string): Promise<number> {
  let first = -1;
  async function* read(from: number) {
    first = from;
    const count = Math.max(0, 10 - from);
    if (count) yield { from, count, bytes: Buffer.from("row\n".repeat(count)) };
  }
  // It would be tried again for ever.
  const stop = new AbortController();
  let complaint: string | undefined;
  await runSink(target, "s", filePositions(position), read, stop.signal, ({ error }) => {
    complaint ??= error;
    if (error !== undefined) stop.abort();
  });
  if (complaint === undefined) return first;
  assert.match(complaint, "cannot be read, so that nobody knows how far this sink has got");
  throw new HallelujahError("sink-failed", complaint);
}

test("a sink goes on from its position, and never from one that was changed", async () => {
  const target = join(folder(), "rows");
  const position = join(folder(), "sink-0.json");
  assert.is(await askedOf(target, position), 0);
  assert.is(await askedOf(target, position), 10);
  const text = readFileSync(position);
  const rows = readFileSync(target);
  await fc.assert(
    fc.asyncProperty(damage, async (change) => {
      const changed = change(text);
      writeFileSync(position, changed);
      writeFileSync(target, rows);
      const { value, error } = await outcomeOf(() => askedOf(target, position));
      if (error) assert.is(error.code, "sink-failed");
      else assert.is(value, 10);
      assert.ok(error || changed.equals(text), changed.toString());
      assert.ok(readFileSync(target).equals(rows), "no row is lost or doubled");
    }),
    cases(200),
  );
});

test("the position of an older version is read; one that is none stops the sink", async () => {
  const target = join(folder(), "rows");
  const position = join(folder(), "sink-0.json");
  writeFileSync(target, "row\nrow\n");
  writeFileSync(position, '{"next":2,"bytes":8}');
  assert.is(await askedOf(target, position), 2);
  assert.is(statSync(target).size, 40);
  for (const file of [
    '{"next":-1,"bytes":0}',
    '{"next":"2","bytes":0}',
    '{"next":2}',
    '{"next":1e99,"bytes":0}',
    "{}",
  ]) {
    writeFileSync(position, file);
    assert.is((await outcomeOf(() => askedOf(target, position))).error?.code, "sink-failed", file);
    assert.is(statSync(target).size, 40, file);
  }
});

// --- processes and locks -------------------------------------------------------------------------------------------

test("a file of processes that was changed ends nobody else's process", async () => {
  const child = spawn("sleep", ["60"], { stdio: "ignore" });
  const other = identityOf(child.pid!);
  try {
    const data = folder();
    const path = join(data, "processes.json");
    new Children(data).add(spawn("true", { stdio: "ignore" }));
    const place = (JSON.parse(readFileSync(path, "utf8")) as { place: string }).place;
    const { pid, started } = other;
    for (const processes of [
      [{ pid }],
      [{ pid, started: null }],
      [{ pid, started: 0 }],
      [{ pid, started: "" }],
      [{ pid, started: `${started}0` }],
      [{ pid, started: [] }],
      [null, { pid }],
      { length: 1, 0: { pid } },
      [{ pid: 2 ** 40, started: "1" }],
    ]) {
      writeFileSync(path, JSON.stringify({ place, processes }));
      await new Children(data).endLeft();
      assert.ok(isAlive(other), JSON.stringify(processes));
    }
    const text = Buffer.from(seal({ version: 2, place, processes: [{ pid: 1, started: "1" }] }));
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          damage.map((change) => change(text)),
          noise,
        ),
        async (bytes) => {
          writeFileSync(path, bytes);
          await new Children(data).endLeft();
          assert.ok(isAlive(other));
        },
      ),
      cases(150),
    );
  } finally {
    child.kill("SIGKILL");
  }
});

test("a lock is held by its holder or by nobody, whatever became of its file", async () => {
  const data = folder();
  const giveBack = await lockFolder(data, 0);
  const path = join(data, "lock.1");
  const text = readFileSync(path);
  fc.assert(
    fc.property(
      fc.oneof(
        damage.map((change) => change(text)),
        noise,
      ),
      (bytes) => {
        writeFileSync(path, bytes);
        const { value } = outcomeNow(() => holderOf(data));
        assert.ok(value === undefined || value > 0);
      },
    ),
    cases(200),
  );
  giveBack();
});

// --- markers of stores ---------------------------------------------------------------------------------------------

test("a store's marker says what was written, or that it is damaged", () => {
  const data = folder();
  const writer = { rocksdb: 9, node: 22 };
  const marker = Marker.open(data, writer);
  marker.note(12);
  marker.close();
  const path = join(data, "STORE");
  const text = readFileSync(path);
  writeFileSync(join(data, "CURRENT"), "");
  fc.assert(
    fc.property(damage, (change) => {
      writeFileSync(path, change(text));
      const { value, error } = outcomeNow(() => Marker.open(data, writer));
      if (error) return assert.is(error.code, "store-damaged");
      value!.close();
      assert.is(value!.checkpoint, 12);
    }),
    cases(200),
  );
});

// --- backups -------------------------------------------------------------------------------------------------------

async function archive(): Promise<{ bytes: Buffer; files: Record<string, Buffer> }> {
  const files: Record<string, Buffer> = {
    "registry.json": Buffer.from(registryText([["streams/s", { name: "s" }]])),
    "streams/s/kernel-1.wasm": Buffer.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]),
    "streams/s/log/0000000000000000.seg": Buffer.alloc(700, 7),
    "streams/s/sink-0.json": Buffer.alloc(0),
  };
  const source = folder();
  const [first, ...rest] = Object.entries(files);
  const snapshots = rest.map(([name, bytes], i) => {
    const path = join(source, String(i));
    writeFileSync(path, bytes);
    return { name, path, bytes: bytes.length };
  });
  const chunks: Uint8Array[] = [];
  for await (const chunk of archiveOf([[first[0], first[1].toString()]], snapshots, () => {}))
    chunks.push(chunk);
  return { bytes: Buffer.concat(chunks), files };
}

/** Whether a folder was made, which then holds exactly these files. */
async function restored(bytes: Buffer, files: Record<string, Buffer>): Promise<boolean> {
  const at = folder();
  const data = join(at, "data");
  writeFileSync(join(at, "backup.tar"), bytes);
  const { error } = await outcomeOf(() => restoreBackup(join(at, "backup.tar"), data));
  if (error) assert.is(error.code, "backup-invalid");
  else
    for (const [name, wanted] of Object.entries(files))
      assert.ok(readFileSync(join(data, name)).equals(wanted), name);
  rmSync(at, { recursive: true });
  return !error;
}

test("a backup is restored as it was made, and never where a byte of a file was changed", async () => {
  const { bytes, files } = await archive();
  assert.ok(await restored(bytes, files));
  const contents = [7, 0x61, 0x7b].map((byte) => bytes.indexOf(byte, 512));
  assert.ok(contents.every((at) => at > 0));
  await fc.assert(
    fc.asyncProperty(damage, async (change) => {
      await restored(change(bytes), files);
    }),
    cases(60),
  );
  const at = bytes.indexOf(Buffer.alloc(700, 7));
  for (const bit of [0, 3, 7]) {
    const changed = Buffer.from(bytes);
    changed[at + 300] ^= 1 << bit;
    assert.not(await restored(changed, files));
  }
});

test("a backup of version 1, without checksums, is still restored", async () => {
  const tar = pack();
  tar.entry({ name: "registry.json" }, "{}");
  tar.entry(
    { name: BACKUP_FILE },
    '{"version":1,"hallelujah":"0.1.0","made":"2026-01-01T00:00:00.000Z","files":1}',
  );
  tar.finalize();
  const chunks: Uint8Array[] = [];
  for await (const chunk of tar) chunks.push(chunk as Uint8Array);
  assert.ok(await restored(Buffer.concat(chunks), { "registry.json": Buffer.from("{}") }));
});

test("a backup names only files below its folder", async () => {
  for (const header of [
    { name: "../evil" },
    { name: "/evil" },
    { name: "streams/s/../../../evil" },
    { name: "streams/s/link", type: "symlink" as const, linkname: "/tmp" },
    { name: "streams/s/hard", type: "link" as const, linkname: "registry.json" },
  ]) {
    const tar = pack();
    tar.entry(header, "");
    tar.entry({ name: BACKUP_FILE }, '{"version":1,"hallelujah":"0","made":"","files":1}');
    tar.finalize();
    const chunks: Uint8Array[] = [];
    for await (const chunk of tar) chunks.push(chunk as Uint8Array);
    assert.not(await restored(Buffer.concat(chunks), {}), header.name);
  }
});

// --- the journal ---------------------------------------------------------------------------------------------------

test("the last lines of a journal of any bytes are lines of it, and whole", async () => {
  const data = folder();
  mkdirSync(join(data, "logs"));
  const line = fc
    .record({ stream: fc.constantFrom("a", "b"), msg: fc.string() })
    .map((each) => JSON.stringify(each));
  const journal = fc.array(line).map((lines) => Buffer.from(lines.map((each) => `${each}\n`).join("")));
  const damaged = fc.tuple(journal, damage).map(([bytes, change]) => change(bytes));
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(journal, damaged, noise),
      fc.nat(5),
      fc.boolean(),
      async (bytes, count, one) => {
        writeFileSync(join(data, "logs", "host.ndjson"), bytes);
        const { signal } = new AbortController();
        const options = { lines: count, follow: false, signal, ...(one ? { stream: "a" } : {}) };
        const parts: Buffer[] = [];
        for await (const part of readJournal(data, options)) parts.push(part);
        const whole = Buffer.from(bytes).toString("latin1").split("\n").slice(0, -1);
        const wanted = whole.filter((each) => !one || each.includes('"stream":"a"')).slice(-count);
        const expected = count ? wanted.map((each) => `${each}\n`).join("") : "";
        assert.is(Buffer.concat(parts).toString("latin1"), expected);
      },
    ),
    cases(200),
  );
});

test.run();
