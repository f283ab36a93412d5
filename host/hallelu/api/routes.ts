/** Every call of the HTTP interface but the one that pushes records (push.ts), a file for each kind of thing that is called. */
import { OpenAPIHono } from "@hono/zod-openapi";
import { HallelujahError } from "../../core/errors.ts";
import type { Host } from "../host.ts";
import { Calls, type Env } from "./calls.ts";
import { deadLetterRoutes } from "./dead-letter-routes.ts";
import { hostRoutes } from "./host-routes.ts";
import { problem, problemOf, respond } from "./problem.ts";
import { badRequest, isHead } from "./request.ts";
import { rowRoutes } from "./row-routes.ts";
import { streamRoutes } from "./stream-routes.ts";
import { visitRoutes } from "./visit-routes.ts";

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

  const calls = new Calls(app, host, report);
  streamRoutes(calls);
  rowRoutes(calls);
  deadLetterRoutes(calls);
  visitRoutes(calls, wasmVisits);
  hostRoutes(calls);
  calls.refuseOtherMethods();
  return app;
}

/** Hono's own errors are the client's. */
function clientError(error: unknown): unknown {
  const { status } = error as { status?: number };
  if (error instanceof HallelujahError || status === undefined || status >= 500) return error;
  return new HallelujahError("bad-request", (error as Error).message || "the request is malformed");
}
