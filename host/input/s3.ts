/** Objects of S3, and of what speaks its protocol: GET and ListObjectsV2, with the bucket in the path. */
import { Backoff } from "../core/backoff.ts";
import { HallelujahError } from "../core/errors.ts";
import {
  REMOTE_PAUSE_MS,
  REMOTE_PAUSE_MS_MAX,
  REMOTE_TRIES,
  S3_KEYS_MAX,
  S3_PAGE_BYTES_MAX,
  SOURCES_MAX,
} from "../core/limits.ts";
import {
  type Answer,
  failureOf,
  headerOf,
  isTransient,
  type Remote,
  send,
  textOf,
  Transient,
  tryLater,
  unreadable,
} from "./remote-requests.ts";
import { adviceOf, errorOf, pageOf, regionOf, type S3Object, type S3Page } from "./s3-answers.ts";
import { type S3Config, s3ConfigOf } from "./s3-config.ts";
import { encoded, queryText, signed } from "./s3-signing.ts";

/** Bytes of an error that are read. */
const ERROR_BYTES = 64 * 1024;
/** Their messages say more than the status does. */
const PASSING_CODES = /^(SlowDown|InternalError|RequestTimeout|ServiceUnavailable|OperationAborted)$/;

interface Place {
  bucket: string;
  key: string;
}

/** The object of an `s3://` URL. */
export function s3Object(url: string): Remote {
  const { bucket, key } = placeOf(url);
  const config = s3ConfigOf(process.env);
  const path = `/${bucket}/${key.split("/").map(encoded).join("/")}`;
  return { name: url, get: (headers, signal) => get(config, url, path, {}, headers, signal) };
}

/** Whether a URL stands for all objects of a prefix or pattern. */
export function isS3Prefix(url: string): boolean {
  const { key } = placeOf(url);
  return key === "" || key.endsWith("/") || key.includes("*");
}

/**
 * The objects of a prefix, or those that match a pattern in which `*` stands for anything but a slash, and `**` between
 * slashes for any folders; by the bytes of their keys. Throws `input-missing` if there are none.
 */
export async function s3List(
  url: string,
  isData: (key: string) => boolean,
  signal = new AbortController().signal,
): Promise<{ url: string; size: number }[]> {
  const { bucket, key: pattern } = placeOf(url);
  const star = pattern.indexOf("*");
  const prefix = star < 0 ? pattern : pattern.slice(0, star);
  const wanted = star < 0 ? (key: string) => isShown(key, prefix) && isData(key) : matcher(pattern);
  const config = s3ConfigOf(process.env);
  const found: S3Object[] = [];
  let listed = 0;
  for await (const objects of pages(config, url, bucket, prefix, signal)) {
    listed += objects.length;
    found.push(...objects.filter(({ key }) => !key.endsWith("/") && wanted(key)));
    if (listed > S3_KEYS_MAX || found.length > SOURCES_MAX) {
      const message = `${url} has more objects than are listed (${S3_KEYS_MAX}) or read (${SOURCES_MAX}); name a longer prefix`;
      throw new HallelujahError("input-too-many", message);
    }
  }
  if (!found.length) {
    const what = star < 0 ? `${url} has no data files (.csv, .ndjson, ...)` : `no object matches ${url}`;
    throw new HallelujahError("input-missing", what);
  }
  return found
    .toSorted((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)))
    .map(({ key, size }) => ({ url: `s3://${bucket}/${key}`, size }));
}

async function* pages(
  config: S3Config,
  url: string,
  bucket: string,
  prefix: string,
  signal: AbortSignal,
): AsyncGenerator<S3Object[]> {
  let last = Buffer.alloc(0);
  let token: string | undefined;
  do {
    const query: Record<string, string> = {
      "list-type": "2",
      "encoding-type": "url",
      ...(prefix ? { prefix } : {}),
      ...(token === undefined ? {} : { "continuation-token": token }),
    };
    const page = await pageWithin(config, url, `/${bucket}`, query, signal);
    const keys = page.objects.map(({ key }) => Buffer.from(key));
    const further = keys.every((key, i) => Buffer.compare(i ? keys[i - 1] : last, key) < 0);
    if (!further || (page.next !== undefined && !keys.length))
      throw unreadable(url, "the server's list does not go on, or is in no order");
    if (page.objects.some(({ key }) => !key.startsWith(prefix)))
      throw unreadable(url, "the server's list has keys of other prefixes");
    last = keys.at(-1) ?? last;
    token = page.next;
    yield page.objects;
  } while (token !== undefined);
}

/** One page, tried again where that may help. */
async function pageWithin(
  config: S3Config,
  url: string,
  path: string,
  query: Record<string, string>,
  signal: AbortSignal,
): Promise<S3Page> {
  const backoff = new Backoff(REMOTE_PAUSE_MS, REMOTE_PAUSE_MS_MAX);
  for (let tries = 1; ; tries++) {
    try {
      const { text, whole } = await textOf(
        await get(config, url, path, query, {}, signal),
        S3_PAGE_BYTES_MAX,
      );
      if (!whole) throw unreadable(url, `a page of its list has more than ${S3_PAGE_BYTES_MAX} bytes`);
      return pageOf(text, url);
    } catch (error) {
      const failure = failureOf(url, error, signal);
      if (!(failure instanceof Transient)) throw failure;
      if (tries >= REMOTE_TRIES)
        throw unreadable(url, `${failure.message}; it was tried ${tries} times`, failure);
      await backoff.pause(signal, failure.askedMs);
    }
  }
}

async function get(
  { endpoint, region, credentials }: S3Config,
  name: string,
  path: string,
  query: Record<string, string>,
  headers: Record<string, string>,
  signal: AbortSignal,
): Promise<Answer> {
  const whole = endpoint.pathname.replace(/\/+$/, "") + path;
  const request = { path: whole, query, headers: { host: endpoint.host, ...headers } };
  const all = credentials ? signed(request, credentials, region, new Date()) : request.headers;
  const search = queryText(query);
  const answer = await send(name, endpoint.origin, search ? `${whole}?${search}` : whole, all, signal);
  const { statusCode } = answer;
  if (statusCode === 200 || statusCode === 206 || statusCode === 412 || statusCode === 416) return answer;
  throw await refusal(name, answer);
}

async function refusal(name: string, answer: Answer): Promise<Error> {
  const { statusCode } = answer;
  const { code, region } = errorOf((await textOf(answer, ERROR_BYTES)).text);
  const advice = adviceOf(statusCode, code, region ?? regionOf(headerOf(answer, "x-amz-bucket-region")));
  if (isTransient(statusCode) || PASSING_CODES.test(code ?? "")) return tryLater(answer, advice);
  return unreadable(name, advice);
}

function placeOf(url: string): Place {
  const [, bucket, key = ""] = /^s3:\/\/([A-Za-z0-9][\w.-]{1,254})(?:\/([^]*))?$/i.exec(url) ?? [];
  if (bucket === undefined) {
    // It is not shown: some write credentials into it.
    const message =
      "an s3:// URL is s3://BUCKET/KEY, s3://BUCKET/PREFIX/ or s3://BUCKET/PATTERN*; credentials come from the environment";
    throw new HallelujahError("usage", message);
  }
  return { bucket, key };
}

/** As files of folders: none whose name, or a folder's below the prefix, starts with a dot. */
function isShown(key: string, prefix: string): boolean {
  return !/(^|\/)\./.test(key.slice(prefix.length));
}

function matcher(pattern: string): (key: string) => boolean {
  const folders = pattern.split("/");
  return (key) =>
    wild(folders, key.split("/"), "**", (part, name) => wild([...part], [...name], "*", (a, b) => a === b));
}

/** Whether a pattern in which `star` stands for any number of parts is all of a text; it goes back to the last star alone, so its time is bounded. */
function wild(
  pattern: string[],
  text: string[],
  star: string,
  same: (part: string, given: string) => boolean,
): boolean {
  let [p, t, back, from] = [0, 0, -1, 0];
  while (t < text.length) {
    if (pattern[p] === star) {
      back = p++;
      from = t;
    } else if (p < pattern.length && same(pattern[p], text[t])) {
      p++;
      t++;
    } else if (back >= 0) {
      p = back + 1;
      t = ++from;
    } else return false;
  }
  while (pattern[p] === star) p++;
  return p === pattern.length;
}
