/** The connection of a process to the NATS servers of its cluster, and what is asked of them. */
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { JetStreamApiError, jetstreamManager } from "@nats-io/jetstream";
import { HallelujahError, messageOf } from "../core/errors.ts";

/** The oldest server whose JetStream has all that is used here. */
const SERVER_MIN = [2, 9, 10];
/** Time that a first connection may take, and an answer, ms. */
const CONNECT_MS = 5_000;
/** Pause between attempts to connect again, ms; there is no last one. */
const RECONNECT_MS = 250;
/** A server that has not answered two pings is taken for gone, ms: it may be away without having closed anything. */
const PING_MS = 1_000;

export interface ClusterOptions {
  /** One or more, `nats://user:password@host:port`, joined by commas. */
  url: string;
  /** What a server calls this connection. */
  name: string;
  /** On how many servers everything is kept: 1 or 3. */
  replicas?: number;
}

/** A connection that holds: it is made again whenever it is lost. */
export interface Cluster {
  readonly connection: NatsConnection;
  readonly replicas: number;
  /** Shown to users: without passwords. */
  readonly url: string;
  close(): Promise<void>;
}

/** Rejects with `cluster-url`, `cluster-unreachable`, `cluster-refused` or `cluster-outdated`. */
export async function joinCluster({ url, name, replicas = 1 }: ClusterOptions): Promise<Cluster> {
  const servers = serversOf(url);
  const shown = servers.map(({ shown }) => shown).join(",");
  const { user, pass, token } = servers[0];
  let connection: NatsConnection;
  try {
    connection = await connect({
      servers: servers.map(({ at }) => at),
      name,
      timeout: CONNECT_MS,
      maxReconnectAttempts: -1,
      reconnectTimeWait: RECONNECT_MS,
      ignoreAuthErrorAbort: true, // a password may be changed on both sides, one after the other
      pingInterval: PING_MS,
      ...(user === undefined ? {} : { user, pass: pass ?? "" }),
      ...(token === undefined ? {} : { token }),
    });
  } catch (cause) {
    throw unreachable(shown, cause);
  }
  try {
    checkVersion(connection.info?.version ?? "", shown);
    await jetstreamManager(connection);
  } catch (cause) {
    await connection.close();
    if (cause instanceof HallelujahError) throw cause;
    const message = `${shown} has no JetStream for this user: ${messageOf(cause)}; start nats-server with -js, or give the account JetStream`;
    throw new HallelujahError("cluster-refused", message, { cause });
  }
  return { connection, replicas, url: shown, close: () => connection.close() };
}

interface Server {
  at: string;
  shown: string;
  user?: string;
  pass?: string;
  token?: string;
}

/** Throws `cluster-url`. */
function serversOf(url: string): Server[] {
  return url.split(",").map((each) => {
    const parsed = URL.parse?.(each.trim()) ?? parse(each.trim());
    if (!parsed || parsed.protocol !== "nats:" || !parsed.hostname)
      throw new HallelujahError(
        "cluster-url",
        `${withoutPassword(url)} is no address of a cluster; write nats://HOST:PORT, several joined by commas`,
      );
    const user = decodeURIComponent(parsed.username);
    const at = `${parsed.protocol}//${parsed.host}`;
    if (!user) return { at, shown: at };
    if (!parsed.password) return { at, shown: at, token: user };
    return { at, shown: at, user, pass: decodeURIComponent(parsed.password) };
  });
}

function parse(url: string): URL | null {
  try {
    return new URL(url);
  } catch {
    return null;
  }
}

/** A password may hold anything, where it was not encoded. */
function withoutPassword(url: string): string {
  return url.replace(/^(\w+:\/\/)?.*@/s, "$1");
}

function unreachable(shown: string, cause: unknown): HallelujahError {
  const why = messageOf(cause);
  if (/authorization|authentication/i.test(why))
    return new HallelujahError(
      "cluster-refused",
      `${shown} refused this host: ${why}; check user and password, or the token, in the address`,
      { cause },
    );
  return new HallelujahError(
    "cluster-unreachable",
    `no server of ${shown} answers: ${why}; is nats-server running there, and is the port its own?`,
    { cause },
  );
}

/** Throws `cluster-outdated`. */
function checkVersion(version: string, shown: string): void {
  const parts = version.split(".").map((part) => Number.parseInt(part, 10));
  for (const [i, least] of SERVER_MIN.entries()) {
    const part = parts[i] ?? 0;
    if (part > least) return;
    if (part < least || Number.isNaN(part))
      throw new HallelujahError(
        "cluster-outdated",
        `the nats-server at ${shown} is version ${version || "unknown"}; ${SERVER_MIN.join(".")} is the least that is served, 2.12.7 or newer is better`,
      );
  }
}

/** The number of "wrong last sequence": another revision is there than the one that a write names. */
export const WRONG_LAST_SEQUENCE = 10071;

/** The number of a JetStream error; undefined of any other. */
export function jetStreamCode(error: unknown): number | undefined {
  return error instanceof JetStreamApiError ? error.code : undefined;
}
