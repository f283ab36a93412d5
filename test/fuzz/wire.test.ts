/** What processes of a host say to each other: batches, their sockets and requests, and the messages of channels. */
import { connect, type Socket } from "node:net";
import { Duplex } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { serialize } from "node:v8";
import * as fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { request } from "undici";
import { type Jah, type JahOwner, Jahs } from "../../host/hallelu/jahs.ts";
import { splittersOf } from "../../host/kernel/order.ts";
import { HttpPeers } from "../../host/shuffle/http-peers.ts";
import { BatchReader, Peers } from "../../host/shuffle/peers.ts";
import {
  BATCH_HEADER,
  type Batch,
  decodeBatch,
  decodeBatches,
  encodeBatch,
  PART_BYTES_MAX,
  partsOf,
  ROUTED,
  VOIDED,
} from "../../host/wire/batch.ts";
import { Channel, CHANNEL_PROTOCOL } from "../../host/wire/channel.ts";
import { cases, damage, noise, outcomeNow } from "./mutate.ts";

const test = suite("fuzz: host/wire, host/shuffle");
const SECRET = Buffer.from("0123456789abcdef");

const word = fc.nat(0xffffffff);
const head = fc.record({
  kind: fc.nat(2),
  frame: word,
  source: word,
  start: fc.double({ noNaN: true }),
  end: fc.double({ noNaN: true }),
  time: fc.double({ noNaN: true }),
  clock: word,
  routing: word,
  version: word,
});
const parts = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 4 });
const batch = fc.tuple(head, parts).map(([fields, payload]) => encodeBatch(fields, payload));

/** That a batch is what its picture says, whatever it was made of. */
function checkBatch({ kind, time, payload }: Batch): void {
  assert.ok(kind <= VOIDED && !Number.isNaN(time));
  const list = [...partsOf(payload)];
  assert.is(
    list.reduce((sum, part) => sum + 8 + part.length, 0),
    payload.length,
  );
  if (kind === VOIDED) assert.is(list[0].length, 256);
  for (const part of list) assert.ok(part.length <= PART_BYTES_MAX);
}

test("a batch is read as it was written", () => {
  fc.assert(
    fc.property(head, parts, (fields, payload) => {
      const { payload: found, ...rest } = decodeBatch(encodeBatch(fields, payload));
      assert.equal(rest, { ...fields });
      assert.equal(
        [...partsOf(found)].map((part) => [...part]),
        payload.map((part) => [...part]),
      );
    }),
    cases(500),
  );
});

test("batches that were changed are batches, or are refused", () => {
  fc.assert(
    fc.property(fc.array(batch, { maxLength: 4 }), damage, noise, (list, change, odd) => {
      const bytes = Buffer.concat(list);
      assert.is(decodeBatches(bytes).length, list.length);
      for (const changed of [change(bytes), odd]) {
        const { value, error } = outcomeNow(() => decodeBatches(changed));
        if (error) assert.is(error.code, "batch-invalid");
        else value!.forEach(checkBatch);
      }
    }),
    cases(1500),
  );
});

test("a batch that was set aside names its partitions; a time that is no number is none", () => {
  const fields = { kind: VOIDED, frame: 1, source: 0, start: 0, end: 0, time: 0, clock: 0 };
  for (const wrong of [
    encodeBatch(fields, []),
    encodeBatch(fields, [new Uint8Array(255)]),
    encodeBatch(fields, [new Uint8Array(70_000)]),
    encodeBatch({ ...fields, kind: ROUTED, time: Number.NaN }, []),
  ])
    assert.is(outcomeNow(() => decodeBatch(wrong)).error?.code, "batch-invalid");
  checkBatch(decodeBatch(encodeBatch(fields, [new Uint8Array(256)])));
});

/** Chunks of any sizes. */
function chunksOf(bytes: Buffer, sizes: number[]): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = 1 + (sizes[i % Math.max(1, sizes.length)] ?? bytes.length);
    chunks.push(bytes.subarray(at, at + size));
    at += size;
  }
  return chunks;
}

test("a socket's batches are the same however its bytes are cut; nobody is read without the secret", () => {
  fc.assert(
    fc.property(fc.array(batch, { maxLength: 4 }), fc.array(fc.nat(60)), damage, (list, sizes, change) => {
      const all = Buffer.concat([SECRET, ...list]);
      const read = (bytes: Buffer) => {
        const reader = new BatchReader(SECRET);
        const found = chunksOf(bytes, sizes).flatMap((chunk) => [...reader.read(chunk)]);
        return { found, reader };
      };
      assert.equal(
        read(all).found.map(({ frame }) => frame),
        list.map((each) => each.readUInt32LE(8)),
      );
      const changed = change(all);
      const { value, error } = outcomeNow(() => read(changed));
      if (error) return assert.is(error.code, "batch-invalid");
      value!.found.forEach(checkBatch);
      const isTrusted = changed.subarray(0, SECRET.length).equals(SECRET);
      if (!isTrusted) assert.is(value!.found.length, 0);
      assert.is(value!.reader.refused, !isTrusted && changed.length >= SECRET.length);
    }),
    cases(500),
  );
});

test("sockets of strangers, and batches that cannot be read, harm no Jah", async () => {
  const failures: string[] = [];
  const peers = new Peers(
    { jah: 0, jahs: 2, secret: SECRET },
    () => {},
    (error) => failures.push((error as { code?: string }).code ?? String(error)),
  );
  const got: number[] = [];
  const port = await peers.listen(({ frame }) => got.push(frame) > 0);
  const send = async (bytes: Uint8Array) => {
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => {});
    socket.end(bytes);
    await new Promise((done) => socket.once("close", done).resume());
  };
  const fields = { kind: ROUTED, frame: 7, source: 0, start: 0, end: 0, time: 0, clock: 0 };
  const good = Buffer.concat([SECRET, encodeBatch(fields, [Buffer.from("entries")])]);
  await send(Buffer.from("GET / HTTP/1.1\r\n\r\n"));
  await send(Buffer.alloc(1000));
  assert.equal([failures, got], [[], []]);
  await send(
    Buffer.concat([SECRET, Buffer.alloc(BATCH_HEADER, 0xee)]).fill(0, SECRET.length, SECRET.length + 4),
  );
  assert.equal([failures, got], [["batch-invalid"], []]);
  await send(good);
  assert.equal(got, [7]);
  (peers as unknown as { server: { close(): void } }).server.close();
});

test("a request between Jahs is taken as a whole or not at all, and comes again then", async () => {
  const got: number[] = [];
  const peers = new HttpPeers(
    1,
    SECRET.toString(),
    ({ frame }) => got.push(frame) > 0,
    () => {},
  );
  const port = await peers.listen();
  const post = async (body: Uint8Array, headers: Record<string, string> = {}) => {
    const { statusCode, body: answer } = await request(`http://127.0.0.1:${port}/batches`, {
      method: "POST",
      headers: {
        "hallelujah-secret": SECRET.toString(),
        "hallelujah-jah": "2",
        "hallelujah-sequence": "1",
        ...headers,
      },
      body,
    });
    await answer.dump();
    return statusCode;
  };
  const batchOf = (frame: number) =>
    encodeBatch({ kind: ROUTED, frame, source: 0, start: 0, end: 0, time: 0, clock: 0 }, [
      Buffer.from("entries"),
    ]);
  const two = Buffer.concat([batchOf(1), batchOf(2)]);
  assert.is(await post(two, { "hallelujah-secret": "x" }), 403);
  for (const sequence of ["", "x", "-1", "1.5", "1e99", "NaN"])
    assert.is(await post(two, { "hallelujah-sequence": sequence || "none" }), 400, sequence);
  assert.is(await post(two, { "hallelujah-jah": "x" }), 400);
  for (const cut of [1, 10, BATCH_HEADER, two.length - 1])
    assert.is(await post(two.subarray(0, cut)), 400, `${cut}`);
  assert.equal(got, []);
  // It was not taken, so that it is when it comes again.
  assert.is(await post(two), 200);
  assert.is(await post(two), 200);
  assert.equal(got, [1, 2]);
  let sequence = 1;
  await fc.assert(
    fc.asyncProperty(damage, async (change) => {
      got.length = 0;
      const changed = change(two);
      const isGood = outcomeNow(() => decodeBatches(changed)).value;
      const status = await post(changed, { "hallelujah-sequence": String(++sequence) });
      assert.is(status, isGood ? 200 : 400);
      assert.is(got.length, isGood?.length ?? 0);
    }),
    cases(100),
  );
  peers.close();
});

test("a message that cannot be read closes its channel, and nothing behind it is heard", async () => {
  const message = fc.oneof(fc.jsonValue(), fc.uint8Array());
  const framed = (value: unknown) => {
    const body = serialize(value);
    const bytes = Buffer.alloc(4 + body.length);
    bytes.writeUInt32LE(body.length, 0);
    body.copy(bytes, 4);
    return bytes;
  };
  await fc.assert(
    fc.asyncProperty(
      fc.array(message, { minLength: 1, maxLength: 4 }),
      fc.array(fc.nat(60)),
      fc.option(damage),
      async (messages, sizes, change) => {
        const socket = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() });
        const heard: unknown[] = [];
        let closed = 0;
        const channel = new Channel<unknown, unknown>(
          socket,
          (value) => heard.push(value),
          () => closed++,
        );
        channel.start(Buffer.alloc(0));
        const bytes = Buffer.concat(messages.map(framed));
        const changed = change?.(bytes) ?? bytes;
        for (const chunk of chunksOf(changed, sizes)) socket.push(chunk);
        await sleep(0);
        await sleep(0);
        if (changed.equals(bytes)) assert.is(JSON.stringify(heard), JSON.stringify(messages));
        assert.ok(!closed || socket.destroyed);
        socket.destroy();
        await sleep(0);
        assert.is(closed, 1);
      },
    ),
    cases(200),
  );
  const socket = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() });
  const heard: unknown[] = [];
  const channel = new Channel<unknown, unknown>(
    socket,
    (value) => heard.push(value),
    () => heard.push("closed"),
  );
  channel.start(Buffer.concat([framed(1), Buffer.from([3, 0, 0, 0, 1, 2, 3]), framed(2)]));
  socket.push(framed(3));
  await new Promise((done) => (socket as unknown as Socket).once("close", done));
  assert.equal(heard, [1, "closed"]);
});

test("who calls a Hallelu as a Jah without being one is refused, and may be gone at any moment", async () => {
  const jahs = new Jahs(() => {}, SECRET.toString(), 1);
  const attached: number[] = [];
  const owner = { name: "s", startOf: (jah: Jah) => void attached.push(jah.id), lost: () => {} };
  const jah = jahs.claim(owner as unknown as JahOwner, "persistent", true);
  const port = await jahs.listen();
  const greeting = (path: string, secret: string, protocol = CHANNEL_PROTOCOL) =>
    Buffer.from(
      `GET ${path} HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: ${protocol}\r\nhallelujah-secret: ${secret}\r\n\r\n`,
    );
  const call = (bytes: Uint8Array, leave: boolean) =>
    new Promise<string>((done) => {
      const socket = connect(port, "127.0.0.1");
      let text = "";
      socket.on("data", (chunk) => {
        text += chunk.toString("latin1");
        if (text.includes("\r\n\r\n")) socket.destroy(); // a channel stays open
      });
      socket.on("error", () => {});
      socket.on("close", () => done(text));
      if (leave) socket.write(bytes, () => socket.resetAndDestroy());
      else socket.end(bytes);
    });
  const good = greeting(`/jahs/${jah.id}`, SECRET.toString());
  for (const wrong of [
    greeting(`/jahs/${jah.id}`, "x".repeat(SECRET.length)),
    greeting(`/jahs/${jah.id}`, ""),
    greeting("/jahs/2", SECRET.toString()),
    greeting(`/jahs/${jah.id}`, SECRET.toString(), "websocket"),
  ]) {
    assert.match(await call(wrong, false), /^HTTP\/1.1 403/);
    await call(wrong, true);
  }
  await fc.assert(
    fc.asyncProperty(damage, fc.boolean(), async (change, leave) => {
      const changed = change(good.subarray(0, good.indexOf(SECRET) + SECRET.length - 1));
      await call(Buffer.concat([changed, Buffer.from("\r\n\r\n")]), leave);
    }),
    cases(150),
  );
  await sleep(20);
  assert.equal(attached, []);
  const text = await call(good, false);
  assert.match(text, /^HTTP\/1.1 101/);
  assert.equal(attached, [jah.id]);
  jahs.close();
});

test("sampled keys of a Jah: borders that fit its window, or an error", () => {
  const order = { column: -1, descending: false };
  const sampled = (keys: Uint8Array[]) =>
    Buffer.concat(
      keys.map((key) => {
        const bytes = Buffer.alloc(16 + Math.ceil(key.length / 8) * 8);
        bytes.writeUInt32LE(key.length, 8);
        bytes.set(key, 16);
        return bytes;
      }),
    );
  fc.assert(
    fc.property(parts, damage, noise, (keys, change, odd) => {
      const bytes = sampled(keys);
      assert.is(splittersOf([bytes], 3, order).length, keys.length ? 2 : 0);
      for (const changed of [change(bytes), odd]) {
        const { error } = outcomeNow(() => splittersOf([bytes, changed], 3, order));
        if (error) assert.is(error.code, "samples-invalid");
      }
    }),
    cases(500),
  );
  // Keys of a MiB: all borders together must be less than the window, or they would lie over what is behind it.
  const long = sampled(Array.from({ length: 30 }, (_, i) => new Uint8Array(1 << 20).fill(i)));
  const splitters = splittersOf([long, long], 4096, order);
  assert.ok(splitters.reduce((sum, { length }) => sum + length, 0) < 31 << 20);
  assert.equal(new Set(splitters.map((bytes) => bytes[16])).size, 30);
});

test.run();
