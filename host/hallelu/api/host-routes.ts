/** The host itself: how it and its Jahs stand, its log, backups, metrics, what describes this interface, and pages for browsers. */
import { type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Handler } from "hono";
import { sdkVersion } from "../../core/version.ts";
import * as schema from "../../wire/http.ts";
import { bodyOfChunks } from "./body.ts";
import { type Calls, type Env, json } from "./calls.ts";
import { metricsText } from "./metrics.ts";
import { page, PAGES } from "./pages.ts";
import { isHead } from "./request.ts";

/** Adds them to the interface. */
export function hostRoutes(calls: Calls): void {
  const { app, host, report } = calls;

  app.openapi(
    calls.route({
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
    calls.route({
      method: "get",
      path: "/v1/host",
      summary: "This host",
      responses: { 200: json("the host", schema.HostInfo) },
    }),
    (c) => c.json(host.host(), 200),
  );

  app.openapi(
    calls.route({
      method: "get",
      path: "/v1/hosts",
      summary: "The hosts of its cluster; itself alone where there is none",
      responses: { 200: json("hosts, by name", z.array(schema.ClusterHostInfo)) },
    }),
    (c) => c.json(host.hosts(), 200),
  );

  app.openapi(
    calls.route({
      method: "get",
      path: "/v1/jahs",
      summary: "Its Jahs",
      responses: { 200: json("Jahs", z.array(schema.JahInfo)) },
    }),
    (c) => c.json(host.jahs(), 200),
  );

  app.openapi(
    calls.route({
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
    calls.describe(
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
}

function document(app: OpenAPIHono<Env>): object {
  const description =
    "Kernels over streams of records. Errors are problem documents (RFC 9457) with a stable code. With a token, every call carries Authorization: Bearer.";
  return app.getOpenAPI31Document({
    openapi: "3.1.0",
    info: { title: "Hallelujah", version: sdkVersion(), description },
  });
}
