/** Streams: deployed, swapped, reprocessed, listed, changed, removed. */
import { z } from "@hono/zod-openapi";
import { HallelujahError, messageOf } from "../../core/errors.ts";
import { RETAIN_WORDS } from "../../core/retain.ts";
import { VIA } from "../../wire/headers.ts";
import * as schema from "../../wire/http.ts";
import type { Host } from "../host.ts";
import { type Calls, json, NAME } from "./calls.ts";
import { badRequest, bodyOf, defined, kernelOf } from "./request.ts";

const COUNT = z.coerce.number().int().min(0).max(4096);

const deployQuery = z.object({
  min: COUNT.optional(),
  max: COUNT.optional(),
  retain: z.string().optional().describe(RETAIN_WORDS),
  strict: z
    .enum(["true", "false"])
    .optional()
    .describe("a frame that stops the kernel stops the stream, rather than that it is set aside"),
  from: z
    .string()
    .optional()
    .describe("another stream, whose output this one takes in, or its records if it has none"),
  share: z
    .enum(["true", "false"])
    .optional()
    .describe("this stream shares the records of `from`, though that has an output"),
  host: z
    .string()
    .optional()
    .describe(
      "the host of the cluster that a new stream is on; else that of `from`, or the one with the most room",
    ),
  source: z
    .union([z.string(), z.array(z.string())])
    .optional()
    .describe("files of this host, or URLs; may be repeated"),
  inputFormat: z
    .enum(["csv", "ndjson", "lines", "parquet", "arrow"])
    .optional()
    .describe("of the sources, if name and content do not tell"),
  sink: z
    .union([z.string(), z.array(z.string())])
    .optional()
    .describe("a file of this host, or a URL, for the output; may be repeated"),
  file: z.string().max(255).optional().describe("name of the kernel's file, for messages"),
  to: z.coerce
    .number()
    .int()
    .min(1)
    .optional()
    .describe("a version that the stream has had, in place of a body"),
  reprocess: z
    .enum(["true", "false"])
    .optional()
    .describe(
      "the kernel takes in all records again, beside the one that runs, and takes over when it has caught up; `from` may be `oldest`: what the log has",
    ),
  "dry-run": z.enum(["true", "false"]).optional().describe("say what a swap would do, and do nothing"),
});

/** Adds them to the interface. */
export function streamRoutes(calls: Calls): void {
  const { app, host } = calls;

  app.openapi(
    calls.route({
      method: "put",
      path: "/v1/streams/{name}",
      summary:
        "Deploy a kernel: a module, or source that is compiled here; on a stream that is there, swap it",
      request: {
        params: NAME,
        headers: z.object({
          "if-none-match": z.literal("*").optional().describe("deploy only: the stream must not be there"),
          "if-match": z.literal("*").optional().describe("swap only: the stream must be there"),
        }),
        query: deployQuery,
        body: {
          content: {
            "application/wasm": { schema: z.string().openapi({ format: "binary" }) },
            "text/typescript": { schema: z.string() },
          },
        },
      },
      responses: {
        201: json("deployed", schema.StreamInfo),
        202: json("the reprocess has begun", schema.StreamInfo),
        200: json(
          "swapped: all shards are of the new kernel; or what a swap would do",
          z.union([schema.StreamInfo, schema.SwapPlan]),
        ),
      },
    }),
    async (c) => {
      const { min, max, from, share, source, inputFormat, sink, file, retain, strict, to } =
        c.req.valid("query");
      refuseIfElsewhere(host, c.req.valid("query").host);
      const { name } = c.req.valid("param");
      const kernel = to === undefined ? await kernelOf(c) : ({ kind: "version", version: to } as const);
      const expect = c.req.header("if-none-match") ? "new" : c.req.header("if-match") ? "there" : undefined;
      if (c.req.valid("query").reprocess === "true") {
        const options = { max, oldest: from === "oldest", file };
        const others = unfit(c.req.valid("query"));
        if (others.length)
          throw new HallelujahError(
            "reprocess-invalid",
            `a reprocess replaces the kernel alone, and takes no ${others.join(", ")}`,
          );
        return c.json(await host.reprocess(name, { kernel, ...defined(options) }), 202);
      }
      if (c.req.valid("query")["dry-run"] === "true")
        return c.json(await host.planSwap(name, { kernel, ...(file === undefined ? {} : { file }) }), 200);
      const { created, stream } = await host.deploy(name, {
        kernel,
        ...(expect === undefined ? {} : { expect }),
        ...(file === undefined ? {} : { file }),
        ...(min === undefined ? {} : { min }),
        ...(max === undefined ? {} : { max }),
        ...(from === undefined ? {} : { from }),
        ...(retain === undefined ? {} : { retain }),
        strict: strict === "true",
        share: share === "true",
        ...(source === undefined ? {} : { source: [source].flat() }),
        ...(inputFormat === undefined ? {} : { inputFormat }),
        ...(sink === undefined ? {} : { sink: [sink].flat() }),
      });
      return c.json(stream, created ? 201 : 200);
    },
  );

  app.openapi(
    calls.route({
      method: "get",
      path: "/v1/streams/{name}/versions",
      summary: "The versions of a stream's kernel",
      request: { params: NAME },
      responses: { 200: json("the oldest first", z.array(schema.VersionInfo)) },
    }),
    (c) => c.json(host.versions(c.req.valid("param").name), 200),
  );

  app.openapi(
    calls.route({
      method: "get",
      path: "/v1/streams",
      summary: "All streams",
      responses: { 200: json("streams by name", z.array(schema.StreamInfo)) },
    }),
    async (c) => c.json(c.req.header(VIA) === undefined ? await host.allStreams() : host.streams(), 200),
  );

  app.openapi(
    calls.route({
      method: "get",
      path: "/v1/streams/{name}",
      summary: "How a stream stands",
      request: { params: NAME },
      responses: { 200: json("the stream", schema.StreamInfo) },
    }),
    (c) => c.json(host.stream(c.req.valid("param").name), 200),
  );

  calls.describe(
    {
      method: "patch",
      path: "/v1/streams/{name}",
      summary: "Change a stream's capacity, or pause it",
      request: {
        params: NAME,
        body: { required: true, content: { "application/json": { schema: schema.StreamChange } } },
      },
      responses: { 200: json("the stream as it is then", schema.StreamInfo) },
    },
    async (c) => {
      if (!/^application\/json\b/i.test(c.req.header("content-type") ?? ""))
        throw new HallelujahError("media-type", "a change is sent as application/json");
      return c.json(await host.change(c.req.param("name")!, changeOf(await bodyOf(c))));
    },
  );

  app.openapi(
    calls.route({
      method: "delete",
      path: "/v1/streams/{name}",
      summary: "Stop a stream and erase it",
      request: {
        params: NAME,
        query: z.object({
          keep: z.literal("data").optional(),
          reprocess: z.literal("true").optional().describe("end its reprocess, and nothing else"),
        }),
      },
      responses: { 204: { description: "it is gone" } },
    }),
    async (c) => {
      if (c.req.valid("query").reprocess) {
        await host.cancelReprocess(c.req.valid("param").name);
        return c.body(null, 204);
      }
      await host.remove(c.req.valid("param").name, { keepData: c.req.valid("query").keep === "data" });
      return c.body(null, 204);
    },
  );
}

/** A stream that is to be on another host would have been deployed there. Throws `host-lost`. */
function refuseIfElsewhere(host: Host, wanted: string | undefined): void {
  if (wanted === undefined || host.hosts().some(({ name, isSelf }) => isSelf && name === wanted)) return;
  const message = `there is no host ${JSON.stringify(wanted.slice(0, 80))} in this cluster; hallelujah hosts lists them`;
  throw new HallelujahError("host-lost", message);
}

/** What a reprocess does not take of the options of a deploy. */
function unfit({
  reprocess: _reprocess,
  max: _max,
  file: _file,
  to: _to,
  from,
  ...others
}: z.infer<typeof deployQuery>): string[] {
  const given = { ...others, ...(from === "oldest" ? {} : { from }) };
  return Object.entries(given).flatMap(([name, value]) => (value === undefined ? [] : [name]));
}

/** What a PATCH asks for. Throws `bad-request`. */
function changeOf(body: Buffer): schema.StreamChange {
  let given: unknown;
  try {
    given = JSON.parse(body.toString());
  } catch (cause) {
    throw new HallelujahError("bad-request", `the body is no JSON: ${messageOf(cause)}`, { cause });
  }
  const { data, error } = schema.StreamChange.safeParse(given);
  if (error) throw badRequest(error);
  return data;
}
