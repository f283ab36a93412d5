/** Records that go into a stream, and rows that come out: of its tables, and as they are emitted. */
import { z } from "@hono/zod-openapi";
import * as schema from "../../wire/http.ts";
import { begun } from "./body.ts";
import { type Calls, json, NAME } from "./calls.ts";
import { eventStream, lineStream } from "./output.ts";
import { choose, isHead, ROW_TYPES } from "./request.ts";

export const tableQuery = z.object({
  key: z.string().optional().describe("one row: a text as it is; JSON for tuples and booleans"),
  order: z
    .string()
    .optional()
    .describe("key, or a field such as temperature.mean; with - in front, the largest first"),
  limit: z.coerce
    .number()
    .int()
    .min(0)
    .max(2 ** 31)
    .optional(),
});

/** Adds them to the interface. */
export function rowRoutes(calls: Calls): void {
  const { app, host, report } = calls;

  // Taken by push.ts before it comes here.
  calls.describe({
    method: "post",
    path: "/v1/streams/{name}/records",
    summary: "Push records; answers when they are in the log",
    request: {
      params: NAME,
      query: z.object({
        delimiter: z.string().optional(),
        columns: z.string().optional(),
        end: z
          .enum(["true", "false"])
          .optional()
          .describe("no more records will be pushed: windows close, as at the end of a file"),
      }),
      headers: z.object({
        "hallelujah-producer": z.string().optional(),
        "hallelujah-sequence": z
          .string()
          .optional()
          .describe("of this body: first 0 or 1, then one more each time"),
      }),
      body: {
        content: {
          "application/x-ndjson": { schema: z.string() },
          "text/csv": { schema: z.string() },
          "text/plain": { schema: z.string() },
        },
      },
    },
    responses: { 200: json("they are logged", schema.Pushed) },
  });

  app.openapi(
    calls.route({
      method: "get",
      path: "/v1/streams/{name}/tables/{table}",
      summary: "Rows of a table, as of one frame (Hallelujah-Frame); NDJSON, CSV or JSON by Accept",
      request: { params: NAME.extend({ table: z.string() }), query: tableQuery },
      responses: {
        200: {
          description: "rows, sorted by key unless ordered otherwise",
          content: {
            "application/x-ndjson": { schema: z.string() },
            "text/csv": { schema: z.string() },
            "application/json": { schema: z.array(z.object({ table: z.string() }).loose()) },
          },
        },
      },
    }),
    async (c) => {
      const { name, table } = c.req.valid("param");
      const { key, order, limit } = c.req.valid("query");
      const type = choose(c.req.header("accept"), Object.keys(ROW_TYPES)) as keyof typeof ROW_TYPES;
      const answer = await host.query(name, {
        table,
        format: ROW_TYPES[type],
        ...(key === undefined ? {} : { key }),
        ...(order === undefined ? {} : { order }),
        ...(limit === undefined ? {} : { limit }),
      });
      return new Response(await begun(answer.rows, c.env.outgoing, report), {
        headers: { "content-type": type, "hallelujah-frame": String(answer.frame) },
      });
    },
  );

  app.openapi(
    calls.route({
      method: "get",
      path: "/v1/streams/{name}/output",
      summary: "Subscribe: server-sent events or NDJSON by Accept, from a row's number on (inclusive)",
      request: {
        params: NAME,
        query: z.object({
          from: z.coerce.number().int().min(0).optional(),
          name: z.enum(["late"]).optional().describe("late: what the kernel's function `late` emits"),
        }),
      },
      responses: {
        200: {
          description: "rows as they come",
          content: {
            "text/event-stream": { schema: z.string() },
            "application/x-ndjson": { schema: z.string() },
          },
        },
      },
    }),
    async (c) => {
      const type = choose(c.req.header("accept"), ["application/x-ndjson", "text/event-stream"]);
      const last = c.req.header("last-event-id");
      const from =
        c.req.valid("query").from ?? (last && /^\d{1,15}$/.test(last) ? Number(last) + 1 : undefined);
      const { signal } = c.req.raw;
      const rows = host.output(c.req.valid("param").name, {
        signal,
        late: c.req.valid("query").name === "late",
        ...(from === undefined ? {} : { from }),
      });
      const stream = type === "text/event-stream" ? eventStream : lineStream;
      return new Response(isHead(c) ? null : stream(rows, signal), {
        headers: { "content-type": type, "cache-control": "no-store" },
      });
    },
  );
}
