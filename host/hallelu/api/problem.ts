/** Errors as clients get them: RFC 9457 problem documents with a stable code. */
import { randomUUID } from "node:crypto";
import { HallelujahError, isDiskFull } from "../../core/errors.ts";
import type { Offer, Problem } from "../../wire/http.ts";

/** Status by code; what is not named here is the host's own fault, 500. */
const STATUS: Record<string, number> = {
  "bad-request": 400,
  "body-invalid": 400,
  "capacity-invalid": 400,
  "compile-failed": 400,
  "compiler-failed": 400,
  "column-missing": 400,
  "column-type": 400,
  "column-unsupported": 400,
  "field-missing": 400,
  "field-twice": 400,
  "header-too-long": 400,
  "input-binary": 400,
  "input-corrupt": 400,
  "input-format": 400,
  "input-missing": 400,
  "input-unreadable": 400,
  "input-unsupported": 400,
  "kernel-invalid": 400,
  "kernel-version": 400,
  "kernel-outdated": 400,
  "kernel-trapped": 400,
  "key-invalid": 400,
  "order-unknown": 400,
  "out-of-memory": 400,
  "reprocess-invalid": 400,
  "retain-invalid": 400,
  "sink-invalid": 400,
  "source-unreadable": 400,
  "stream-loop": 400,
  "share-invalid": 400,
  "share-misfit": 409,
  "records-shared": 409,
  "stream-name-invalid": 400,
  "too-many-sources": 400,
  "visit-format": 400,
  "visit-too-large": 400,
  unauthorized: 401,
  "cross-site": 403,
  "wasm-visit-refused": 403,
  "dataset-missing": 404,
  "dead-letter-elsewhere": 404,
  "dead-letter-unknown": 404,
  "not-found": 404,
  "reprocess-unknown": 404,
  "stream-unknown": 404,
  "table-unknown": 404,
  "version-unknown": 404,
  "method-not-allowed": 405,
  "not-acceptable": 406,
  "request-timeout": 408,
  "history-trimmed": 409,
  "no-capacity": 409,
  "output-none": 409,
  "reprocess-misfit": 409,
  "reprocess-running": 409,
  "sequence-gap": 409,
  "stream-exists": 409,
  "swap-misfit": 409,
  "swap-rolled-back": 409,
  "stream-failed": 409,
  "stream-needed": 409,
  "stream-on-trial": 409,
  "stream-paused": 409,
  "stream-stopped": 409,
  "output-trimmed": 410,
  "length-required": 411,
  "body-too-large": 413,
  "frame-too-large": 413,
  "registry-too-large": 413,
  "record-too-large": 413,
  "media-type": 415,
  misdirected: 421,
  "backlog-full": 429,
  aborted: 499,
  "headers-too-large": 431,
  busy: 503,
  "cluster-lost": 503,
  "cluster-refused": 503,
  "cluster-unreachable": 503,
  "host-lost": 503,
  "jah-lost": 503,
  "log-closed": 503,
  "revision-conflict": 503,
  "shard-lost": 503,
  "shard-unavailable": 503,
  "stream-moved": 503,
  "stream-opening": 503,
  "too-many-streams": 503,
  "visit-dropped": 503,
  "visit-lost": 503,
  "visit-timeout": 504,
  "disk-full": 507,
  "log-unwritable": 507,
  "registry-unwritable": 507,
};

/** Seconds after which it is worth trying again, by status. */
const RETRY_AFTER: Record<number, number> = { 429: 1, 503: 1, 507: 10 };

interface ProblemResponse {
  status: number;
  headers: Record<string, string>;
  body: string;
}

export function respond({ status, headers, body }: ProblemResponse): Response {
  return new Response(body, { status, headers });
}

/** What a client gets for an error; `report` hears of those that nobody foresaw. */
export function problemOf(error: unknown, report: (id: string, error: unknown) => void): ProblemResponse {
  if (!(error instanceof HallelujahError)) {
    if (isDiskFull(error))
      return problem("disk-full", "the host's disk is full, so nothing was changed; make room and try again");
    const id = randomUUID();
    report(id, error);
    return problem("internal", `something went wrong in this host; its log has more under ${id}`, 500);
  }
  const { offers } = error as { offers?: Offer[] };
  // A query that finds no CPU may be asked again; a deploy changes nothing by that.
  const status = error.code === "no-capacity" && !offers ? 503 : (STATUS[error.code] ?? 500);
  if (!(error.code in STATUS)) report(error.code, error);
  return problem(error.code, error.message, status, offers);
}

export function problem(
  code: string,
  detail: string,
  status = STATUS[code] ?? 500,
  offers?: Offer[],
): ProblemResponse {
  const document: Problem = {
    type: `urn:hallelujah:problem:${code}`,
    title: code.replaceAll("-", " "),
    status,
    code,
    detail,
    ...(offers ? { offers } : {}),
  };
  const body = `${JSON.stringify(document)}\n`;
  const headers: Record<string, string> = {
    "content-type": "application/problem+json",
    "content-length": String(Buffer.byteLength(body)),
  };
  // It stays so until its user has done something.
  if (status in RETRY_AFTER && code !== "shard-unavailable")
    headers["retry-after"] = String(RETRY_AFTER[status]);
  if (status === 401) headers["www-authenticate"] = "Bearer";
  return { status, headers, body };
}
