/** What a stream reads over HTTP: redirects, compressed bodies, servers that refuse or break off, and hosts that start again. */
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { packageRoot } from "../../host/core/package-root.ts";
import { HallelujahError } from "../../host/core/errors.ts";
import { scratch, write } from "../run.ts";
import { KEYS, s3Env, startS3 } from "../s3.ts";
import { startHost, type TestHost, until } from "./host.ts";

const test = suite("sources over HTTP");

const kernel = readFileSync(join(packageRoot, "examples", "stations.ts"), "utf8");
const RECORDS = 200_000;
const body = Buffer.from(
  Array.from({ length: RECORDS }, (_, i) => `{"station":"s${i % 40}","temperature":${i % 50}}\n`).join(""),
);

const hosts: TestHost[] = [];

async function opened(data?: string): Promise<TestHost> {
  const host = await startHost({ cpus: 2, ...(data === undefined ? undefined : { data }) });
  hosts.push(host);
  return host;
}

test.after.each(async () => {
  await Promise.all(hosts.splice(0).map((host) => host.stop()));
});

interface Row {
  temperature: { count: number };
}

/** Waits until the answer holds so many records; one that counts too many never does. */
async function counted({ client }: TestHost, records: number): Promise<void> {
  for (let tries = 0; tries < 300; tries++) {
    const rows = await (await client.query<Row>("weather", "stations")).all();
    const sum = rows.reduce((all, { temperature }) => all + temperature.count, 0);
    if (sum === records) return;
    assert.ok(sum < records, `${sum} records`);
    await sleep(100);
  }
  assert.unreachable(`never ${records} records`);
}

/** A server on this machine alone, for as long as `use` takes. */
async function served(listener: RequestListener, use: (url: string) => Promise<void>): Promise<void> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

test("a redirect is followed, a compressed file is read as one on disk would be", async () => {
  const host = await opened();
  await served(
    (request, response) => {
      if (request.url === "/old") response.writeHead(302, { location: "/new.ndjson.gz" }).end();
      else response.writeHead(200, { "content-type": "application/gzip" }).end(gzipSync(body));
    },
    async (url) => {
      await host.client.deploy("weather", { kernel, source: `${url}/old` });
      await until(host.client, "weather", ({ records }) => records === RECORDS);
      const rows = await (await host.client.query<Row>("weather", "stations")).all();
      assert.is(rows.length, 40);
      assert.ok(rows.every(({ temperature }) => temperature.count === RECORDS / 40));
    },
  );
});

test("a server that refuses is named with its answer, and the rest of the host goes on", async () => {
  const host = await opened();
  await served(
    (_, response) => response.writeHead(404).end("no"),
    async (url) => {
      const sources: [source: string, code: string, words: RegExp][] = [
        [`${url}/none.ndjson`, "source-unreadable", /none\.ndjson cannot be read: the server answered 404/],
        ["http://127.0.0.1:1/a.csv", "source-unreadable", /a\.csv cannot be read/],
        ["ftp://127.0.0.1/a.csv", "source-unreadable", /http\(s\)/],
        [join(scratch(), "none.csv"), "input-missing", /there is no file .*none\.csv/],
        [join(scratch(), "none*.csv"), "input-missing", /no file matches/],
        [write("other.csv", "city,rain\nOslo,3\n"), "field-missing", /has no "station"/],
      ];
      for (const [source, code, words] of sources) {
        const error = (await host.client.deploy("weather", { kernel, source }).then(
          () => assert.unreachable(source),
          (refused: HallelujahError) => refused,
        )) as HallelujahError;
        assert.is(error.code, code, error.message);
        assert.match(error.message, words);
        assert.equal(await host.client.streams(), [], "nothing is left behind");
      }
      await host.client.deploy("weather", { kernel });
      await host.client.push("weather", '{"station":"a","temperature":1}\n');
      await until(host.client, "weather", ({ records }) => records === 1);
    },
  );
});

test("a body that breaks off is said so; the next start reads it again, and no record counts twice", async () => {
  let asked = 0;
  const data = join(scratch(), "broken-off");
  const first = await opened(data);
  await served(
    (_, response) => {
      response.writeHead(200, { "content-type": "application/x-ndjson", "content-length": body.length });
      if (++asked > 1) return response.end(body);
      response.write(body.subarray(0, body.length >> 1), () => setTimeout(() => response.destroy(), 500));
    },
    async (url) => {
      await first.client.deploy("weather", { kernel, source: `${url}/weather.ndjson` });
      await until(first.client, "weather", ({ error }) => error !== undefined);
      const { error, records } = await first.client.stream("weather");
      assert.match(error!, /weather\.ndjson/);
      assert.ok(records < RECORDS);
      first.process.kill("SIGKILL");
      const second = await opened(data);
      await counted(second, RECORDS);
      await until(second.client, "weather", ({ records }) => records === RECORDS);
      const rows = await (await second.client.query<Row>("weather", "stations")).all();
      assert.ok(rows.every(({ temperature }) => temperature.count === RECORDS / 40));
      // Read to its end: a third start asks for nothing.
      const before = asked;
      second.process.kill("SIGKILL");
      const third = await opened(data);
      await third.client.push("weather", '{"station":"a","temperature":1}\n');
      await counted(third, RECORDS + 1);
      await until(third.client, "weather", ({ records }) => records === RECORDS + 1);
      assert.is(asked, before);
    },
  );
});

test("the objects of an S3 prefix are read in the order of their keys, each once, and no credential is kept", async () => {
  const s3 = await startS3();
  try {
    const half = body.indexOf("\n", body.length >> 1) + 1;
    s3.objects.set("weather/in/1.ndjson", body.subarray(0, half));
    s3.objects.set("weather/in/2.ndjson.gz", gzipSync(body.subarray(half)));
    s3.objects.set("weather/in/3.parquet", Buffer.from("PAR1 and so on"));
    const data = join(scratch(), "from-s3");
    const env = { ...s3Env(s3), AWS_REGION: "us-east-1" };
    const host = await startHost({ cpus: 2, data, env });
    hosts.push(host);
    const { client } = host;
    await client.deploy("weather", { kernel, source: "s3://weather/in/*.ndjson*" });
    await until(client, "weather", ({ records }) => records === RECORDS);
    const rows = await (await client.query<Row>("weather", "stations")).all();
    assert.ok(rows.every(({ temperature }) => temperature.count === RECORDS / 40));
    for (const [source, words] of [
      ["s3://weather/in/none.csv", /there is no such object/],
      ["s3://weather/in/3.parquet", /parquet is read from files of the host/],
    ] as const) {
      const error = await client.deploy("other", { kernel, source }).then(
        () => assert.unreachable(source),
        (refused: HallelujahError) => refused,
      );
      assert.match((error as HallelujahError).message, words);
    }
    await host.stop();
    const kept = spawnSync("grep", ["-rlaF", KEYS.secret, data], { encoding: "utf8" });
    assert.equal([kept.status, kept.stdout], [1, ""]);
    assert.not.match(host.log(), KEYS.secret);
  } finally {
    s3.close();
  }
});

test.run();
