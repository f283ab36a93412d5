/** The HTTP interface as its calls are added to it, each with the schemas that check and describe it. */
import type { HttpBindings } from "@hono/node-server";
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Handler } from "hono";
import * as schema from "../../wire/http.ts";
import type { Host } from "../host.ts";
import { problem, respond } from "./problem.ts";

export type Env = { Bindings: HttpBindings };

/** The stream, in a path. */
export const NAME = z.object({ name: z.string().openapi({ param: { name: "name", in: "path" } }) });

const JSON_ERRORS = {
  default: {
    description: "what went wrong",
    content: { "application/problem+json": { schema: schema.Problem } },
  },
};

/** An answer in JSON. */
export const json = <S extends z.ZodType>(description: string, body: S) => ({
  description,
  content: { "application/json": { schema: body } },
});

export class Calls {
  readonly app: OpenAPIHono<Env>;
  readonly host: Host;
  /** Hears of errors that nobody foresaw. */
  readonly report: (id: string, error: unknown) => void;
  private readonly paths = new Set<string>();

  constructor(app: OpenAPIHono<Env>, host: Host, report: (id: string, error: unknown) => void) {
    this.app = app;
    this.host = host;
    this.report = report;
  }

  /** A route, for `app.openapi`. */
  route<R extends Parameters<typeof createRoute>[0]>(definition: R) {
    this.paths.add(pathOf(definition));
    return createRoute({ ...definition, responses: { ...definition.responses, ...JSON_ERRORS } } as R);
  }

  /** A route whose request is not checked by its schemas. */
  describe(definition: Parameters<typeof createRoute>[0], answer?: Handler<Env>): void {
    this.app.openAPIRegistry.registerPath(this.route(definition));
    if (answer) this.app.on(definition.method.toUpperCase(), pathOf(definition), answer);
  }

  /** What is there, but not for this method; called when all routes are there. */
  refuseOtherMethods(): void {
    const { app } = this;
    for (const path of this.paths) {
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
  }
}

function pathOf({ path }: { path: string }): string {
  return path.replaceAll(/\{(\w+)\}/g, ":$1");
}
