/** What a request asks for: its body, the type that it takes, whether its client is there still. */
import type { z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { HallelujahError } from "../../core/errors.ts";
import type { DeployRequest } from "../host.ts";
import type { Env } from "./calls.ts";
import { receive, received } from "./push.ts";

/** How rows may come, and what the host calls that. */
export const ROW_TYPES = {
  "application/x-ndjson": "ndjson",
  "text/csv": "csv",
  "application/json": "json",
} as const;

/** The kernel of a body. Throws `media-type`. */
export async function kernelOf(c: Context<Env>): Promise<DeployRequest["kernel"]> {
  const type = (c.req.header("content-type") ?? "").split(";")[0].trim().toLowerCase();
  if (type !== "application/wasm" && type !== "text/typescript")
    throw new HallelujahError("media-type", "a kernel is sent as application/wasm or text/typescript");
  const body = await bodyOf(c);
  return type === "application/wasm"
    ? { kind: "wasm", bytes: body }
    : { kind: "source", text: body.toString("utf8") };
}

export async function bodyOf(c: Context<Env>): Promise<Buffer> {
  const { chunks, bytes } = await receive(c.env.incoming);
  received(bytes);
  return Buffer.concat(chunks);
}

/** Aborted when the client leaves before its answer is written. */
export function leaving(client: Env["Bindings"]["outgoing"]): AbortSignal {
  const left = new AbortController();
  client.once("close", () => left.abort(new HallelujahError("aborted", "the client has left")));
  return left.signal;
}

/** Without the members that are undefined. */
export function defined<T extends object>(from: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(from).filter(([, value]) => value !== undefined)) as never;
}

export function isHead(c: Context<Env>): boolean {
  return c.req.raw.method === "HEAD";
}

export function badRequest({ issues }: z.ZodError): HallelujahError {
  const [{ path, message }] = issues;
  return new HallelujahError("bad-request", path.length ? `${path.join(".")}: ${message}` : message);
}

/** The first of `types` that the client takes, by its own preference. Throws `not-acceptable`. */
export function choose(accept: string | undefined, types: string[]): string {
  const wanted = (accept ?? "*/*")
    .split(",")
    .map((part) => {
      const [type, ...parameters] = part.trim().toLowerCase().split(";");
      const quality = parameters
        .map((parameter) => /^\s*q=([\d.]+)/.exec(parameter)?.[1])
        .find((q) => q !== undefined);
      return {
        type: type === "application/ndjson" ? "application/x-ndjson" : type,
        quality: Number(quality ?? 1),
      };
    })
    .filter(({ quality }) => quality > 0)
    .toSorted((a, b) => b.quality - a.quality);
  for (const { type } of wanted) {
    const found = types.find((each) => type === "*/*" || type === each || type === `${each.split("/")[0]}/*`);
    if (found) return found;
  }
  throw new HallelujahError("not-acceptable", `this comes as ${types.join(", ")}`);
}
