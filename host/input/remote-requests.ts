/** GETs to servers of inputs: paths are sent as they are given, what is transient is told from what is not. */
import type { Agent, Dispatcher } from "undici";
import { HallelujahError, messageOf } from "../core/errors.ts";

/** Time without a byte after which a request has failed, ms. */
const SILENCE_MS = 30_000;

export type Answer = Dispatcher.ResponseData;

/** What can be asked for. */
export interface Remote {
  /** Name for messages, without credentials. */
  name: string;
  /** Sends a GET with these headers, too. Rejects with `Transient`, or a HallelujahError where the server refuses; 412 and 416 are answers. */
  get(headers: Record<string, string>, signal: AbortSignal): Promise<Answer>;
}

/** It may go well if it is tried again, after `askedMs` at least. */
export class Transient extends Error {
  readonly askedMs: number;

  constructor(message: string, askedMs = 0, cause?: unknown) {
    super(message, { cause });
    this.askedMs = askedMs;
  }
}

export function unreadable(name: string, why: string, cause?: unknown): HallelujahError {
  return new HallelujahError("input-unreadable", `${name} cannot be read: ${why}`, { cause });
}

let agent: Promise<Agent> | undefined;

/** Sends a GET; `path` may hold `..`, which stays. Rejects as `Remote.get` does when there is no answer. */
export async function send(
  name: string,
  origin: string,
  path: string,
  headers: Record<string, string>,
  signal: AbortSignal,
): Promise<Answer> {
  agent ??= import("undici").then(
    (undici) => new undici.Agent({ headersTimeout: SILENCE_MS, bodyTimeout: SILENCE_MS }),
  );
  try {
    return await (await agent).request({
      origin,
      path,
      method: "GET",
      headers: { "accept-encoding": "identity", ...headers },
      signal,
    });
  } catch (error) {
    throw failureOf(name, error, signal);
  }
}

const PASSING =
  /^(ECONNRESET|EPIPE|ETIMEDOUT|EAI_AGAIN|UND_ERR_(SOCKET|\w+_TIMEOUT|RES_CONTENT_LENGTH_MISMATCH))$/;

/** What went wrong on the way: transient, or final. */
export function failureOf(name: string, error: unknown, signal: AbortSignal): Error {
  if (error instanceof HallelujahError || error instanceof Transient) return error;
  if (signal.aborted) return new HallelujahError("aborted", `reading ${name} was stopped`, { cause: error });
  const { code = "" } = error as NodeJS.ErrnoException;
  if (PASSING.test(code)) return new Transient(messageOf(error), 0, error);
  return unreadable(name, messageOf(error) || code, error);
}

/** Whether a status says that trying again may help. */
export function isTransient(status: number): boolean {
  return status === 408 || status === 429 || (status >= 500 && status !== 501 && status !== 505);
}

/** Throws what a status is worth that may pass. */
export function tryLater({ statusCode, headers }: Answer, why: string): Transient {
  const seconds = Number(headers["retry-after"]);
  return new Transient(why || `the server answered ${statusCode}`, seconds > 0 ? seconds * 1000 : 0);
}

/** The text of a body, cut off after `most` bytes. */
export async function textOf({ body }: Answer, most: number): Promise<{ text: string; whole: boolean }> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > most) break;
  }
  const text = Buffer.concat(chunks).subarray(0, most).toString("utf8");
  return { text, whole: length <= most };
}

/** A header that has one value. */
export function headerOf({ headers }: Answer, name: string): string | undefined {
  const value = headers[name];
  return typeof value === "string" ? value : value?.[0];
}
