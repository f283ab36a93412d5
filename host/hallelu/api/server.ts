/** The HTTP server of a host: guards, limits, and two ways behind them, records straight to their stream, the rest by routes. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { getRequestListener, RequestError } from "@hono/node-server";
import { HallelujahError, messageOf } from "../../core/errors.ts";
import { HEADER_BYTES_MAX, HEADERS_TIMEOUT_MS, KEEP_ALIVE_MS, PORT_PATIENCE_MS } from "../../core/limits.ts";
import { HOSTS } from "../../wire/headers.ts";
import type { Host } from "../host.ts";
import { Connections, connectionsMax } from "./connections.ts";
import type { Forwarding } from "./forward.ts";
import { Guard } from "./guard.ts";
import { PAGES } from "./pages.ts";
import { problem, problemOf, respond } from "./problem.ts";
import { isPush, push } from "./push.ts";
import { refuse } from "./refuse.ts";
import { createRoutes } from "./routes.ts";

export interface ServeOptions {
  token?: string;
  /** Whether a visiting kernel may come as Wasm: such a module can do to the stream's state what it likes. */
  wasmVisits?: boolean;
  /** What leads calls to other hosts, where there are any. */
  forwarding?: Forwarding;
  journal: { error(more: object, message: string): void };
}

export interface Serving {
  url: string;
  /** Takes no more calls, and ends those that go on for ever. */
  close(): void;
}

/** Serves a host. Rejects with `port-taken` or `listen-failed`. */
export async function serve(
  host: Host,
  listen: { host: string; port: number },
  { token, wasmVisits = false, forwarding, journal }: ServeOptions,
): Promise<Serving> {
  const report = (id: string, error: unknown) =>
    journal.error({ id, stack: (error as Error).stack }, `a call failed: ${messageOf(error)}`);
  const guard = new Guard(token, listen.host);
  const routes = getRequestListener(createRoutes(host, report, wasmVisits).fetch, {
    overrideGlobalObjects: false,
    errorHandler: (error) => respond(problemOf(asClients(error), report)),
  });
  const server = createServer(
    {
      maxHeaderSize: HEADER_BYTES_MAX,
      headersTimeout: HEADERS_TIMEOUT_MS,
      // Bodies are watched by push.ts: long ones are fine as long as something comes.
      requestTimeout: 0,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connectionsCheckingInterval: 1000,
      noDelay: true,
    },
    (request, response) => {
      connections.begin(request, response);
      try {
        if (request.url !== "/healthz" && !PAGES.has(request.url!)) guard.check(request);
        if (forwarding) response.setHeader(HOSTS, forwarding.hosts);
        const refused = (error: unknown) => refuse(error, request, response, report);
        const serve = async () => {
          const elsewhere = forwarding?.target(request);
          if (elsewhere) await forwarding!.forward(elsewhere, request, response);
          else if (isPush(request)) await push(host, request, response);
          else void routes(request, response);
        };
        const doubt = forwarding?.doubt(request);
        if (!doubt) serve().catch(refused);
        else
          doubt
            .then((age) => {
              if (age) response.setHeader("age", age);
              return serve();
            })
            .catch(refused);
      } catch (error) {
        refuse(error, request, response, report);
      }
    },
  );
  const connections = new Connections(server, connectionsMax());
  server.on("clientError", answerBroken);
  await bind(server, listen);
  const { port } = server.address() as AddressInfo;
  const name = listen.host.includes(":") ? `[${listen.host}]` : listen.host;
  return {
    url: `http://${name}:${port}`,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** A request that names nothing (RFC 3986) is its client's mistake. */
function asClients(error: unknown): unknown {
  if (!(error instanceof RequestError)) return error;
  return new HallelujahError("bad-request", `the request's host or path is malformed: ${error.message}`);
}

/** What is no HTTP, or comes too slowly. */
function answerBroken(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === "ECONNRESET" || !socket.writable) return void socket.destroy();
  const code =
    error.code === "HPE_HEADER_OVERFLOW"
      ? "headers-too-large"
      : error.code === "ERR_HTTP_REQUEST_TIMEOUT"
        ? "request-timeout"
        : "bad-request";
  const { status, headers, body } = problem(
    code,
    `the request is no HTTP that this host understands (${error.code})`,
  );
  const lines = Object.entries({ ...headers, connection: "close" }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  );
  socket.end(`HTTP/1.1 ${status} Refused\r\n${lines.join("")}\r\n${body}`);
}

/** Listens; a port that a predecessor is about to leave is waited for. */
async function bind(server: Server, { host, port }: { host: string; port: number }): Promise<void> {
  for (const deadline = Date.now() + PORT_PATIENCE_MS; ; await new Promise((done) => setTimeout(done, 100))) {
    server.listen(port, host);
    try {
      await once(server, "listening");
      return;
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      if (code === "EADDRINUSE" && Date.now() < deadline) continue;
      if (code === "EADDRINUSE") {
        const message = `port ${port} of ${host} is taken; is another host up? Choose another one with --listen ${host}:PORT`;
        throw new HallelujahError("port-taken", message, { cause });
      }
      const message = `this host cannot listen at ${host}:${port}: ${messageOf(cause)}`;
      throw new HallelujahError("listen-failed", message, { cause });
    }
  }
}
