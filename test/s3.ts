/**
 * S3 for tests, on this machine alone: GET of objects by ranges and ListObjectsV2. It checks signatures from what came over the
 * wire, by code of its own, and can be told to fail.
 */
import { createHash, createHmac } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export const KEYS = { id: "AKIDTESTTESTTEST", secret: "s3cr3t/of+the=tests" };

/** Answers instead of the server; whether it did. */
export type Trouble = (request: IncomingMessage, response: ServerResponse, asked: number) => boolean;

export interface S3Server {
  url: string;
  /** By bucket and key, as in `data/a.csv`. */
  objects: Map<string, Buffer>;
  /** Paths and ranges that were asked for. */
  asked: { url: string; range: string | undefined; signed: boolean }[];
  trouble: Trouble | undefined;
  /** Keys of a page of a list. */
  pageKeys: number;
  /** Whether requests without a signature are taken. */
  open: boolean;
  /** What callers must have beside the keys. */
  token: string | undefined;
  close(): void;
}

export async function startS3(): Promise<S3Server> {
  const listener = createServer((request, response) => answer(s3, request, response)).listen(0, "127.0.0.1");
  await once(listener, "listening");
  const s3: S3Server = {
    url: `http://127.0.0.1:${(listener.address() as AddressInfo).port}`,
    objects: new Map(),
    asked: [],
    trouble: undefined,
    pageKeys: 2,
    open: false,
    token: undefined,
    close: () => {
      listener.closeAllConnections();
      listener.close();
    },
  };
  return s3;
}

/** The environment of a client. */
export function s3Env({ url }: S3Server): Record<string, string> {
  return { AWS_ENDPOINT_URL: url, AWS_ACCESS_KEY_ID: KEYS.id, AWS_SECRET_ACCESS_KEY: KEYS.secret };
}

export function etagOf(body: Buffer): string {
  return `"${createHash("md5").update(body).digest("hex")}"`;
}

export function refuse(response: ServerResponse, status: number, code: string, more = ""): void {
  const message = `AWSAccessKeyId ${KEYS.id} StringToSign`;
  response
    .writeHead(status, { "content-type": "application/xml" })
    .end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>${message}</Message>${more}</Error>`);
}

function answer(s3: S3Server, request: IncomingMessage, response: ServerResponse): void {
  const { range, authorization } = request.headers;
  s3.asked.push({ url: request.url!, range, signed: authorization !== undefined });
  if (s3.trouble?.(request, response, s3.asked.length)) return;
  if (authorization === undefined ? !s3.open : s3.token !== request.headers["x-amz-security-token"])
    return refuse(response, 403, "AccessDenied");
  if (authorization !== undefined && !isSigned(request))
    return refuse(response, 403, "SignatureDoesNotMatch");
  const [path, query = ""] = request.url!.split("?");
  const name = decodeURIComponent(path.slice(1));
  if (query) return list(s3, name, new URLSearchParams(query), response);
  const body = s3.objects.get(name);
  if (!body) return refuse(response, 404, "NoSuchKey");
  send(body, request, response);
}

function send(body: Buffer, { headers }: IncomingMessage, response: ServerResponse): void {
  const etag = etagOf(body);
  if (headers["if-match"] !== undefined && headers["if-match"] !== etag)
    return refuse(response, 412, "PreconditionFailed");
  const range = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? "");
  if (!range) {
    response.writeHead(200, { etag, "content-length": body.length }).end(body);
    return;
  }
  const first = Number(range[1]);
  if (first >= body.length) return refuse(response, 416, "InvalidRange");
  const last = Math.min(range[2] ? Number(range[2]) : Infinity, body.length - 1);
  const part = body.subarray(first, last + 1);
  const said = { "content-range": `bytes ${first}-${last}/${body.length}`, "content-length": part.length };
  response.writeHead(206, { etag, ...said }).end(part);
}

function list(s3: S3Server, bucket: string, query: URLSearchParams, response: ServerResponse): void {
  const prefix = `${bucket}/${query.get("prefix") ?? ""}`;
  const all = [...s3.objects]
    .filter(([name]) => name.startsWith(prefix))
    .map(([name, { length }]) => ({ key: name.slice(bucket.length + 1), size: length }))
    .toSorted((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)));
  const from = Number(query.get("continuation-token")?.replace("from=", "") ?? 0);
  const page = all.slice(from, from + s3.pageKeys);
  const more = from + page.length < all.length;
  const shown = (key: string) => encodeURIComponent(key).replaceAll("%20", "+").replaceAll("%2F", "/");
  response.end(
    listed(
      page.map(({ key, size }) => ({ key: shown(key), size })),
      more ? `from=${from + page.length}` : undefined,
    ),
  );
}

/** A page of a list. */
export function listed(objects: { key: string; size: number }[], next?: string): string {
  const contents = objects
    .map(({ key, size }) => `<Contents><Key>${key}</Key><Size>${size}</Size></Contents>`)
    .join("");
  const more = next === undefined ? "" : `<NextContinuationToken>${next}</NextContinuationToken>`;
  return `<?xml version="1.0"?><ListBucketResult><IsTruncated>${next !== undefined}</IsTruncated>${more}${contents}</ListBucketResult>`;
}

/** Whether the signature is that of the request as it came, with the keys of the tests, and of now. */
function isSigned({ method, url, headers }: IncomingMessage): boolean {
  const said =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/s3\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/.exec(
      headers.authorization!,
    );
  if (!said) return false;
  const [, id, day, region, names, signature] = said;
  const time = String(headers["x-amz-date"]);
  const iso = time.replace(/^(....)(..)(..)T(..)(..)(..)Z$/, "$1-$2-$3T$4:$5:$6Z");
  const skewMs = Math.abs(Date.parse(iso) - Date.now());
  const all = names.split(";");
  const required = ["host", ...Object.keys(headers).filter((name) => name.startsWith("x-amz-"))];
  if (id !== KEYS.id || !time.startsWith(day) || !(skewMs < 15 * 60_000)) return false;
  if (required.some((name) => !all.includes(name))) return false;
  const [path, query = ""] = url!.split("?");
  let canonical = `${method}\n${path}\n${query.split("&").sort().join("&")}\n`;
  for (const name of all) canonical += `${name}:${String(headers[name]).trim()}\n`;
  canonical += `\n${names}\n${headers["x-amz-content-sha256"]}`;
  const hash = createHash("sha256").update(canonical).digest("hex");
  let key = Buffer.from(`AWS4${KEYS.secret}`);
  for (const part of [day, region, "s3", "aws4_request"])
    key = createHmac("sha256", key).update(part).digest();
  const text = `AWS4-HMAC-SHA256\n${time}\n${day}/${region}/s3/aws4_request\n${hash}`;
  return createHmac("sha256", key).update(text).digest("hex") === signature;
}
