/** Reads all that is in the RocksDB of a folder, through the same binding as a store does, and says how long that took, ms. */
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";

const require = createRequire(import.meta.url);
const [, , folder] = process.argv;
const options = { highWaterMark: 4 << 20, highWaterMarkBytes: 4 << 20, fillCache: false };
let bytes = 0;

if (Number(process.versions.node.split(".")[0]) >= 22) {
  const { RocksLevel } = require("@nxtedition/rocksdb");
  const db = new RocksLevel(folder, { keyEncoding: "buffer", valueEncoding: "buffer" });
  const open = () => db.open({ compression: false, walCompression: false, cacheSize: 0 });
  while (await open().catch((error) => error)) await sleep(100);
  const startedAt = performance.now();
  const iterator = db.iterator({ gte: Buffer.of(0), ...options });
  for (;;) {
    const rows = await iterator.nextv(1000);
    if (!rows.length) break;
    for (const [, value] of rows) bytes += value.length;
  }
  done(startedAt);
} else {
  const db = require("rocksdb")(folder);
  const open = () => new Promise((opened) => db.open({ compression: false, cacheSize: 0 }, opened));
  // Whoever had it open may be about to close it.
  while (await open()) await sleep(100);
  const startedAt = performance.now();
  const iterator = db.iterator(options);
  const next = () =>
    iterator.next((_, key, value) => {
      if (!key) return done(startedAt);
      bytes += value.length;
      next();
    });
  next();
}

function done(startedAt) {
  process.send({ bytes, ms: performance.now() - startedAt }, () => process.exit(0));
}
