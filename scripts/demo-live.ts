/** The demo, live: a host of its own, a stream over three million real flights, and the answer as it grows. */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "../host/client/live.ts";
import { renderTables } from "../host/cli/table.ts";

const SOURCE = join(process.cwd(), "node_modules/vega-datasets/data/flights-3m.parquet");
const data = mkdtempSync(join(tmpdir(), "hallelujah-demo-"));
const up = spawn(process.execPath, ["dist/cli/main.js", "up", "--listen", "127.0.0.1:0", "--data", data], {
  stdio: ["ignore", "pipe", "inherit"],
});
const ended = new Promise<void>((done) => up.once("exit", () => done()));
const url = await new Promise<string>((done) => {
  up.stdout.on("data", (chunk: Buffer) => {
    const found = /is up at (\S+)/.exec(chunk.toString());
    if (found) done(found[1]);
  });
});
try {
  const host = connect({ url });
  const startedAt = performance.now();
  await host.deploy("flights", {
    kernel: readFileSync("examples/flights.ts", "utf8"),
    file: "flights.ts",
    source: SOURCE,
  });
  let last = -1;
  for (;;) {
    const { records, jahs, frame, frames, backlog } = await host.stream("flights");
    if (records !== last) {
      const seconds = ((performance.now() - startedAt) / 1000).toFixed(2);
      process.stdout.write(`${seconds} s: ${records.toLocaleString("en")} flights, ${jahs} Jahs\n`);
    }
    last = records;
    if (frames > 0 && frame === frames && backlog.bytes === 0) break;
    await sleep(100);
  }
  const search = new URLSearchParams({ order: "-delay.mean", limit: "10" });
  const chunks: Uint8Array[] = [];
  for await (const chunk of host.tableBytes("flights", "origins", search, "application/x-ndjson"))
    chunks.push(chunk);
  process.stdout.write(`\n${renderTables(Buffer.concat(chunks), process.stdout.columns)}`);
} finally {
  up.kill("SIGTERM");
  await ended;
  rmSync(data, { recursive: true, force: true });
}
