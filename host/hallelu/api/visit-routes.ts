/** Visits: a kernel of a client runs over the rows that a stream keeps. */
import { z } from "@hono/zod-openapi";
import { HallelujahError } from "../../core/errors.ts";
import type { VisitRequest } from "../host.ts";
import { begun, bodyOfChunks } from "./body.ts";
import { type Calls, NAME } from "./calls.ts";
import { choose, defined, kernelOf, leaving, ROW_TYPES } from "./request.ts";
import { resultLines } from "./results.ts";
import { tableQuery } from "./row-routes.ts";

const visitQuery = z.object({
  file: z.string().optional().describe("name of the kernel's file, for messages"),
  dataset: z
    .string()
    .optional()
    .describe(
      "which rows: a dataset or a table; not needed where the stream has one dataset, or none and one table",
    ),
  hold: z
    .enum(["true", "false"])
    .default("false")
    .describe("the stream applies nothing meanwhile, so that rows of a large table are as of one frame, too"),
  quick: z
    .enum(["true", "false"])
    .default("false")
    .describe("the kernel is compiled in half the time, and may take twice the time for a row"),
  bounds: z
    .string()
    .optional()
    .describe('JSON: [{"field":"distance","least":500}], as numbers or texts: rows that count lie within'),
  table: z.string().optional().describe("of the visiting kernel; without it all of them, and what it emits"),
  order: tableQuery.shape.order,
  limit: tableQuery.shape.limit,
  timeout: z.coerce.number().int().min(1).optional().describe("ms after which it is given up (60000)"),
  rows: z.coerce.number().int().min(0).optional().describe("refuse where there are more rows than this"),
  follow: z
    .enum(["true", "false"])
    .default("false")
    .describe(
      'NDJSON, a line for each result: {"frame":12,"rows":[...]}; another one when there are more rows',
    ),
});

/** Adds them to the interface; modules are taken only with `wasmVisits`. */
export function visitRoutes(calls: Calls, wasmVisits: boolean): void {
  const { app, host, report } = calls;

  app.openapi(
    calls.route({
      method: "post",
      path: "/v1/streams/{name}/visit",
      summary:
        "Run a kernel over the rows that a stream keeps, or those of a table, as of one frame (Hallelujah-Frame); entries of a large table as of that one or a later one",
      request: {
        params: NAME,
        query: visitQuery,
        body: {
          description: "application/wasm only where the host was started with --allow-wasm-visits",
          content: {
            "text/typescript": { schema: z.string() },
            "application/wasm": { schema: z.string().openapi({ format: "binary" }) },
          },
        },
      },
      responses: {
        200: {
          description: "what the kernel emits, then the rows of its tables",
          content: {
            "application/x-ndjson": { schema: z.string() },
            "text/csv": { schema: z.string() },
            "application/json": { schema: z.array(z.object({}).loose()) },
          },
        },
      },
    }),
    async (c) => {
      const { timeout, rows, bounds, follow, hold, quick, ...asked } = c.req.valid("query");
      const follows = follow === "true";
      const types = follows ? ["application/x-ndjson"] : Object.keys(ROW_TYPES);
      const type = choose(c.req.header("accept"), types) as keyof typeof ROW_TYPES;
      const kernel = await kernelOf(c);
      if (kernel.kind === "version") throw new TypeError("a body has no version");
      if (kernel.kind === "wasm" && !wasmVisits)
        throw new HallelujahError(
          "wasm-visit-refused",
          "this host takes visiting kernels as source only (text/typescript), as a module could change what the stream keeps; send the .ts file, or start the host with --allow-wasm-visits",
        );
      const { name } = c.req.valid("param");
      const request: VisitRequest = {
        kernel,
        format: ROW_TYPES[type],
        signal: leaving(c.env.outgoing),
        hold: hold === "true",
        target: quick === "true" ? "quick-visit" : "visit",
        ...defined(asked),
        ...(bounds === undefined ? {} : { bounds: boundsOf(bounds) }),
        ...(timeout === undefined ? {} : { timeoutMs: timeout }),
        ...(rows === undefined ? {} : { rowsMax: rows }),
      };
      if (follows) {
        const lines = resultLines(await host.follow(name, request), report);
        return new Response(bodyOfChunks(lines, c.env.outgoing, report), {
          headers: { "content-type": type },
        });
      }
      const answer = await host.visit(name, request);
      return new Response(await begun(answer.rows, c.env.outgoing, report), {
        headers: { "content-type": type, "hallelujah-frame": String(answer.frame) },
      });
    },
  );
}

const Limit = z.union([
  z.number(),
  z
    .string()
    .regex(/^-?\d{1,20}$/)
    .transform(BigInt),
]);

const Bounds = z
  .array(z.object({ field: z.string(), least: Limit.optional(), greatest: Limit.optional() }))
  .max(100);

/** Throws `bad-request`. */
function boundsOf(text: string): NonNullable<VisitRequest["bounds"]> {
  try {
    return Bounds.parse(JSON.parse(text)).map(defined) as NonNullable<VisitRequest["bounds"]>;
  } catch (cause) {
    throw new HallelujahError("bad-request", `bounds is no list of fields with their limits`, { cause });
  }
}
