/** The server's routes and its OpenAPI document say the same, and the token guards all of them. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { createRoutes } from "../../host/hallelu/api/routes.ts";
import { serve, type Serving } from "../../host/hallelu/api/server.ts";
import { Problem } from "../../host/wire/http.ts";
import { fakeHost } from "./fake-host.ts";

const test = suite("host/hallelu/api: routes and their document");

interface Operation {
  summary?: string;
  parameters?: { name: string; in: string; required?: boolean; schema: object }[];
  requestBody?: { content: Record<string, { schema: object }> };
  responses: Record<string, { description?: string; content?: Record<string, { schema: object }> }>;
}
interface Document {
  openapi: string;
  info: { title: string; version: string };
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, object> };
}

const TOKEN = "a-long-token";
const journal = { error: () => {} };
let server: Serving;
let guarded: Serving;
let document: Document;
test.before(async () => {
  server = await serve(fakeHost([]), { host: "127.0.0.1", port: 0 }, { journal });
  guarded = await serve(fakeHost([]), { host: "127.0.0.1", port: 0 }, { journal, token: TOKEN });
  document = (await (await fetch(`${server.url}/openapi.json`)).json()) as Document;
});
test.after(() => {
  server.close();
  guarded.close();
});

const operations = () =>
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  );

/** Calls an operation with names in place of its parameters, and as much of a request as it needs to be understood. */
async function call(
  { url }: Serving,
  { path, method, operation }: ReturnType<typeof operations>[number],
  headers: Record<string, string> = {},
): Promise<Response> {
  const stop = new AbortController();
  const type = Object.keys(operation.requestBody?.content ?? {})[0];
  const response = await fetch(
    url + path.replace("{name}", "weather").replace("{table}", "stations").replace("{frame}", "1"),
    {
      method: method.toUpperCase(),
      headers: { ...headers, ...(type ? { "content-type": type } : {}) },
      ...(type ? { body: "{}" } : {}),
      signal: stop.signal,
    },
  );
  stop.abort(); // some answers have no end
  return response;
}

test("every route is in the document, and everything in the document is a route", async () => {
  const routes = createRoutes(fakeHost([]), () => {})
    .routes.filter(({ method }) => method !== "ALL")
    .map(({ method, path }) => `${method.toLowerCase()} ${path.replaceAll(/:(\w+)/g, "{$1}")}`);
  // Taken before it comes to the routes.
  routes.push("post /v1/streams/{name}/records");
  assert.equal(
    operations()
      .map(({ path, method }) => `${method} ${path}`)
      .toSorted(),
    [...new Set(routes)].toSorted(),
  );
  for (const operation of operations()) {
    const { status } = await call(server, operation);
    assert.ok(status < 300 || status === 501, `${operation.method} ${operation.path}: ${status}`);
  }
});

test("the document is OpenAPI 3.1: names, parameters, answers and references are in order", () => {
  assert.match(document.openapi, /^3\.1\.\d+$/);
  assert.ok(document.info.title && document.info.version);
  for (const { path, method, operation } of operations()) {
    const where = `${method} ${path}`;
    assert.ok(operation.summary, where);
    const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
    const parameters = operation.parameters ?? [];
    assert.equal(
      parameters.filter((parameter) => parameter.in === "path").map(({ name }) => name),
      inPath,
      where,
    );
    assert.is(new Set(parameters.map(({ name, in: place }) => `${place} ${name}`)).size, parameters.length);
    for (const parameter of parameters) {
      assert.ok(["path", "query", "header"].includes(parameter.in), where);
      assert.ok(parameter.schema, `${where}: ${parameter.name}`);
      if (parameter.in === "path") assert.is(parameter.required, true, where);
    }
    for (const [status, response] of Object.entries(operation.responses)) {
      assert.match(status, /^(default|[1-5]\d\d)$/, where);
      assert.ok(response.description, `${where}: ${status}`);
      for (const { schema } of Object.values(response.content ?? {})) assert.ok(schema, where);
    }
    assert.ok(operation.responses.default?.content?.["application/problem+json"], where);
    assert.ok(
      Object.keys(operation.responses).some((status) => /^[25]/.test(status)),
      where,
    );
  }
  const references = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map(([, name]) => name);
  assert.ok(references.length);
  for (const reference of references) {
    const name = /^#\/components\/schemas\/(\w+)$/.exec(reference)?.[1];
    assert.ok(name && name in document.components.schemas, reference);
  }
});

/** What tells nothing of the host. */
const OPEN = ["/healthz", "/", "/dashboard.js", "/dashboard.css"];

test("with a token every route needs it, but for a sign of life and the files of the dashboard", async () => {
  for (const operation of operations()) {
    const where = `${operation.method} ${operation.path}`;
    const wrong = [
      {},
      { authorization: "Bearer a-long-tokem" }, // as long
      { authorization: "Bearer a-long-toke" },
      { authorization: "Bearer " },
      { authorization: TOKEN },
      { authorization: `Basic ${TOKEN}` },
    ];
    for (const headers of wrong) {
      const response = await call(guarded, operation, headers as Record<string, string>);
      assert.is(response.status === 401, !OPEN.includes(operation.path), where);
    }
    const { status } = await call(guarded, operation, { authorization: `Bearer ${TOKEN}` });
    assert.ok(status < 300 || status === 501, `${where}: ${status}`);
  }
  // What is not there is not told from what is.
  assert.is((await fetch(`${guarded.url}/v1/nothing`)).status, 401);
});

test("what a method does not do is said of every path", async () => {
  for (const path of Object.keys(document.paths)) {
    const response = await fetch(
      server.url + path.replace("{name}", "weather").replace("{table}", "stations"),
      { method: "OPTIONS" },
    );
    assert.is(response.status, 405, path);
    assert.is(Problem.parse(await response.json()).code, "method-not-allowed");
    const allowed = response.headers.get("allow")!.toLowerCase().split(", ").toSorted();
    assert.equal(allowed, Object.keys(document.paths[path]).toSorted(), path);
  }
});

test.run();
