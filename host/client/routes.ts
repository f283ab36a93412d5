/** Where calls of a cluster go: straight to the host that has a stream, once an answer has said which, and to another host if one is not there. */
import { HOSTS, SERVED_BY } from "../wire/headers.ts";

/** Pages, and their workers, may call the host alone that they are from. */
const IS_PAGE = "location" in globalThis;
const STREAM = /^\/v1\/streams\/([^/?]+)/;
/** Of a connection that did not come about: nothing was sent. */
const NOT_CONNECTED = /^(ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|UND_ERR_CONNECT_TIMEOUT)$/;

export class Routes {
  /** The hosts that were named, the one that was reached last first. */
  private readonly named: string[];
  /** Others of the cluster, as one of its hosts has said. */
  private learned: string[] = [];
  /** Where streams are, by their names in paths. */
  private readonly straight = new Map<string, string>();

  constructor(named: string[]) {
    this.named = named;
  }

  /** The hosts to ask, one after the other. */
  of(path: string): string[] {
    const straight = this.straight.get(streamIn(path));
    const all = IS_PAGE ? this.named.slice(0, 1) : [...this.named, ...this.learned];
    return [...new Set(straight === undefined ? all : [straight, ...all])];
  }

  /** A host has answered. */
  heard(path: string, url: string, headers: Headers): void {
    if (IS_PAGE) return;
    const at = this.named.indexOf(url);
    if (at > 0) this.named.unshift(...this.named.splice(at, 1));
    const hosts = headers.get(HOSTS);
    if (hosts !== null) this.learned = [url, ...hosts.split(" ").filter((each) => URL.canParse(each))];
    const served = headers.get(SERVED_BY);
    if (served !== null && URL.canParse(served)) this.straight.set(streamIn(path), served);
  }

  /**
   * A host has not answered, or not as was wished. Answers whether another one can be asked: the host was not reached, or has the stream no more,
   * so that nobody has done anything of the call; or the call changes nothing.
   */
  failed(method: string, path: string, url: string, error: unknown): boolean {
    const stream = streamIn(path);
    const { code, cause } = error as { code?: string; cause?: { cause?: { code?: string } } };
    const wasStraight = this.straight.get(stream) === url;
    const isGone = code === "stream-unknown" || code === "host-unreachable";
    if (isGone && wasStraight) this.straight.delete(stream);
    if (code === "stream-unknown") return wasStraight;
    if (code !== "host-unreachable") return false;
    return method === "GET" || NOT_CONNECTED.test(cause?.cause?.code ?? "");
  }
}

function streamIn(path: string): string {
  return STREAM.exec(path)?.[1] ?? "";
}
