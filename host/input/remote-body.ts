/**
 * The bytes of a remote object, in order. The first request is for its head alone, as many objects may be opened
 * before the first is read; the rest is asked for when it is wanted, and again from where it broke off.
 */
import { Backoff } from "../core/backoff.ts";
import { HallelujahError } from "../core/errors.ts";
import { HEAD_BYTES, REMOTE_PAUSE_MS, REMOTE_PAUSE_MS_MAX, REMOTE_TRIES } from "../core/limits.ts";
import { type Answer, failureOf, headerOf, type Remote, Transient, unreadable } from "./remote-requests.ts";

/** What tells one version of an object from another. */
interface Version {
  etag: string | undefined;
  modified: string | undefined;
  size: number | undefined;
}

/** Bytes that an answer brings. */
interface Part {
  answer: Answer;
  /** The byte behind its last; undefined if the server does not say. */
  end: number | undefined;
}

/**
 * Chunks of the object. Rejects with `input-unreadable`, and `input-changed` if the object is another one than
 * when it was begun.
 */
export async function* remoteBody(remote: Remote, signal: AbortSignal): AsyncGenerator<Buffer> {
  const reader = new Reader(remote, signal);
  const backoff = new Backoff(REMOTE_PAUSE_MS, REMOTE_PAUSE_MS_MAX);
  let tries = 0;
  while (!reader.done) {
    try {
      for await (const chunk of reader.part()) {
        tries = 0;
        backoff.reset();
        yield chunk;
      }
    } catch (error) {
      const failure = failureOf(remote.name, error, signal);
      if (!(failure instanceof Transient)) throw failure;
      if (!reader.canResume) throw unreadable(remote.name, `it broke off: ${failure.message}`, failure);
      if (++tries >= REMOTE_TRIES)
        throw unreadable(remote.name, `${failure.message}; it was tried ${tries} times`, failure);
      await backoff.pause(signal, failure.askedMs);
    }
  }
}

class Reader {
  done = false;
  private readonly remote: Remote;
  private readonly signal: AbortSignal;
  private at = 0;
  private version: Version | undefined;
  /** Whether the server is asked for parts. */
  private ranged = true;

  constructor(remote: Remote, signal: AbortSignal) {
    this.remote = remote;
    this.signal = signal;
  }

  get canResume(): boolean {
    return this.at === 0 || (this.ranged && isKnown(this.version));
  }

  /** The chunks of the next request. */
  async *part(): AsyncGenerator<Buffer> {
    const { answer, end } = await this.ask();
    for await (const chunk of answer.body as AsyncIterable<Buffer>) {
      if (end !== undefined && this.at + chunk.length > end)
        throw unreadable(this.remote.name, "the server sent more than it said");
      this.at += chunk.length;
      yield chunk;
    }
    if (end !== undefined && this.at < end) throw new Transient(`its body ended after ${this.at} bytes`);
    this.done ||= end === undefined || this.at >= (this.version?.size ?? end);
  }

  private async ask(): Promise<Part> {
    const { etag } = this.version ?? {};
    const answer = await this.remote.get(
      {
        ...(this.ranged ? { range: this.at ? `bytes=${this.at}-` : `bytes=0-${HEAD_BYTES - 1}` } : {}),
        // A weak one never matches (RFC 9110, 13.1.1).
        ...(etag?.startsWith('"') ? { "if-match": etag } : {}),
      },
      this.signal,
    );
    try {
      return await this.partOf(answer);
    } catch (error) {
      answer.body.on("error", () => {}).destroy();
      throw error;
    }
  }

  private async partOf(answer: Answer): Promise<Part> {
    if (answer.statusCode === 412) throw this.changed();
    if (answer.statusCode === 416) return this.empty(answer);
    if (answer.statusCode === 206) return this.ranges(answer);
    if (this.at) throw unreadable(this.remote.name, "it broke off, and the server sends no parts");
    const length = headerOf(answer, "content-length");
    const size = length === undefined ? undefined : Number(length);
    this.see({ ...namesOf(answer), size });
    return { answer, end: size };
  }

  /** An object without bytes has no first one (RFC 9110, 15.5.17). */
  private async empty(answer: Answer): Promise<Part> {
    const total = headerOf(answer, "content-range")?.split("/")[1] ?? "0";
    if (this.at || total !== "0") throw this.changed();
    await answer.body.dump();
    this.done = true;
    return { answer, end: undefined };
  }

  private async ranges(answer: Answer): Promise<Part> {
    const range = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15})$/.exec(headerOf(answer, "content-range") ?? "");
    const [first, last, size] = (range ?? []).slice(1).map(Number);
    if (!range || first !== this.at || last < first || last >= size)
      throw unreadable(this.remote.name, "the server sent another part than was asked for");
    const version = { ...namesOf(answer), size };
    if (!isKnown(version) && last + 1 < size) {
      // Whether further parts are of the same object could not be known.
      this.ranged = false;
      answer.body.on("error", () => {}).destroy();
      return this.ask();
    }
    this.see(version);
    return { answer, end: last + 1 };
  }

  /** Throws `input-changed` if the object is another one than before. */
  private see(version: Version): void {
    const { etag, modified, size } = (this.version ??= version);
    if (etag !== version.etag || modified !== version.modified || size !== version.size) throw this.changed();
  }

  private changed(): HallelujahError {
    const message = `${this.remote.name} changed while it was read; run again when nobody writes it`;
    return new HallelujahError("input-changed", message);
  }
}

function namesOf(answer: Answer): Pick<Version, "etag" | "modified"> {
  return { etag: headerOf(answer, "etag"), modified: headerOf(answer, "last-modified") };
}

function isKnown(version: Version | undefined): boolean {
  return version?.etag !== undefined || version?.modified !== undefined;
}
