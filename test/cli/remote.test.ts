/** `hallelujah run` over inputs of servers: the rows are those of the same bytes as files, and nothing stays behind. */
import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { DuckDBInstance } from "@duckdb/node-api";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { packageRoot } from "../../host/core/package-root.ts";
import { cli, scratch, write } from "../run.ts";
import { KEYS, s3Env, type S3Server, startS3 } from "../s3.ts";

const test = suite("host/cli: run over inputs of servers");

const kernel = join(packageRoot, "examples", "stations.ts");
const RECORDS = 60_000;
const csv = `station,temperature\n${Array.from({ length: RECORDS }, (_, i) => `s${i % 40},${i % 50}.5\n`).join("")}`;
const temporary = join(scratch(), "temporary");
mkdirSync(temporary);

let s3: S3Server;
test.before(async () => {
  s3 = await startS3();
});
test.after(() => s3.close());

const run = (inputs: string[], env: Record<string, string> = {}) =>
  cli(["run", kernel, ...inputs], {
    env: { ...s3Env(s3), TMPDIR: temporary, AWS_SHARED_CREDENTIALS_FILE: "", ...env },
  });

test("CSV, NDJSON, gzip and Parquet of a bucket give the rows of the same files", async () => {
  const path = write("readings.csv", csv);
  const parquet = join(scratch(), "readings.parquet");
  const duck = await (await DuckDBInstance.create(":memory:")).connect();
  await duck.run(`COPY (SELECT * FROM '${path}') TO '${parquet}' (FORMAT parquet, ROW_GROUP_SIZE 20000)`);
  const ndjson = csv
    .split("\n")
    .slice(1, -1)
    .map((line) => `{"station":"${line.split(",")[0]}","temperature":${line.split(",")[1]}}\n`);
  const objects: [key: string, body: Buffer][] = [
    ["1.csv", Buffer.from(csv)],
    ["2.csv.gz", gzipSync(csv)],
    ["3.parquet", readFileSync(parquet)],
    ["4.ndjson", Buffer.from(ndjson.join(""))],
    ["named as nothing", readFileSync(parquet)],
  ];
  for (const [key, body] of objects) s3.objects.set(`weather/in/${key}`, body);
  const wanted = await run([path]);
  assert.is(wanted.code, 0, wanted.stderr);
  for (const [key] of objects) assert.equal(await run([`s3://weather/in/${key}`]), wanted, key);
  const all = await run(["s3://weather/in/"]);
  assert.equal(all, await run([path, path, parquet, path]));
  assert.match(all.stdout, `"count":${(RECORDS / 40) * 4}`);
  assert.equal(readdirSync(temporary), []);
});

test("a query finds the columns of an object, and is told where it cannot", async () => {
  s3.objects.set("weather/query.csv", Buffer.from(csv));
  s3.objects.set("weather/query.parquet", Buffer.from("PAR1"));
  const env = { env: s3Env(s3) };
  const query = "SELECT count(*) AS n FROM data";
  const { stdout } = await cli(["run", "--sql", query, "s3://weather/query.csv"], env);
  assert.is(stdout, `{"n":${RECORDS}}\n`);
  const { code, stderr } = await cli(["run", "--sql", query, "s3://weather/query.parquet"], env);
  assert.is(code, 1);
  assert.match(stderr, /columns of parquet are found in files/);
});

test("what goes wrong is one sentence without credentials, and nothing stays", async () => {
  s3.objects.set("weather/broken.parquet", Buffer.from("PAR1 and then nothing"));
  const failures: [input: string, words: RegExp, env?: Record<string, string>][] = [
    ["s3://weather/none.csv", /there is no such object/],
    ["s3://weather/none/", /no data files/],
    ["s3://weather/broken.parquet", /s3:\/\/weather\/broken\.parquet: it does not end with "PAR1"/],
    ["s3://weather/in/1.csv", /the signature does not match/, { AWS_SECRET_ACCESS_KEY: "not-the-secret" }],
    ["s3:///", /an s3:\/\/ URL is/],
  ];
  for (const [input, words, env] of failures) {
    const { code, stdout, stderr } = await run([input], env);
    assert.equal([code, stdout], [input === "s3:///" ? 2 : 1, ""], stderr);
    assert.match(stderr, words);
    assert.not.match(stderr, /not-the-secret/);
    assert.not.match(stderr, KEYS.secret);
    assert.is(stderr.trim().split("\n").length, 1, stderr);
  }
  assert.equal(readdirSync(temporary), []);
});

async function served(listener: RequestListener, use: (host: string) => Promise<void>): Promise<void> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    await use(`127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

test("an http URL is read, with credentials that no other server gets and no message shows", async () => {
  const wanted = await run([write("readings.csv", csv)]);
  const seen: (string | undefined)[] = [];
  await served(
    ({ headers }, response) => {
      seen.push(headers.authorization);
      response.end(csv);
    },
    async (other) => {
      await served(
        ({ url, headers }, response) => {
          if (headers.authorization !== `Basic ${btoa("user:pa ss")}`) response.writeHead(401).end();
          else if (url === "/away.csv?token=t0ken")
            response.writeHead(302, { location: `http://${other}/` }).end();
          else if (url === "/readings.csv?token=t0ken") response.end(csv);
          else response.writeHead(404).end("no");
        },
        async (host) => {
          const at = (path: string) => `http://user:pa%20ss@${host}/${path}?token=t0ken`;
          assert.equal(await run([at("readings.csv")]), wanted);
          assert.equal(await run([at("away.csv")]), wanted);
          const { code, stderr } = await run([at("none.csv")]);
          assert.is(code, 1);
          assert.match(stderr, `http://${host}/none.csv cannot be read: the server answered 404`);
          assert.not.match(stderr, /pa.*ss|t0ken/);
        },
      );
    },
  );
  assert.equal([...new Set(seen)], [undefined]);
});

test.run();
