/** Every call of the HTTP interface but the one that pushes records, each with the schemas that check and describe it. */
import type { HttpBindings } from "@hono/node-server";
import { createRoute, OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context, Handler } from "hono";
import { HallelujahError, messageOf } from "../../core/errors.ts";
import { RETAIN_WORDS } from "../../core/retain.ts";
import { sdkVersion } from "../../core/version.ts";
import * as schema from "../../wire/http.ts";
import type { DeployRequest, Host, VisitRequest } from "../host.ts";
import { begun, bodyOfChunks } from "./body.ts";
import { metricsText } from "./metrics.ts";
import { eventStream, lineStream } from "./output.ts";
import { resultLines } from "./results.ts";
import { page, PAGES } from "./pages.ts";
import { problem, problemOf, respond } from "./problem.ts";
import { receive, received } from "./push.ts";

type Env = { Bindings: HttpBindings };

const NAME = z.object({ name: z.string().openapi({ param: { name: "name", in: "path" } }) });
const DEAD = NAME.extend({
  frame: z
    .string()
    .regex(/^\d{1,15}$/, "the number of a frame")
    .transform(Number),
});
const COUNT = z.coerce.number().int().min(0).max(4096);
const JSON_ERRORS = {
  default: {
    description: "what went wrong",
    content: { "application/problem+json": { schema: schema.Problem } },
  },
};

const json = <S extends z.ZodType>(description: string, body: S) => ({
  description,
  content: { "application/json": { schema: body } },
});

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

const tableQuery = z.object({
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

const ROW_TYPES = {
  "application/x-ndjson": "ndjson",
  "text/csv": "csv",
  "application/json": "json",
} as const;

/** The application. `report` hears of errors that nobody foresaw. */
export function createRoutes(
  host: Host,
  report: (id: string, error: unknown) => void,
  wasmVisits = false,
): OpenAPIHono<Env> {
  const app = new OpenAPIHono<Env>({
    defaultHook: (result) => {
      if (!result.success) throw badRequest(result.error);
    },
  });
  app.onError((error) => respond(problemOf(clientError(error), report)));
  app.notFound(({ req }) =>
    respond(problem("not-found", `there is nothing at ${req.path}; /openapi.json lists what there is`)),
  );

  // Whoever asks for the headers alone takes no rows, and shards must not wait for that.
  app.use(async (c, next) => {
    await next();
    if (isHead(c)) void c.res.body?.cancel();
  });

  const ok = new Set<string>();
  const pathOf = ({ path }: { path: string }) => path.replaceAll(/\{(\w+)\}/g, ":$1");
  const route = <R extends Parameters<typeof createRoute>[0]>(definition: R) => {
    ok.add(pathOf(definition));
    return createRoute({ ...definition, responses: { ...definition.responses, ...JSON_ERRORS } } as R);
  };
  /** A route whose request is not checked by its schemas. */
  const describe = (definition: Parameters<typeof createRoute>[0], answer?: Handler<Env>) => {
    app.openAPIRegistry.registerPath(route(definition));
    if (answer) app.on(definition.method.toUpperCase(), pathOf(definition), answer);
  };

  app.openapi(
    route({
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
    route({
      method: "get",
      path: "/v1/streams/{name}/versions",
      summary: "The versions of a stream's kernel",
      request: { params: NAME },
      responses: { 200: json("the oldest first", z.array(schema.VersionInfo)) },
    }),
    (c) => c.json(host.versions(c.req.valid("param").name), 200),
  );

  app.openapi(
    route({
      method: "get",
      path: "/v1/streams",
      summary: "All streams",
      responses: { 200: json("streams by name", z.array(schema.StreamInfo)) },
    }),
    (c) => c.json(host.streams(), 200),
  );

  app.openapi(
    route({
      method: "get",
      path: "/v1/streams/{name}",
      summary: "How a stream stands",
      request: { params: NAME },
      responses: { 200: json("the stream", schema.StreamInfo) },
    }),
    (c) => c.json(host.stream(c.req.valid("param").name), 200),
  );

  describe(
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
    route({
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

  // Taken by push.ts before it comes here.
  describe({
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
    route({
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
    route({
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

  app.openapi(
    route({
      method: "get",
      path: "/v1/streams/{name}/dead",
      summary: "Dead letters: frames that stopped the kernel twice and were set aside",
      request: { params: NAME },
      responses: { 200: json("by frame", z.array(schema.DeadLetterInfo)) },
    }),
    (c) => c.json(host.deadLetters(c.req.valid("param").name), 200),
  );

  app.openapi(
    route({
      method: "get",
      path: "/v1/streams/{name}/dead/{frame}",
      summary: "The records of a dead letter, as they were logged: without a CSV's header line",
      request: { params: DEAD },
      responses: {
        200: {
          description: "its bytes",
          content: { "application/octet-stream": { schema: z.string().openapi({ format: "binary" }) } },
        },
      },
    }),
    async (c) => {
      const { name, frame } = c.req.valid("param");
      const bytes = await host.deadLetter(name, frame);
      return c.body(new Uint8Array(bytes), 200, { "content-type": "application/octet-stream" });
    },
  );

  app.openapi(
    route({
      method: "post",
      path: "/v1/streams/{name}/dead/{frame}/retry",
      summary: "Log the records of a dead letter again, as a new frame; it is none any more",
      request: { params: DEAD },
      responses: { 200: json("they are logged", schema.Pushed) },
    }),
    async (c) => {
      const { name, frame } = c.req.valid("param");
      return c.json(await host.retryDeadLetter(name, frame), 200);
    },
  );

  app.openapi(
    route({
      method: "delete",
      path: "/v1/streams/{name}/dead/{frame}",
      summary: "Drop a dead letter and its records",
      request: { params: DEAD },
      responses: { 204: { description: "it is gone" } },
    }),
    async (c) => {
      const { name, frame } = c.req.valid("param");
      await host.dropDeadLetter(name, frame);
      return c.body(null, 204);
    },
  );

  app.openapi(
    route({
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

  app.openapi(
    route({
      method: "post",
      path: "/v1/backup",
      summary: "A copy of all streams, for hallelujah restore; each rests for a moment",
      responses: {
        200: {
          description: "a tar archive; one that was cut off lacks its last file, backup.json",
          content: { "application/x-tar": { schema: z.string().openapi({ format: "binary" }) } },
        },
      },
    }),
    async (c) =>
      new Response(bodyOfChunks(await host.backup(), c.env.outgoing, report), {
        headers: { "content-type": "application/x-tar" },
      }),
  );

  app.openapi(
    route({
      method: "get",
      path: "/v1/host",
      summary: "This host",
      responses: { 200: json("the host", schema.HostInfo) },
    }),
    (c) => c.json(host.host(), 200),
  );

  app.openapi(
    route({
      method: "get",
      path: "/v1/hosts",
      summary: "The hosts of its cluster; itself alone where there is none",
      responses: { 200: json("hosts, by name", z.array(schema.ClusterHostInfo)) },
    }),
    (c) => c.json(host.hosts(), 200),
  );

  app.openapi(
    route({
      method: "get",
      path: "/v1/jahs",
      summary: "Its Jahs",
      responses: { 200: json("Jahs", z.array(schema.JahInfo)) },
    }),
    (c) => c.json(host.jahs(), 200),
  );

  app.openapi(
    route({
      method: "get",
      path: "/v1/logs",
      summary: "The host's log: JSON lines",
      request: {
        query: z.object({
          stream: z.string().optional(),
          lines: z.coerce.number().int().min(0).max(100_000).default(100),
          follow: z.enum(["true", "false"]).default("false"),
        }),
      },
      responses: { 200: { description: "JSON lines (application/x-ndjson)" } },
    }),
    (c) => {
      const { stream, lines, follow } = c.req.valid("query");
      const { signal } = c.req.raw;
      const text = host.logs({
        lines,
        follow: follow === "true",
        signal,
        ...(stream === undefined ? {} : { stream }),
      });
      return new Response(isHead(c) ? null : bodyOfChunks(text, c.env.outgoing, report), {
        headers: { "content-type": "application/x-ndjson" },
      });
    },
  );

  const plain = (path: string, summary: string, type: string, answer: Handler<Env>) =>
    describe(
      {
        method: "get",
        path,
        summary,
        responses: { 200: { description: summary, content: { [type]: { schema: z.string() } } } },
      },
      answer,
    );
  plain("/metrics", "For Prometheus", "text/plain", async (c) =>
    c.body(await metricsText(host), 200, { "content-type": "text/plain; version=0.0.4; charset=utf-8" }),
  );
  plain("/openapi.json", "This document", "application/json", (c) => c.json(document(app)));
  plain("/healthz", "Whether the host lives; needs no token", "text/plain", (c) => c.text("ok\n"));
  plain("/readyz", "Whether the host serves", "text/plain", (c) => c.text("ok\n"));
  for (const [path, { summary, type }] of PAGES) plain(path, summary, type, () => page(path));

  // What is there, but not for this method.
  for (const path of ok) {
    app.all(path, ({ req }) => {
      const methods = app.routes
        .filter((known) => known.path === path && known.method !== "ALL")
        .map(({ method }) => method);
      if (path.endsWith("/records")) methods.push("POST");
      const allow = [...new Set(methods)].join(", ");
      const found = problem("method-not-allowed", `${req.path} takes ${allow}, not ${req.method}`);
      found.headers.allow = allow;
      return respond(found);
    });
  }
  return app;
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

function document(app: OpenAPIHono<Env>): object {
  const description =
    "Kernels over streams of records. Errors are problem documents (RFC 9457) with a stable code. With a token, every call carries Authorization: Bearer.";
  return app.getOpenAPI31Document({
    openapi: "3.1.0",
    info: { title: "Hallelujah", version: sdkVersion(), description },
  });
}

/** Hono's own errors are the client's. */
function clientError(error: unknown): unknown {
  const { status } = error as { status?: number };
  if (error instanceof HallelujahError || status === undefined || status >= 500) return error;
  return new HallelujahError("bad-request", (error as Error).message || "the request is malformed");
}

/** The kernel of a body. Throws `media-type`. */
async function kernelOf(c: Context<Env>): Promise<DeployRequest["kernel"]> {
  const type = (c.req.header("content-type") ?? "").split(";")[0].trim().toLowerCase();
  if (type !== "application/wasm" && type !== "text/typescript")
    throw new HallelujahError("media-type", "a kernel is sent as application/wasm or text/typescript");
  const body = await bodyOf(c);
  return type === "application/wasm"
    ? { kind: "wasm", bytes: body }
    : { kind: "source", text: body.toString("utf8") };
}

async function bodyOf(c: Context<Env>): Promise<Buffer> {
  const { chunks, bytes } = await receive(c.env.incoming);
  received(bytes);
  return Buffer.concat(chunks);
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

/** Aborted when the client leaves before its answer is written. */
function leaving(client: Env["Bindings"]["outgoing"]): AbortSignal {
  const left = new AbortController();
  client.once("close", () => left.abort(new HallelujahError("aborted", "the client has left")));
  return left.signal;
}

/** Without the members that are undefined. */
function defined<T extends object>(from: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(from).filter(([, value]) => value !== undefined)) as never;
}

function isHead(c: Context<Env>): boolean {
  return c.req.raw.method === "HEAD";
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

function badRequest({ issues }: z.ZodError): HallelujahError {
  const [{ path, message }] = issues;
  return new HallelujahError("bad-request", path.length ? `${path.join(".")}: ${message}` : message);
}

/** The first of `types` that the client takes, by its own preference. Throws `not-acceptable`. */
function choose(accept: string | undefined, types: string[]): string {
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
