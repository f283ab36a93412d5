/**
 * AWS Signature Version 4 of requests without a body, in the header Authorization
 * (docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html).
 */
import { createHash, createHmac } from "node:crypto";

export interface Credentials {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string;
}

/** A GET as it is sent. */
export interface S3Request {
  /** Encoded, from the first slash. */
  path: string;
  /** Names and values, not encoded. */
  query: Record<string, string>;
  /** With `host`; names in lower case. */
  headers: Record<string, string>;
}

const ALGORITHM = "AWS4-HMAC-SHA256";
const EMPTY_HASH = createHash("sha256").digest("hex");

/** The headers of a request, with those that sign it at a time. */
export function signed(
  request: S3Request,
  { accessKeyId, secretAccessKey, sessionToken }: Credentials,
  region: string,
  now: Date,
): Record<string, string> {
  const time = now.toISOString().replace(/[-:]|\.\d{3}/g, "");
  const headers: Record<string, string> = {
    ...request.headers,
    "x-amz-content-sha256": EMPTY_HASH,
    "x-amz-date": time,
    ...(sessionToken === undefined ? {} : { "x-amz-security-token": sessionToken }),
  };
  const day = time.slice(0, 8);
  const scope = `${day}/${region}/s3/aws4_request`;
  const names = Object.keys(headers).toSorted();
  const canonical = [
    "GET",
    request.path,
    queryText(request.query),
    ...names.map((name) => `${name}:${headers[name].trim().replace(/ +/g, " ")}`),
    "",
    names.join(";"),
    EMPTY_HASH,
  ].join("\n");
  const toSign = [ALGORITHM, time, scope, createHash("sha256").update(canonical).digest("hex")].join("\n");
  const key = [day, region, "s3", "aws4_request"].reduce<string | Buffer>(hmac, `AWS4${secretAccessKey}`);
  const signature = hmac(key, toSign).toString("hex");
  return {
    ...headers,
    authorization: `${ALGORITHM} Credential=${accessKeyId}/${scope},SignedHeaders=${names.join(";")},Signature=${signature}`,
  };
}

/** A query in the order and the encoding that are signed. */
export function queryText(query: Record<string, string>): string {
  const pairs = Object.entries(query).map(([name, value]) => `${encoded(name)}=${encoded(value)}`);
  return pairs.toSorted().join("&");
}

/** Text as RFC 3986 has it in a URI: all but letters, digits and `-._~` by their bytes. */
export function encoded(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}
