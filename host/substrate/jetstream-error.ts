/** What JetStream says, as a user is told. */
import { HallelujahError, messageOf } from "../core/errors.ts";
import { jetStreamCode } from "./cluster.ts";

/** Errors of JetStream, by number: there is no such stream, its name is taken, and so are its subjects. */
export const NOT_FOUND = 10059;
export const NAME_TAKEN = 10058;
const SUBJECTS_TAKEN = 10065;
/** There is no room: memory or disk of the server or account, or the file system said so. */
const NO_ROOM = [10023, 10028, 10047, 10077];

/** An error as one of `disk-full`, `cluster-foreign`, `cluster-lost`, `cluster-refused` and `cluster-unreachable`; `what` is what cannot be had. */
export function clusterError(cause: unknown, what: string, url: string): HallelujahError {
  if (cause instanceof HallelujahError) return cause;
  const code = jetStreamCode(cause);
  const why = messageOf(cause);
  const error = (name: string, message: string) => new HallelujahError(name, message, { cause });
  if (code === undefined)
    return error(
      "cluster-unreachable",
      `${what} cannot be reached at ${url}: ${why}; it goes on when JetStream answers there again`,
    );
  if (NO_ROOM.includes(code))
    return error(
      "disk-full",
      `the servers at ${url} have no room for ${what}; make room there, or raise what JetStream may take (${why})`,
    );
  if (code === SUBJECTS_TAKEN)
    return error(
      "cluster-foreign",
      `the subjects of ${what} at ${url} belong to something else: ${why}; give this cluster another name, or remove the JetStream stream that has them`,
    );
  if (code === NOT_FOUND)
    return error("cluster-lost", `${what} is gone from ${url}: someone removed its JetStream stream`);
  return error("cluster-refused", `${what} cannot be had of ${url}: ${why}`);
}
