/** What a call gets that comes to nothing, and what becomes of the rest of a body that nobody reads any more. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { LINGER_MS } from "../../core/limits.ts";
import { problemOf } from "./problem.ts";

/** Answers with an error, or breaks the answer off if it has begun. `report` hears of errors that nobody foresaw. */
export function refuse(
  error: unknown,
  request: IncomingMessage,
  response: ServerResponse,
  report: (id: string, error: unknown) => void,
): void {
  if (response.headersSent || response.destroyed) return void response.destroy();
  const { status, headers, body } = problemOf(error, report);
  response.writeHead(status, headers);
  response.end(body);
  dropRest(request);
}

/**
 * Throws away what is still to come of the body of an answered request, so that the next one on its connection is heard. Ends the connection of
 * a client that goes on sending.
 */
export function dropRest(request: IncomingMessage): void {
  // Also where it has come whole: a body that nobody reads stops its connection.
  request.resume();
  if (request.complete) return;
  const timer = setTimeout(() => request.destroy(), LINGER_MS);
  for (const over of ["end", "close"]) request.once(over, () => clearTimeout(timer));
}
