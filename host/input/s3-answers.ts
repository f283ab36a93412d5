/** What S3 answers in XML: lists of objects, and errors. Tags are looked for in bounded text; there are no entities but the five of XML. */
import { corrupt } from "./columnar.ts";

export interface S3Object {
  key: string;
  size: number;
}

export interface S3Page {
  objects: S3Object[];
  /** Asks for the next page; undefined at the end. */
  next?: string;
}

/** A page of ListObjectsV2, whose keys were asked for URL-encoded. Throws `input-corrupt`. */
export function pageOf(xml: string, where: string): S3Page {
  if (!xml.includes("<ListBucketResult") || xml.includes("<!"))
    throw corrupt(where, "the server's answer is no list of objects");
  const objects = [...elements(xml, "Contents")].map((each) => {
    const [key, size] = [valueOf(each, "Key"), Number(valueOf(each, "Size"))];
    if (!key || !Number.isSafeInteger(size) || size < 0)
      throw corrupt(where, "the server's list has an object without key or size");
    return { key: plainOf(key, where), size };
  });
  if (valueOf(xml, "IsTruncated") !== "true") return { objects };
  const next = valueOf(xml, "NextContinuationToken");
  if (!next) throw corrupt(where, "the server's list goes on, and does not say where");
  return { objects, next };
}

/** Code and region of an error; only what such names are made of, as messages of servers may quote credentials. */
export function errorOf(xml: string): { code?: string; region?: string } {
  const code = /^\w{1,64}$/.exec(valueOf(xml, "Code") ?? "")?.[0];
  const region = regionOf(valueOf(xml, "Region"));
  return { ...(code === undefined ? {} : { code }), ...(region === undefined ? {} : { region }) };
}

/** A region, if that is what the text is. */
export function regionOf(text: string | undefined): string | undefined {
  return /^[a-z0-9-]{1,40}$/.exec(text ?? "")?.[0];
}

/** What to do about an error of S3, in words; `what` is the code where nothing better is known. */
export function adviceOf(status: number, code: string | undefined, region: string | undefined): string {
  switch (code ?? (status === 404 ? "NoSuchKey" : status === 403 ? "AccessDenied" : undefined)) {
    case "NoSuchKey":
      return "there is no such object; look at its key, whose case counts (a prefix ends with / or holds *)";
    case "NoSuchBucket":
      return "there is no such bucket; look at its name and at AWS_ENDPOINT_URL";
    case "AccessDenied":
      return "access is denied; set credentials that may read and list it (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)";
    case "InvalidAccessKeyId":
      return "the server does not know the access key; look at AWS_ACCESS_KEY_ID and AWS_ENDPOINT_URL";
    case "SignatureDoesNotMatch":
      return "the signature does not match; look at AWS_SECRET_ACCESS_KEY, and at AWS_REGION";
    case "ExpiredToken":
    case "InvalidToken":
      return "the session token is not valid any more; get new credentials";
    case "RequestTimeTooSkewed":
      return "this machine's clock is wrong by more than the server allows; set it";
    case "PermanentRedirect":
    case "TemporaryRedirect":
    case "AuthorizationHeaderMalformed":
      return region === undefined
        ? "the bucket is in another region; set AWS_REGION to it"
        : `the bucket is in another region; set AWS_REGION=${region}`;
    case "InvalidObjectState":
      return "the object is archived; restore it first";
    default:
      return `the server answered ${status}${code === undefined ? "" : ` ${code}`}`;
  }
}

function* elements(xml: string, tag: string): Generator<string> {
  const [open, close] = [`<${tag}>`, `</${tag}>`];
  for (let at = xml.indexOf(open); at >= 0; at = xml.indexOf(open, at)) {
    const end = xml.indexOf(close, at);
    if (end < 0) return;
    yield xml.slice(at + open.length, end);
    at = end;
  }
}

function valueOf(xml: string, tag: string): string | undefined {
  const [first] = elements(xml, tag);
  return first === undefined ? undefined : unescaped(first);
}

const ENTITIES: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

function unescaped(text: string): string {
  return text.replace(/&(amp|lt|gt|quot|apos);|&#(\d{1,7});/g, (whole, name: string | undefined, code) =>
    name ? ENTITIES[name] : Number(code) <= 0x10ffff ? String.fromCodePoint(Number(code)) : whole,
  );
}

function plainOf(key: string, where: string): string {
  try {
    return decodeURIComponent(key.replaceAll("+", " "));
  } catch {
    throw corrupt(where, "the server's list has a key that is not encoded as asked for");
  }
}
