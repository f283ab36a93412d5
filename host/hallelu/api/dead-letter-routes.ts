/** Dead letters of a stream: listed, read, logged again, dropped. */
import { z } from "@hono/zod-openapi";
import * as schema from "../../wire/http.ts";
import { type Calls, json, NAME } from "./calls.ts";

const DEAD = NAME.extend({
  frame: z
    .string()
    .regex(/^\d{1,15}$/, "the number of a frame")
    .transform(Number),
});

/** Adds them to the interface. */
export function deadLetterRoutes(calls: Calls): void {
  const { app, host } = calls;

  app.openapi(
    calls.route({
      method: "get",
      path: "/v1/streams/{name}/dead",
      summary: "Dead letters: frames that stopped the kernel twice and were set aside",
      request: { params: NAME },
      responses: { 200: json("by frame", z.array(schema.DeadLetterInfo)) },
    }),
    (c) => c.json(host.deadLetters(c.req.valid("param").name), 200),
  );

  app.openapi(
    calls.route({
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
    calls.route({
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
    calls.route({
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
}
