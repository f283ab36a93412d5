/** Who may call: whoever has the token, and without one only programs of this machine, never a page of another site. */
import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { HallelujahError } from "../../core/errors.ts";

const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/i;

/** Whether an address is reached from this machine alone. */
export function isLoopback(host: string): boolean {
  return LOOPBACK.test(host) || host === "::1";
}

export class Guard {
  private readonly token: Buffer | undefined;
  private readonly listenHost: string;

  constructor(token: string | undefined, listenHost: string) {
    this.token = token === undefined ? undefined : digest(token);
    this.listenHost = listenHost;
  }

  /** Throws `unauthorized`, `cross-site` or `misdirected`. */
  check({ headers }: IncomingMessage): void {
    if (this.token) {
      const given = /^Bearer +(\S+)$/i.exec(headers.authorization ?? "")?.[1];
      if (given !== undefined && timingSafeEqual(digest(given), this.token)) return;
      const message =
        "this host asks for its token: Authorization: Bearer TOKEN (--token or HALLELUJAH_TOKEN)";
      throw new HallelujahError("unauthorized", message);
    }
    const host = (headers.host ?? "").replace(/:\d+$/, "");
    if (!isLoopback(host) && host !== this.listenHost) {
      const message = `this host is not called ${JSON.stringify(host)}; without a token it answers to localhost alone`;
      throw new HallelujahError("misdirected", message);
    }
    const { origin } = headers;
    if (origin !== undefined && origin !== `http://${headers.host}`)
      throw new HallelujahError("cross-site", `a page of ${origin} may not call this host`);
  }
}

/** Of one length, so that comparing them takes one time. */
function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
