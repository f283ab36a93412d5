/** The connections of a host's server, kept below a limit: when there are too many, the one that is idle for longest gives way. */
import { readFileSync } from "node:fs";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { CONNECTIONS_MAX, CONNECTIONS_SHARE } from "../../core/limits.ts";

export class Connections {
  /** Those without a request in work, the longest idle first. */
  private readonly idle = new Set<Socket>();
  private count = 0;

  constructor(server: Server, max: number) {
    server.on("connection", (socket: Socket) => {
      this.count++;
      socket.once("close", () => {
        this.count--;
        this.idle.delete(socket);
      });
      this.idle.add(socket);
      if (this.count <= max) return;
      const [longest] = this.idle;
      this.idle.delete(longest);
      longest.destroy(); // the new one itself, if all others are at work
    });
  }

  /** A request came whole, but for its body. */
  begin({ socket }: IncomingMessage, response: ServerResponse): void {
    this.idle.delete(socket);
    response.once("close", () => {
      if (!socket.destroyed) this.idle.add(socket);
    });
  }
}

/** How many there may be: a process that has no more files to open can write no log. */
export function connectionsMax(): number {
  return Math.min(CONNECTIONS_MAX, Math.floor(openFilesMax() * CONNECTIONS_SHARE));
}

function openFilesMax(): number {
  try {
    // The first number counts now, and Node has raised it to the second.
    const found = /^Max open files +(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"));
    return found ? Number(found[1]) : Infinity;
  } catch {
    return Infinity; // not Linux
  }
}
