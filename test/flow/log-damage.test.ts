import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Log } from "../../host/store/log.ts";
import { verifyLog } from "../../host/store/verify.ts";
import { startHost, type TestHost, until } from "./host.ts";

const test = suite("flow/log-damage");
const kernel = readFileSync("examples/stations.ts", "utf8");
const body = (i: number) => `{"station":"s${i}","temperature":${i}}\n`;

async function stations(host: TestHost, stream: string): Promise<number> {
  return (await (await host.client.query(stream, "stations")).all()).length;
}

const logOf = (data: string, stream: string) => join(data, "streams", stream, "log");

/** Changes a bit of a frame's body, in a log that nobody has open. */
async function damage(data: string, stream: string, frame: number): Promise<void> {
  const folder = logOf(data, stream);
  const log = await Log.open(folder);
  const { path, offset } = log.place(frame);
  await log.close();
  const bytes = readFileSync(path);
  bytes[offset + 5] ^= 1;
  writeFileSync(path, bytes);
  assert.equal(
    [...verifyLog(folder)].map(({ from, to }) => [from, to]),
    [[frame, frame + 1]],
  );
}

test("a bit that flips in a log stops the stream that needs the frame, and none else", async () => {
  const data = mkdtempSync(join(tmpdir(), "hallelujah-damage-"));
  let host = await startHost({ data, cpus: 4 }); // one for each, as they may all count as busy
  for (const name of ["whole", "history", "needed", "open"]) {
    await host.client.deploy(name, { kernel, retain: "all" });
    if (name === "needed" || name === "open") await host.client.change(name, { paused: true });
    for (let i = 0; i < 5; i++) await host.client.push(name, body(i));
    if (name === "whole" || name === "history")
      await until(host.client, name, ({ frame, frames }) => frame === frames);
  }
  assert.is(await host.stop(), 0);
  await damage(data, "history", 2);
  await damage(data, "needed", 2);
  await damage(data, "open", 2);
  // As if the host had been killed: the log is read through when it is opened.
  for (const name of readdirSync(logOf(data, "open")))
    if (name.endsWith(".idx")) rmSync(join(logOf(data, "open"), name));

  host = await startHost({ data, cpus: 4 });
  try {
    const { client } = host;
    assert.match(
      (await client.stream("open")).error ?? "",
      /^log-damaged: .*\.seg is damaged at byte \d+.*entry 2$/,
    );
    await client.change("needed", { paused: false });
    const { error } = await until(client, "needed", ({ state }) => state === "failed");
    assert.match(
      error ?? "",
      /^log-damaged: frame 2 cannot be read from the log: .*\.seg is damaged at byte \d+/,
    );
    for (const name of ["whole", "history"]) {
      await client.push(name, body(5));
      assert.is(await stations(host, name), 6, name);
    }
    assert.is((await client.stream("needed")).deadLetters, 0);
  } finally {
    await host.stop();
    rmSync(data, { recursive: true, force: true });
  }
});

test.run();
