/** Where calls of a cluster go: straight to the host that has a stream, once an answer has said which, and to another host if one is not there. */
import { HOSTS, SERVED_BY } from "../wire/headers.ts";

/** Pages, and their workers, may call the host alone that they are from. */
const IS_PAGE = "location" in globalThis;
const STREAM = /^\/v1\/streams\/([^/?]+)/;
/** Of a connection that did not come about: nothing was sent. */
const NOT_CONNECTED = /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|UND_ERR_CONNECT_TIMEOUT)$/;
/** Times for which an address that was not reached is asked after all others, ms: doubled each time. */
const AVOID_MS = 5_000;
const AVOID_MS_MAX = 10 * 60_000;

export class Routes {
  private readonly named: readonly string[];
  private readonly now: () => number;
  /** Others of the cluster, as one of its hosts has said. */
  private learned: string[] = [];
  /** Who answered last of those that are asked where it is not known who has a stream. */
  private last: string | undefined;
  /** Where streams are, by their names in paths. */
  private readonly straight = new Map<string, string>();
  /** Addresses where no host was reached: what hosts call each other need not lead there from where the client is, or leads to something else. */
  private readonly avoided = new Map<string, { until: number; ms: number }>();

  /** `named`: the hosts that its user named; `now`: ms. */
  constructor(named: readonly string[], now = () => performance.now()) {
    this.named = named;
    this.now = now;
  }

  /** The hosts to ask, one after the other. */
  of(path: string): string[] {
    if (IS_PAGE) return this.named.slice(0, 1);
    const straight = this.straight.get(streamIn(path));
    const all = [straight, this.last, ...this.named, ...this.learned].filter((url) => url !== undefined);
    const isAvoided = (url: string) => this.isAvoided(url);
    return [...new Set([...all.filter((url) => !isAvoided(url)), ...all.filter(isAvoided)])];
  }

  /** A host has answered. */
  heard(path: string, url: string, headers: Headers): void {
    if (IS_PAGE) return;
    const stream = streamIn(path);
    this.avoided.delete(url);
    if (url !== this.straight.get(stream)) this.last = url;
    const hosts = headers.get(HOSTS);
    if (hosts !== null) this.learned = [url, ...hosts.split(" ").filter((each) => mayLead(url, each))];
    const served = headers.get(SERVED_BY);
    if (served !== null && mayLead(url, served)) this.straight.set(stream, served);
  }

  /**
   * A host has not answered, or not as was wished. Answers whether another one can be asked: the host was not reached, or has the stream no more,
   * so that nobody has done anything of the call; or the call changes nothing.
   */
  failed(method: string, path: string, url: string, error: unknown): boolean {
    const stream = streamIn(path);
    const { code, cause } = error as {
      code?: string;
      cause?: { cause?: ConnectionError; isStalled?: boolean };
    };
    const wasStraight = this.straight.get(stream) === url;
    const isAway = code === "host-unreachable";
    const isOther = code === "host-unknown" && !this.named.includes(url);
    if ((isAway || isOther || code === "stream-unknown") && wasStraight) this.straight.delete(stream);
    if (code === "stream-unknown") return wasStraight;
    if (!isAway && !isOther) return false;
    const isConnected = !isNotConnected(cause?.cause);
    if (isOther || !isConnected || cause?.isStalled) this.avoid(url);
    return method === "GET" || !isConnected;
  }

  private avoid(url: string): void {
    // Calls that were made at the same time count once.
    if (this.isAvoided(url)) return;
    const before = this.avoided.get(url);
    const ms = before ? Math.min(before.ms * 2, AVOID_MS_MAX) : AVOID_MS;
    this.avoided.set(url, { until: this.now() + ms, ms });
  }

  private isAvoided(url: string): boolean {
    return this.now() < (this.avoided.get(url)?.until ?? 0);
  }
}

/** What `fetch` says of a connection. */
interface ConnectionError {
  code?: string;
  syscall?: string;
}

/** Some codes, as EHOSTUNREACH, also end connections that something was sent over. */
function isNotConnected({ code = "", syscall }: ConnectionError = {}): boolean {
  return NOT_CONNECTED.test(code) || syscall === "connect";
}

/** Whether a client may go where an answer says: its token must not leave TLS. */
function mayLead(from: string, to: string): boolean {
  if (!URL.canParse(to)) return false;
  const { protocol } = new URL(to);
  return protocol === "https:" || (protocol === "http:" && !from.startsWith("https:"));
}

function streamIn(path: string): string {
  return STREAM.exec(path)?.[1] ?? "";
}
