/** Objects of S3 as inputs: signatures, lists, parts, and servers that fail or lie. */
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { gzipSync } from "node:zlib";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { HallelujahError } from "../../host/core/errors.ts";
import { HEAD_BYTES } from "../../host/core/limits.ts";
import { findFiles } from "../../host/input/discover.ts";
import { s3ConfigOf } from "../../host/input/s3-config.ts";
import { encoded, signed } from "../../host/input/s3-signing.ts";
import { ByteStream } from "../../host/input/stream.ts";
import { etagOf, KEYS, listed, refuse, s3Env, type S3Server, startS3 } from "../s3.ts";
import { scratch } from "../run.ts";

const test = suite("host/input/s3");
let T = 0;
test.before.each(() => {
  T = performance.now();
});
test.after.each((c) => {
  console.log(c.__test__, performance.now() - T);
});

let s3: S3Server;
const before = { ...process.env };

test.before.each(async () => {
  s3 = await startS3();
  for (const name of Object.keys(process.env)) if (name.startsWith("AWS_")) delete process.env[name];
  // No profile of whoever runs this.
  Object.assign(process.env, s3Env(s3), { AWS_SHARED_CREDENTIALS_FILE: join(scratch(), "none") });
});
test.after.each(() => s3.close());
test.after(() => {
  for (const name of Object.keys(process.env)) if (name.startsWith("AWS_")) delete process.env[name];
  Object.assign(process.env, before);
});

async function read(url: string): Promise<Buffer> {
  const stream = await ByteStream.open(url, Readable.from([]));
  const chunks: Buffer[] = [await stream.head()];
  await stream.next();
  for (let chunk = await stream.next(); chunk; chunk = await stream.next()) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** What the reading of an input, or the listing of one, is refused with. */
async function refused(work: Promise<unknown>): Promise<HallelujahError> {
  const error = await work.then(
    () => assert.unreachable("it was read"),
    (why: unknown) => why,
  );
  assert.instance(error, HallelujahError, String(error));
  const { message } = error as HallelujahError;
  assert.not.match(message, KEYS.id);
  assert.not.match(message, KEYS.secret);
  assert.not.match(message, "\n");
  return error as HallelujahError;
}

const keysOf = async (url: string) => (await findFiles([url])).map(({ path }) => path);
const LARGE = Buffer.alloc(3 * HEAD_BYTES + 17, "a line of the object\n");

// docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
const EXAMPLE = {
  accessKeyId: "AKIAIOSFODNN7EXAMPLE",
  secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
};

test("the examples that AWS publishes are signed as it says", () => {
  const host = "examplebucket.s3.amazonaws.com";
  const at = new Date("2013-05-24T00:00:00Z");
  const sign = (path: string, query: Record<string, string>, headers: Record<string, string> = {}) =>
    signed({ path, query, headers: { host, ...headers } }, EXAMPLE, "us-east-1", at).authorization;
  assert.is(
    sign("/test.txt", {}, { range: "bytes=0-9" }),
    "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
  );
  assert.match(
    sign("/", { lifecycle: "" }),
    "Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
  );
  assert.match(
    sign("/", { prefix: "J", "max-keys": "2" }),
    "Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
  );
  assert.is(encoded("a b+c/é!'()*~"), "a%20b%2Bc%2F%C3%A9%21%27%28%29%2A~");
});

test("objects are read under whatever key, signed as the server checks", async () => {
  for (const key of ["a.csv", "a b+c/é=%41&?#!'()/x.csv", "../up.csv", "a//b/./..", "日本/💥.ndjson"]) {
    s3.objects.set(`data/${key}`, Buffer.from(`content of ${key}`));
    assert.is(String(await read(`s3://data/${key}`)), `content of ${key}`, key);
  }
  assert.ok(s3.asked.every((each) => each.signed));
});

test("a token is sent and signed; without credentials nothing is signed", async () => {
  s3.objects.set("data/a.csv", Buffer.from("a\n1\n"));
  s3.token = process.env.AWS_SESSION_TOKEN = "token/of=the+session";
  assert.is(String(await read("s3://data/a.csv")), "a\n1\n");
  for (const name of ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]) delete process.env[name];
  assert.match((await refused(read("s3://data/a.csv"))).message, /access is denied; set credentials/);
  s3.open = true;
  assert.is(String(await read("s3://data/a.csv")), "a\n1\n");
  assert.is(s3.asked.at(-1)!.signed, false);
});

test("credentials come from the environment, or a profile of the file of the AWS tools", () => {
  const path = join(scratch(), "credentials");
  writeFileSync(
    path,
    "[default]\naws_access_key_id = one\naws_secret_access_key=two=\n# aws_session_token = x\n[other]\naws_access_key_id=three\naws_secret_access_key = four\naws_session_token=five\n",
  );
  const file = { AWS_SHARED_CREDENTIALS_FILE: path };
  const one = { accessKeyId: "one", secretAccessKey: "two=" };
  assert.equal(s3ConfigOf(file).credentials, one);
  assert.equal(s3ConfigOf({ ...file, AWS_PROFILE: "other" }).credentials, {
    accessKeyId: "three",
    secretAccessKey: "four",
    sessionToken: "five",
  });
  const keys = { AWS_ACCESS_KEY_ID: "six", AWS_SECRET_ACCESS_KEY: "seven" };
  assert.is(s3ConfigOf({ ...file, ...keys }).credentials?.accessKeyId, "six");
  assert.is(
    String(s3ConfigOf({ ...keys, AWS_DEFAULT_REGION: "eu-west-1" }).endpoint),
    "https://s3.eu-west-1.amazonaws.com/",
  );
  const both = { ...keys, AWS_ENDPOINT_URL: "http://a:1", AWS_ENDPOINT_URL_S3: "http://b:2/base" };
  assert.is(s3ConfigOf(both).endpoint.href, "http://b:2/base");
  const wrong: Record<string, string>[] = [
    { ...file, AWS_PROFILE: "none" },
    { AWS_ACCESS_KEY_ID: "hidden" },
    { ...keys, AWS_SESSION_TOKEN: "hidden\r\nx: y" },
    { ...keys, AWS_REGION: "hidden/../" },
    { ...keys, AWS_ENDPOINT_URL: "http://hidden:pass@host" },
    { ...keys, AWS_ENDPOINT_URL: "hidden" },
  ];
  for (const env of wrong) {
    try {
      s3ConfigOf(env);
      assert.unreachable(JSON.stringify(env));
    } catch (error) {
      assert.is((error as HallelujahError).code, "s3-config", String(error));
      assert.not.match((error as HallelujahError).message, "hidden");
    }
  }
});

test("a prefix lists the data files below it over all pages, a pattern what matches, by the bytes of their keys", async () => {
  for (const key of [
    "in/b.csv",
    "in/a.csv.gz",
    "in/Z.ndjson",
    "in/deep/a+b c.csv",
    "in/deep/.tmp/x.csv",
    "in/readme.md",
    "in/é.csv",
    "in/z.csv",
    "in/",
    "inner.csv",
    "other.csv",
  ])
    s3.objects.set(`data/${key}`, Buffer.from("x"));
  const all = ["Z.ndjson", "a.csv.gz", "b.csv", "deep/a+b c.csv", "z.csv", "é.csv"];
  assert.equal(
    await keysOf("s3://data/in/"),
    all.map((key) => `s3://data/in/${key}`),
  );
  assert.is(s3.asked.length, 5, "pages of two of the nine keys");
  assert.equal(
    await keysOf("s3://data/in/*.csv"),
    ["b", "z", "é"].map((key) => `s3://data/in/${key}.csv`),
  );
  assert.equal(await keysOf("s3://data/i*.csv"), ["s3://data/inner.csv"]);
  assert.is((await keysOf("s3://data/**/*.csv")).length, 7);
  assert.is((await keysOf("s3://data")).length, 8);
  assert.equal(await keysOf("s3://data/one.csv"), ["s3://data/one.csv"]);
  for (const url of ["s3://data/none/", "s3://data/in/*.pq"])
    assert.is((await refused(keysOf(url))).code, "input-missing");
});

test("many objects may be opened at once: of each only the head is asked for before it is read", async () => {
  s3.objects.set("data/large.csv", LARGE);
  const stream = await ByteStream.open("s3://data/large.csv", Readable.from([]));
  assert.is((await stream.head()).length, HEAD_BYTES);
  assert.equal(
    s3.asked.map(({ range }) => range),
    [`bytes=0-${HEAD_BYTES - 1}`],
  );
  stream.close();
  assert.ok((await read("s3://data/large.csv")).equals(LARGE));
  assert.is(s3.asked.at(-1)!.range, `bytes=${HEAD_BYTES}-`);
});

test("compressed objects are decompressed, empty ones are empty", async () => {
  s3.objects.set("data/a.csv.gz", gzipSync(LARGE));
  s3.objects.set("data/empty.csv", Buffer.alloc(0));
  assert.ok((await read("s3://data/a.csv.gz")).equals(LARGE));
  assert.is((await read("s3://data/empty.csv")).length, 0);
});

test("what is transient is tried again, and a body that broke off is gone on with", async () => {
  s3.objects.set("data/large.csv", LARGE);
  s3.trouble = (_, response, asked) => {
    if (asked === 1) refuse(response, 503, "SlowDown");
    else if (asked === 2) response.socket!.destroy();
    else if (asked === 3) refuse(response, 400, "RequestTimeout");
    else if (asked === 5) {
      const rest = LARGE.subarray(HEAD_BYTES);
      response.writeHead(206, {
        etag: etagOf(LARGE),
        "content-length": rest.length,
        "content-range": `bytes ${HEAD_BYTES}-${LARGE.length - 1}/${LARGE.length}`,
      });
      response.write(rest.subarray(0, 1000), () => response.socket!.end());
    } else return false;
    return true;
  };
  assert.ok((await read("s3://data/large.csv")).equals(LARGE));
  assert.match(s3.asked.at(-1)!.range!, /^bytes=\d+-$/);
  s3.trouble = (_, response, asked) => asked > 0 && (refuse(response, 500, "InternalError"), true);
  const { length } = s3.asked;
  assert.match(
    (await refused(read("s3://data/large.csv"))).message,
    /500 InternalError; it was tried 5 times/,
  );
  assert.is(s3.asked.length, length + 5);
});

test("an object that changes while it is read is an error", async () => {
  for (const other of [Buffer.from(LARGE).fill("b"), LARGE.subarray(1), Buffer.alloc(1)]) {
    s3.objects.set("data/large.csv", LARGE);
    const stream = await ByteStream.open("s3://data/large.csv", Readable.from([]));
    await stream.head();
    await stream.next();
    s3.objects.set("data/large.csv", other);
    const error = await refused(stream.next());
    assert.is(error.code, "input-changed");
    assert.match(error.message, /large\.csv changed while it was read/);
  }
  // One that does not heed If-Match.
  s3.objects.set("data/large.csv", LARGE);
  s3.trouble = (request) => {
    delete request.headers["if-match"];
    return false;
  };
  s3.open = true;
  for (const name of ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]) delete process.env[name];
  const stream = await ByteStream.open("s3://data/large.csv", Readable.from([]));
  await stream.head();
  await stream.next();
  s3.objects.set("data/large.csv", Buffer.from(LARGE).fill("b"));
  assert.is((await refused(stream.next())).code, "input-changed");
});

test("an error of S3 is one sentence with what to do", async () => {
  const errors: [status: number, code: string, words: RegExp, more?: string][] = [
    [404, "NoSuchKey", /there is no such object; look at its key/],
    [404, "NoSuchBucket", /no such bucket/],
    [403, "AccessDenied", /access is denied; set credentials/],
    [403, "SignatureDoesNotMatch", /look at AWS_SECRET_ACCESS_KEY/],
    [403, "RequestTimeTooSkewed", /this machine's clock is wrong .*; set it/],
    [301, "PermanentRedirect", /set AWS_REGION to it/],
    [400, "AuthorizationHeaderMalformed", /set AWS_REGION=eu-west-1/, "<Region>eu-west-1</Region>"],
    [400, "Other", /the server answered 400 Other$/],
    [400, `\u001b[2J${KEYS.id}`, /the server answered 400$/],
  ];
  for (const [status, code, words, more] of errors) {
    s3.trouble = (_, response) => (refuse(response, status, code, more), true);
    for (const work of [read("s3://data/a.csv"), keysOf("s3://data/in/")]) {
      const error = await refused(work);
      assert.is(error.code, "input-unreadable");
      assert.match(error.message, words);
    }
  }
  s3.trouble = undefined;
  process.env.AWS_SECRET_ACCESS_KEY = "another";
  assert.match((await refused(read("s3://data/a.csv"))).message, /the signature does not match/);
  const error = await refused(keysOf(`s3://${KEYS.id}:${KEYS.secret}@data/a.csv`));
  assert.is(error.code, "usage");
});

test("lists that lie, never end or blow up are refused", async () => {
  const bomb = `<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>`;
  const a = { key: "in/a.csv", size: 1 };
  const answers: [body: string, words: RegExp][] = [
    [listed([a], "again"), /does not go on/],
    [listed([], "again"), /does not go on/],
    [listed([{ key: "in/b.csv", size: 1 }, a]), /in no order/],
    [listed([{ key: "secret/a.csv", size: 1 }]), /other prefixes/],
    [bomb + listed([{ key: "in/&b;.csv", size: 1 }]), /no list of objects/],
    [listed([{ key: "in/%ff.csv", size: 1 }]), /not encoded/],
    [listed([{ key: "in/a.csv", size: -1 }]), /without key or size/],
    [listed([a]).replace("false", "true"), /does not say where/],
    ["<html>sign in</html>", /no list of objects/],
    [`<ListBucketResult>${"<Contents>".repeat(900_000)}`, /more than 8388608 bytes/],
  ];
  for (const [body, words] of answers) {
    s3.trouble = (_, response) => (response.end(body), true);
    assert.match((await refused(keysOf("s3://data/in/"))).message, words, body.slice(0, 200));
  }
  let page = 0;
  s3.trouble = (_, response) => {
    const keys = Array.from(
      { length: 20_000 },
      (_, i) => `in/${String(page * 20_000 + i).padStart(9, "0")}.csv`,
    );
    response.end(
      listed(
        keys.map((key) => ({ key, size: 1 })),
        `p${page++}`,
      ),
    );
    return true;
  };
  assert.is((await refused(keysOf("s3://data/in/"))).code, "input-too-many");
  assert.is(page, 4);
});

test("bodies that are cut short, too long or of another place are errors", async () => {
  const etag = etagOf(LARGE);
  const parts: [headers: Record<string, string | number>, words: RegExp][] = [
    [{ "content-range": "bytes 0-99/100" }, /it broke off: its body ended after 10 bytes/],
    // Of what it is asked for then, it sends the beginning.
    [{ "content-range": "bytes 0-99/100", etag }, /another part/],
    [{ "content-range": "bytes 0-4/100", etag }, /more than it said/],
    [{ "content-range": "bytes 5-14/100", etag }, /another part/],
    [{ "content-range": "bytes 0-9/5", etag }, /another part/],
    [{ "content-range": "bytes */100", etag }, /another part/],
    [{}, /another part/],
  ];
  for (const [headers, words] of parts) {
    s3.trouble = (_, response) => (response.writeHead(206, headers).end("0123456789"), true);
    assert.match((await refused(read("s3://data/a.csv"))).message, words, JSON.stringify(headers));
  }
  s3.trouble = (_, response) => {
    response.writeHead(200, { "content-length": 100 });
    response.write("0123456789", () => response.socket!.end());
    return true;
  };
  assert.match((await refused(read("s3://data/a.csv"))).message, /broke off/);
});

test("what cannot be reached is said at once", async () => {
  process.env.AWS_ENDPOINT_URL = "http://127.0.0.1:1";
  assert.match(
    (await refused(read("s3://data/a.csv"))).message,
    /s3:\/\/data\/a\.csv cannot be read: .*ECONNREFUSED/,
  );
  assert.equal(
    readdirSync(scratch()).filter((name) => name.startsWith("hallelujah-input")),
    [],
  );
});

test.run();
