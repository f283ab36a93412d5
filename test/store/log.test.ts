import { spawn, spawnSync } from "node:child_process";
import {
  appendFileSync,
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { HallelujahError } from "../../host/core/errors.ts";
import { packageRoot } from "../../host/core/package-root.ts";
import { parseRetain } from "../../host/core/retain.ts";
import { Tally } from "../../host/hallelu/tally.ts";
import { FILES, type Files } from "../../host/store/files.ts";
import { DISK, type Disk, Log, type LogOptions } from "../../host/store/log.ts";
import { type Extent, trimmableBelow } from "../../host/store/retention.ts";
import { verifyLog } from "../../host/store/verify.ts";
import { random, scratch, seeded, seedOf } from "../run.ts";

const test = suite("host/store/log");
const folder = () => mkdtempSync(join(scratch(), "log-"));
const entry = (text: string, head?: string) => ({
  kind: text.length % 7,
  head: head === undefined ? undefined : Buffer.from(head),
  body: [Buffer.from(text.slice(0, 3)), Buffer.from(text.slice(3))],
  records: text.length,
});

async function texts(log: Log): Promise<string[]> {
  const all: string[] = [];
  for (let number = log.first; number < log.next; number++)
    all.push((await log.read(number)).body.toString());
  return all;
}

/** What can be read: text by number. */
async function readable(log: Log): Promise<Map<number, string>> {
  const found = new Map<number, string>();
  for (let number = log.first; number < log.next; number++) {
    try {
      found.set(number, (await log.read(number)).body.toString());
    } catch (error) {
      assert.is((error as HallelujahError).code, "log-damaged");
    }
  }
  return found;
}

async function code(work: () => Promise<unknown>): Promise<string> {
  try {
    await work();
  } catch (error) {
    return (error as { code: string }).code;
  }
  return "none";
}

const files = (path: string, extension: "seg" | "idx") =>
  readdirSync(path)
    .filter((name) => name.endsWith(extension))
    .toSorted()
    .map((name) => join(path, name));

/** As a process leaves it that is killed: nothing beside the segments. */
function forgetSidecars(path: string): void {
  for (const name of files(path, "idx")) rmSync(name);
}

function flip(path: string, byte: number): void {
  const bytes = readFileSync(path);
  bytes[byte] ^= 1 << (byte % 8);
  writeFileSync(path, bytes);
}

/** A log of so many entries in small segments, closed. */
async function made(bodies: string[], options: LogOptions = {}): Promise<string> {
  const path = folder();
  const log = await Log.open(path, { segmentBytes: 400, ...options });
  for (const body of bodies) await log.append(entry(body));
  await log.close();
  return path;
}

test("a log gives back what was appended, also when it is opened again, with sidecars and without", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.string({ maxLength: 60 }), { minLength: 1, maxLength: 40 }),
      async (bodies) => {
        const path = folder();
        const options = { segmentBytes: 300 };
        const log = await Log.open(path, options);
        const numbers = await Promise.all(
          bodies.map((body, i) => log.append(entry(body, i % 3 ? undefined : `{"i":${i}}`))),
        );
        assert.equal(
          numbers.map(({ number }) => number),
          bodies.map((_, i) => i),
        );
        assert.equal(await texts(log), bodies);
        await log.close();
        const total = bodies.reduce((sum, body) => sum + Buffer.byteLength(body), 0);
        for (const killed of [false, true, false]) {
          if (killed) forgetSidecars(path);
          const again = await Log.open(path, options);
          assert.is(again.bytesFrom(0), total);
          assert.equal(await texts(again), bodies);
          assert.is(again.damageFrom(0), undefined);
          const { path: file, offset, bytes } = again.place(bodies.length - 1);
          assert.is(
            readFileSync(file)
              .subarray(offset, offset + bytes)
              .toString(),
            bodies.at(-1),
          );
          await again.close();
        }
        const again = await Log.open(path, options);
        assert.is((await again.append(entry("more"))).number, bodies.length);
        assert.is(again.bytesFrom(0), total + 4);
        await again.close();
        assert.equal([...verifyLog(path)], []);
      },
    ),
    seeded(30),
  );
});

test("an append is answered when it is synced, and those that come meanwhile go together", async () => {
  const path = folder();
  let free = () => {};
  const synced: number[] = [];
  const disk: Disk = {
    ...DISK,
    async datasync(handle) {
      const { size } = await handle.stat();
      if (size > 100) await new Promise<void>((done) => (free = done));
      await handle.datasync();
      synced.push(size);
    },
  };
  const log = await Log.open(path, { disk });
  const answered: number[] = [];
  const append = (text: string) => void log.append(entry(text)).then(({ number }) => answered.push(number));
  append("a".repeat(100));
  await new Promise((done) => setTimeout(done, 20));
  for (let i = 0; i < 50; i++) append("later");
  await new Promise((done) => setTimeout(done, 20));
  assert.equal([answered, log.next], [[], 0]);
  free();
  while (!answered.length) await new Promise((done) => setTimeout(done, 1));
  assert.equal(answered, [0]);
  while (answered.length < 51) {
    free();
    await new Promise((done) => setTimeout(done, 1));
  }
  assert.is(synced.length, 3, "the new segment, the first entry, all others");
  await log.close();
});

test("a torn tail is cut off, wherever it is torn; what is before it stays", async () => {
  const path = folder();
  const log = await Log.open(path);
  await log.append(entry("first"));
  const [file] = files(path, "seg");
  const kept = readFileSync(file).length;
  await log.append(entry("second", "{}"));
  await log.close();
  const whole = readFileSync(file);
  for (let size = kept; size < whole.length; size++) {
    forgetSidecars(path);
    writeFileSync(file, whole.subarray(0, size));
    const torn = await Log.open(path);
    assert.equal(await texts(torn), ["first"], `torn at ${size}`);
    await torn.append(entry("new"));
    assert.equal(await texts(torn), ["first", "new"]);
    await torn.close();
  }
  forgetSidecars(path);
  writeFileSync(file, whole);
  appendFileSync(file, "rubbish behind it");
  assert.equal(await texts(await Log.open(path)), ["first", "second"]);
});

test("entries that are appended together are kept together, wherever the log is torn", async () => {
  const path = folder();
  const log = await Log.open(path);
  await log.append(entry("before"));
  const [file] = files(path, "seg");
  const kept = readFileSync(file).length;
  assert.is((await log.appendGroup(["one", "two", "three"].map((text) => entry(text)))).number, 1);
  await log.close();
  const whole = readFileSync(file);
  for (let size = kept; size < whole.length; size++) {
    forgetSidecars(path);
    writeFileSync(file, whole.subarray(0, size));
    const torn = await Log.open(path);
    assert.equal(await texts(torn), ["before"], `torn at ${size}`);
    assert.is((await torn.append(entry("new"))).number, 1);
    await torn.close();
    assert.equal(await texts(await Log.open(path)), ["before", "new"]);
  }
  forgetSidecars(path);
  writeFileSync(file, whole);
  assert.equal(await texts(await Log.open(path)), ["before", "one", "two", "three"]);
});

test("a power cut leaves any part of what was not synced: all that was answered is there, and nothing is called damaged", async () => {
  const seed = seedOf("power cut");
  const chance = random(seed);
  for (let round = 0; round < 30; round++) {
    const path = folder();
    const log = await Log.open(path);
    const kept = ["one", "two", "three"].map((text) => text.repeat(300));
    for (const text of kept) await log.append(entry(text));
    const [file] = files(path, "seg");
    const synced = statSync(file).size;
    const lost = Array.from({ length: 12 }, (_, i) => String(i).repeat(Math.ceil(chance() * 2000)));
    const appended = Promise.all(lost.map((text) => log.append(entry(text))));
    await appended;
    await log.close();
    forgetSidecars(path);
    const bytes = readFileSync(file);
    for (let at = Math.ceil(synced / 512) * 512; at < bytes.length; at += 512)
      if (chance() < 0.3) bytes.fill(0, at, Math.min(at + 512, bytes.length));
    writeFileSync(file, bytes);
    const again = await Log.open(path);
    const there = await texts(again);
    assert.is(again.damageFrom(0), undefined);
    assert.ok(there.length >= 3);
    assert.equal(there, [...kept, ...lost].slice(0, there.length));
    await again.append(entry("new"));
    await again.close();
  }
});

test("a changed byte loses nothing in silence: entries are the same, are said to be damaged, or were of the last write", async () => {
  const bodies = ["first", "second", "third", "fourth"];
  const path = folder();
  const log = await Log.open(path);
  for (const body of bodies) await log.append(entry(body, "{}"));
  const start = log.place(3).offset - 50;
  await log.close();
  const [file] = files(path, "seg");
  const whole = readFileSync(file);
  const [sidecar] = files(path, "idx");
  const known = readFileSync(sidecar);
  for (let at = 0; at < whole.length; at++) {
    // With the sidecar fewer places, as it is one more way to the same.
    for (const killed of at % 3 ? [true] : [true, false]) {
      writeFileSync(file, whole);
      writeFileSync(sidecar, known);
      if (killed) rmSync(sidecar);
      flip(file, at);
      assert.ok([...verifyLog(path)].length > 0, `byte ${at} is found`);
      const opened = await Log.open(path);
      const found = await readable(opened);
      for (const [number, text] of found) assert.is(text, bodies[number], `byte ${at}`);
      assert.ok(found.size >= 3, `byte ${at}`);
      if (killed && at >= start) assert.is(opened.next, 3, `byte ${at}`);
      else assert.is(opened.next, 4, `byte ${at}`);
      assert.is((await opened.append(entry("new"))).number, opened.next - 1);
      assert.is((await opened.read(opened.next - 1)).body.toString(), "new");
      await opened.close();
      for (const name of readdirSync(path)) rmSync(join(path, name));
    }
  }
});

test("damage in a full segment is said with its path, its byte and its entries; the rest can be read", async () => {
  const bodies = Array.from({ length: 30 }, (_, i) => `entry ${i} `.repeat(5));
  const path = await made(bodies);
  const log = await Log.open(path, { segmentBytes: 400 });
  const { path: file, offset } = log.place(7);
  await log.close();
  flip(file, offset - 30); // in its header
  forgetSidecars(path);
  const opened = await Log.open(path, { segmentBytes: 400 });
  const { path: where, from, to, byte } = opened.damageFrom(0)!;
  assert.equal([where, from, to, byte], [file, 7, 8, offset - 48]);
  assert.is(opened.damageFrom(8), undefined);
  assert.throws(
    () => opened.place(7),
    (error: HallelujahError) => error.code === "log-damaged" && /entry 7/.test(error.message),
  );
  const found = await readable(opened);
  assert.is(found.size, 29);
  for (const [number, text] of found) assert.is(text, bodies[number]);
  assert.equal(
    [...verifyLog(path)].map((damage) => [damage.path, damage.from, damage.to]),
    [[file, 7, 8]],
  );
  await opened.close();
});

test("segments that are missing or became shorter are found, and their numbers are never given again", async () => {
  const bodies = Array.from({ length: 30 }, (_, i) => `entry ${i} `.repeat(5));
  const options = { segmentBytes: 400 };
  for (const which of [0, 2, -1]) {
    for (const harm of ["missing", "shorter"]) {
      const path = await made(bodies);
      const file = files(path, "seg").at(which)!;
      const first = Number(/(\d{16})\.seg$/.exec(file)![1]);
      if (harm === "missing") rmSync(file);
      else truncateSync(file, statSync(file).size - 10);
      const opened = await Log.open(path, options);
      assert.is(opened.next, 30, `${which} ${harm}`);
      const damage = opened.damageFrom(0)!;
      assert.ok(damage.to > first && (which === 0 || damage.from >= first), `${which} ${harm}`);
      if (which === 2) assert.is(opened.damageFrom(damage.to), undefined);
      const found = await readable(opened);
      for (const [number, text] of found) assert.is(text, bodies[number]);
      assert.is((await opened.append(entry("new"))).number, 30);
      await opened.close();
      const again = await Log.open(path, options);
      assert.is((await again.read(30)).body.toString(), "new");
      assert.is(again.next, 31);
      await again.close();
    }
  }
});

test("sidecars are made anew where they are missing, damaged, or of something else", async () => {
  const bodies = Array.from({ length: 30 }, (_, i) => `entry ${i} `.repeat(5));
  const seed = seedOf("sidecars");
  const chance = random(seed);
  const path = await made(bodies);
  const good = new Map(files(path, "idx").map((name) => [name, readFileSync(name)]));
  for (let round = 0; round < 200; round++) {
    const names = [...good.keys()];
    const name = names[Math.floor(chance() * names.length)];
    const bytes = Buffer.from(good.get(name)!);
    bytes[Math.floor(chance() * bytes.length)] ^= 1 << Math.floor(chance() * 8);
    const harm = Math.floor(chance() * 4);
    if (harm === 0) rmSync(name);
    else if (harm === 1) copyFileSync(names[Math.floor(chance() * names.length)], name);
    else writeFileSync(name, harm === 2 ? bytes.subarray(0, chance() * bytes.length) : bytes);
    const log = await Log.open(path, { segmentBytes: 400 });
    assert.equal(await texts(log), bodies);
    assert.is(log.damageFrom(0), undefined);
    await log.close();
  }
  for (const [name, bytes] of good)
    if (name !== [...good.keys()].at(-1)) assert.equal(readFileSync(name), bytes);
});

// --- disks that fail -----------------------------------------------------------------------------------------------

test("a full disk refuses an append, keeps nothing of it, and goes on when there is room", async () => {
  const path = folder();
  let full = false;
  const disk: Disk = {
    ...DISK,
    async writev(handle, buffers, position) {
      const bytes = Buffer.concat(buffers);
      const written = full ? bytes.subarray(0, 10) : bytes;
      await handle.write(written, 0, written.length, position);
      if (full) throw Object.assign(new Error("no space"), { code: "ENOSPC" });
    },
  };
  const log = await Log.open(path, { disk, segmentBytes: 300 });
  const kept: string[] = [];
  for (let i = 0; i < 20; i++) {
    full = i % 3 === 1;
    const refused = await code(() => log.append(entry(`entry ${i}`.repeat(10))));
    assert.is(refused, full ? "disk-full" : "none");
    if (!full) kept.push(`entry ${i}`.repeat(10));
    assert.equal(await texts(log), kept);
  }
  full = false;
  await log.close();
  assert.equal(await texts(await Log.open(path)), kept);
});

test("a disk that is really full refuses, loses nothing, and goes on when there is room", () => {
  const disk = folder();
  const script = join(packageRoot, "test", "store", "full-disk.ts");
  const inside = 'mount -t tmpfs -o size=3m none "$0" && exec "$@"';
  const command = [process.execPath, ...process.execArgv, script, disk];
  const args = ["-Urm", "sh", "-c", inside, disk, ...command];
  const permitted = spawnSync("unshare", ["-Urm", "sh", "-c", 'mount -t tmpfs none "$1"', "sh", disk]);
  if (permitted.status !== 0) return console.log("skipped: no file system can be mounted here");
  const { stdout, stderr } = spawnSync("unshare", args, {
    encoding: "utf8",
    cwd: packageRoot,
    timeout: 30_000,
  });
  const found = stdout ? (JSON.parse(stdout) as object) : stderr;
  assert.equal(found, { codes: Array(8).fill("disk-full"), same: true, damage: null });
});

test("what a failed sync was for is refused and cut off, and nothing more goes where it was", async () => {
  const path = folder();
  let fails = false;
  const disk: Disk = {
    ...DISK,
    async datasync(handle) {
      if (!fails) return handle.datasync();
      throw Object.assign(new Error("i/o error"), { code: "EIO" });
    },
  };
  const log = await Log.open(path, { disk });
  await log.append(entry("before"));
  const [file] = files(path, "seg");
  const { size } = statSync(file);
  fails = true;
  assert.is(await code(() => log.append(entry("refused"))), "log-unwritable");
  assert.is(await code(() => log.append(entry("refused, too"))), "log-unwritable");
  fails = false;
  assert.is((await log.append(entry("after"))).number, 1);
  assert.is(statSync(file).size, size);
  assert.is.not(log.place(1).path, file);
  assert.equal(await texts(log), ["before", "after"]);
  await log.close();
  forgetSidecars(path);
  // As if it could not be cut off.
  appendFileSync(file, readFileSync(files(path, "seg")[1]).subarray(32));
  const again = await Log.open(path);
  assert.equal(await texts(again), ["before", "after"]);
  assert.is(again.damageFrom(0), undefined);
});

test("a log that is synced later writes again what a failed sync may have lost", async () => {
  const path = folder();
  let fails = false;
  const written: number[] = [];
  const disk: Disk = {
    ...DISK,
    async writev(handle, buffers, position) {
      written.push(position);
      await DISK.writev(handle, buffers, position);
    },
    async datasync(handle) {
      if (!fails) return handle.datasync();
      throw Object.assign(new Error("i/o error"), { code: "EIO" });
    },
  };
  const log = await Log.open(path, { disk, durable: false });
  await log.append(entry("synced"));
  await log.sync();
  await log.append(entry("one"));
  await log.append(entry("two"));
  fails = true;
  assert.is(await code(() => log.sync()), "log-unwritable");
  await log.append(entry("three"));
  fails = false;
  written.length = 0;
  await log.sync();
  const starts = [1, 2, 3].map((number) => log.place(number).offset - 48);
  assert.equal(written, starts);
  written.length = 0;
  await log.sync();
  assert.equal(written, []);
  assert.equal(await texts(log), ["synced", "one", "two", "three"]);
  await log.close();
});

test("a segment's name is synced before an entry in it is answered for", async () => {
  const steps: string[] = [];
  const disk: Disk = {
    async writev(handle, buffers, position) {
      await DISK.writev(handle, buffers, position);
    },
    async datasync(handle) {
      await handle.datasync();
      steps.push("file");
    },
    async syncFolder(path) {
      await DISK.syncFolder(path);
      steps.push("folder");
    },
  };
  const log = await Log.open(folder(), { disk });
  await log.append(entry("a"));
  steps.push("answered");
  await log.append(entry("b"));
  assert.equal(steps, ["file", "folder", "file", "answered", "file"]);
  await log.close();
});

test("what was answered is there after its process was killed, at any moment, again and again", async () => {
  const seed = seedOf("killed");
  const chance = random(seed);
  const path = folder();
  const script = join(packageRoot, "test", "store", "append.ts");
  const answered = new Map<number, number>();
  for (let round = 0; round < 5; round++) {
    const child = spawn(process.execPath, [...process.execArgv, script, path], { cwd: packageRoot });
    let said = "";
    child.stderr.on("data", (chunk: Buffer) => (said += chunk));
    const wanted = answered.size + 20 + chance() * 300;
    let rest = "";
    child.stdout.on("data", (chunk: Buffer) => {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop()!;
      for (const line of lines) {
        const [number, producer] = line.split(" ").map(Number);
        assert.not(answered.has(number), "a number is given once");
        answered.set(number, producer);
      }
      if (answered.size >= wanted) child.kill("SIGKILL");
    });
    await new Promise((done) => child.once("close", done));
    assert.is(said, "");
    const tally = new Tally();
    const log = await Log.open(path, { digest: tally });
    assert.is(log.damageFrom(0), undefined);
    for (const [number, producer] of answered) {
      const { kind, body } = await log.read(number);
      assert.is(kind, producer);
      assert.is(body.toString().slice(0, 4), `${producer} 1 `);
    }
    const counted = [1, 2, 3, 4, 5].map((producer) => tally.framesOf(producer));
    assert.is(
      counted.reduce((sum, count) => sum + count, 0),
      log.next,
    );
  }
});

// --- what is known of trimmed entries ------------------------------------------------------------------------------

test("whole segments are forgotten below a number", async () => {
  const path = folder();
  const log = await Log.open(path, { segmentBytes: 100 });
  for (let i = 0; i < 20; i++) await log.append(entry(`entry ${i}`.repeat(8)));
  await log.trim(10);
  assert.ok(log.first > 5 && log.first <= 10);
  assert.is((await log.read(10)).body.toString(), "entry 10".repeat(8));
  assert.throws(() => log.place(log.first - 1));
  assert.is(log.damageFrom(log.first), undefined);
  assert.is(log.damageFrom(0)?.to, log.first);
  await log.close();
  assert.is(files(path, "idx").length, files(path, "seg").length);
});

test("no segment is removed before it is certain that those before it are gone, whoever removed them", async () => {
  const path = folder();
  /** Segments whose names a loss of power may bring back. */
  const unsynced = new Set<string>();
  let removed = 0;
  const watching: Files = {
    ...FILES,
    async unlink(file) {
      if (file.endsWith(".seg") && statSync(file, { throwIfNoEntry: false })) {
        assert.equal([...unsynced], [], `before ${file} is removed`);
        unsynced.add(file);
        removed++;
      }
      await FILES.unlink(file);
    },
  };
  const disk: Disk = {
    ...DISK,
    async syncFolder(name) {
      const before = [...unsynced];
      await DISK.syncFolder(name);
      for (const file of before) unsynced.delete(file);
    },
  };
  const options = { segmentBytes: 100, files: watching, disk };
  const log = await Log.open(path, options);
  for (let i = 0; i < 20; i++) await log.append(entry(`entry ${i}`.repeat(8)));
  await Promise.all([log.trim(4), log.trim(7), log.append(entry("one more".repeat(20))), log.trim(9)]);
  assert.is(unsynced.size, 1);
  // Its process is killed; the next one does not know what was removed, and what of it is certain.
  const next = await Log.open(path, options);
  await next.trim(13);
  assert.is(next.first, removed);
  assert.is(removed, 13);
  await next.close();
});

test("where a segment cannot be removed, none behind it is; it is tried again the next time", async () => {
  const path = folder();
  let refused: string | undefined;
  const refusing: Files = {
    ...FILES,
    unlink: (file) =>
      file === refused ? Promise.reject(Object.assign(new Error(file), { code: "EIO" })) : FILES.unlink(file),
  };
  const log = await Log.open(path, { segmentBytes: 100, files: refusing });
  for (let i = 0; i < 20; i++) await log.append(entry(`entry ${i}`.repeat(8)));
  refused = files(path, "seg")[5];
  assert.is(await code(() => log.trim(10)), "EIO");
  assert.is(await code(() => log.trim(10)), "EIO");
  assert.is(files(path, "seg")[0], refused);
  assert.is((await log.read(log.first)).body.toString(), "entry 5".repeat(8));
  // One that is gone already is as good as removed.
  refused = undefined;
  rmSync(files(path, "seg")[1]);
  await log.trim(10);
  assert.equal([log.first, files(path, "seg").length], [10, 10]);
  await log.close();
});

test("producers' numbers, counts of sources and rows taken in survive trimming, killing and closing", async () => {
  const seed = seedOf("tally");
  const chance = random(seed);
  const path = folder();
  const expected = new Map<string, number>();
  let tally = new Tally();
  let log = await Log.open(path, { segmentBytes: 500, digest: tally });
  for (let i = 0; i < 300; i++) {
    const producer = `producer ${Math.floor(chance() * 8)}`;
    const sequence = (expected.get(producer) ?? 0) + 1;
    expected.set(producer, sequence);
    const head = Buffer.from(JSON.stringify({ producers: [[producer, sequence]] }));
    await log.append({ kind: 3, head, body: [Buffer.from("x")], records: 0 });
    if (i % 10 === 0) {
      const rows = Buffer.from(JSON.stringify({ rows: i }));
      await log.append({ kind: 5, head: rows, body: [], records: 0 });
    }
    if (chance() < 0.1) await log.trim(log.next - Math.floor(chance() * 3));
    if (chance() > 0.1) continue;
    if (chance() < 0.5) await log.close();
    if (chance() < 0.5) forgetSidecars(path);
    tally = new Tally();
    log = await Log.open(path, { segmentBytes: 500, digest: tally });
    for (const [name, last] of expected) assert.is(tally.lastOf(name)?.sequence, last);
    assert.equal([tally.framesOf(3), tally.framesOf(5)], [i + 1, Math.floor(i / 10) + 1]);
    assert.is(tally.nextRowOf(5), i - (i % 10));
  }
  assert.ok(log.first > 200);
  await log.close();
});

test("a log whose first segment cannot tell what was before it says so", async () => {
  const path = folder();
  const log = await Log.open(path, { segmentBytes: 100, digest: new Tally() });
  for (let i = 0; i < 9; i++) await log.append(entry(`entry ${i}`.repeat(8)));
  await log.trim(9);
  const { first, next } = log;
  await log.close();
  forgetSidecars(path);
  const [file] = files(path, "seg");
  flip(file, 35); // in the digest
  const opened = await Log.open(path, { segmentBytes: 100, digest: new Tally() });
  assert.equal([opened.first, opened.next], [first, next]);
  assert.match(opened.damageFrom(next)?.why ?? "", /before/);
});

test("a policy says below which number a log may be trimmed, never beyond what is needed", () => {
  const extents: Extent[] = [0, 10, 20, 30].map((first, i) => ({
    first,
    next: first + 10,
    bytes: 100,
    lastAt: i * 1000,
  }));
  const below = (retain: string, bound: number, now = 10_000) =>
    trimmableBelow(parseRetain(retain), extents, bound, now);
  assert.equal([below("applied", 25), below("applied", 40), below("applied", 0)], [25, 40, 0]);
  assert.equal([below("all", 40), below("400b", 40), below("399b", 40)], [0, 0, 10]);
  assert.equal([below("100b", 40), below("100b", 25), below("0b", 40)], [30, 20, 40]);
  assert.equal([below("7s", 40), below("7s", 15), below("1h", 40)], [30, 10, 0]);
  fc.assert(
    fc.property(
      fc.constantFrom("applied", "all", "150b", "2s", "0s"),
      fc.nat(45),
      fc.nat(20_000),
      (retain, bound, now) => {
        const number = below(retain, bound, now);
        assert.ok(number >= 0 && number <= bound);
        const kept = extents.filter(({ next }) => next > number);
        const bytes = kept.reduce((sum, extent) => sum + extent.bytes, 0);
        if (retain === "150b") assert.ok(bytes <= 150 || kept[0].next > bound);
      },
    ),
    seeded(300),
  );
});

test("what is retained is said in words that are understood, or refused with a sentence", () => {
  const cases: [string, object][] = [
    ["applied", { kind: "applied" }],
    ["ALL", { kind: "all" }],
    ["10GB", { kind: "bytes", bytes: 10e9 }],
    ["1.5 gib", { kind: "bytes", bytes: 1.5 * 2 ** 30 }],
    ["7d", { kind: "age", ms: 7 * 86_400e3 }],
    ["90m", { kind: "age", ms: 90 * 60e3 }],
  ];
  for (const [text, retain] of cases) assert.equal(parseRetain(text), retain, text);
  for (const text of ["", "7", "7x", "-1d", "1e9gb", "GB", "1 000 mb", "99999999999tb", "forever"])
    assert.throws(
      () => parseRetain(text),
      (error: HallelujahError) => error.code === "retain-invalid" && /10GB/.test(error.message),
      text,
    );
});

// --- fuzz ----------------------------------------------------------------------------------------------------------

test("whatever the files hold, opening and reading end, with what was written or a damage", async () => {
  const seed = seedOf("fuzz");
  const chance = random(seed);
  const bodies = Array.from({ length: 40 }, (_, i) => (i % 5 ? `entry ${i} ` : "entr").repeat(i % 11));
  const path = await made(bodies, { digest: new Tally() });
  const good = new Map(readdirSync(path).map((name) => [name, readFileSync(join(path, name))]));
  const any = (below: number) => Math.floor(chance() * below);
  const end = Date.now() + 4_000;
  for (let round = 0; round < 3000 && Date.now() < end; round++) {
    for (const name of readdirSync(path)) rmSync(join(path, name));
    for (const [name, bytes] of good) writeFileSync(join(path, name), bytes);
    for (let changes = 1 + any(4); changes; changes--) {
      const names = readdirSync(path);
      const name = join(path, names[any(names.length)]);
      let bytes = Buffer.from(readFileSync(name));
      const at = any(bytes.length);
      switch (any(8)) {
        case 0:
          bytes = bytes.subarray(0, at);
          break;
        case 1:
          bytes.fill(any(256), at, Math.min(bytes.length, at + any(100)));
          break;
        case 2:
          bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(any(bytes.length))]);
          break;
        case 3:
          if (bytes.length >= at + 4) bytes.writeUInt32LE(0xffffffff - any(9), at);
          break;
        case 4:
          bytes = Buffer.from(Array.from({ length: any(300) }, () => any(256)));
          break;
        case 5:
          renameSync(
            name,
            join(
              path,
              `${String(any(10) ** any(17))
                .padStart(16, "0")
                .slice(0, 16)}.seg`,
            ),
          );
          continue;
        default:
          if (bytes.length) bytes[at] ^= 1 << any(8);
      }
      writeFileSync(name, bytes);
    }
    try {
      for (const { from, to, byte } of verifyLog(path)) assert.ok(from <= to && byte >= 0);
      const log = await Log.open(path, { segmentBytes: 400, digest: new Tally() });
      if (log.next > 1e6) continue; // a file has a name that says so
      for (const [number, text] of await readable(log)) assert.is(text, bodies[number], `round ${round}`);
      for (const { head } of log.heads(log.first, () => true)) assert.is(head, undefined);
      const { number } = await log.append(entry("new"));
      assert.is((await log.read(number)).body.toString(), "new");
      await log.close();
    } catch (error) {
      if (!(error instanceof HallelujahError)) throw error;
      assert.is(error.code, "log-version", `round ${round}: ${error.stack}`);
    }
  }
});

test("a sidecar of before entries were added is not believed where another cannot be written", async () => {
  const path = folder();
  const closed = await Log.open(path, { segmentBytes: 400 });
  await closed.append(entry("entry 0"));
  await closed.close();
  const full: Files = {
    ...FILES,
    writeFileSync: () => {
      throw new Error("no space left");
    },
  };
  const log = await Log.open(path, { segmentBytes: 400, files: full });
  const written = ["entry 0"];
  while (files(path, "seg").length < 8) {
    written.push(`entry ${written.length}`);
    await log.append(entry(written.at(-1)!));
  }
  assert.is(files(path, "idx").length, 1);
  // More segments than are kept in mind: places of the first ones are read again.
  for (let i = 0; i < 2; i++) assert.equal(await texts(log), written);
  await log.close();
});

test.run();
