/**
 * A client as a program has it that must go on: it gives a host so much time, and then asks another. What it is refused is counted, and asked
 * again as long as the host says that this may help; all else rejects.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { isPassing } from "../../host/client/connection.ts";
import {
  connect,
  type Hallelujah,
  type OutputRow,
  type PushOptions,
  type PushProgress,
  type Records,
  type StreamChange,
  type StreamInfo,
  type VersionInfo,
} from "../../host/client/live.ts";
import type { HallelujahError } from "../../host/core/errors.ts";

/** Time that a host has to answer; and without a row, after which an output is asked for again, ms. */
const ANSWER_MS = 3_000;
const IDLE_MS = 2_000;
const PAUSE_MS = 100;

/** What calls were not answered with, by code. */
export type Refusals = Record<string, number>;

interface Options {
  signal?: AbortSignal;
}

export class PatientClient
  implements Pick<Hallelujah, "push" | "output" | "stream" | "streams" | "change" | "versions">
{
  private readonly urls: string[];
  private readonly refusals: Refusals;
  private client: Hallelujah;

  /** `first` is asked first. */
  constructor(urls: string[], first: number, refusals: Refusals) {
    this.urls = [...urls.slice(first), ...urls.slice(0, first)];
    this.refusals = refusals;
    this.client = connect({ url: this.urls.join(",") });
  }

  /** Once, at the host whose turn it is. Rejects with the code `timeout` if that takes too long. */
  async once<T>(
    work: (client: Hallelujah, signal: AbortSignal) => Promise<T>,
    { signal }: Options = {},
  ): Promise<T> {
    const late = AbortSignal.timeout(ANSWER_MS);
    try {
      return await work(this.client, signal ? AbortSignal.any([signal, late]) : late);
    } catch (error) {
      signal?.throwIfAborted();
      const failure = late.aborted
        ? Object.assign(new Error(`no answer within ${ANSWER_MS / 1000} s`), { code: "timeout" })
        : error;
      if (isAway(failure)) this.turn();
      throw failure;
    }
  }

  push(name: string, records: Records, options: PushOptions = {}): Promise<PushProgress> {
    return this.again((client, signal) => client.push(name, records, { ...options, signal }), options);
  }

  stream(name: string, options: Options = {}): Promise<StreamInfo> {
    return this.again((client, signal) => client.stream(name, { signal }), options);
  }

  streams(options: Options = {}): Promise<StreamInfo[]> {
    return this.again((client, signal) => client.streams({ signal }), options);
  }

  change(name: string, change: StreamChange, options: Options = {}): Promise<StreamInfo> {
    return this.again((client, signal) => client.change(name, change, { signal }), options);
  }

  versions(name: string, options: Options = {}): Promise<VersionInfo[]> {
    return this.again((client, signal) => client.versions(name, { signal }), options);
  }

  /** Each row once; goes on at its next row where a connection breaks or nothing comes. */
  async *output<R = Record<string, unknown>>(
    name: string,
    { from = 0, signal }: { from?: number; signal?: AbortSignal } = {},
  ): AsyncGenerator<OutputRow<R>> {
    for (let next = from; ; ) {
      const idle = new AbortController();
      const timer = setTimeout(() => idle.abort(), IDLE_MS);
      try {
        const either = signal ? AbortSignal.any([signal, idle.signal]) : idle.signal;
        for await (const row of this.client.output<R>(name, { from: next, signal: either })) {
          timer.refresh();
          next++;
          yield row;
        }
      } catch (error) {
        signal?.throwIfAborted();
        if (!idle.signal.aborted) throw error;
        this.turn();
      } finally {
        clearTimeout(timer);
      }
    }
  }

  private async again<T>(
    work: (client: Hallelujah, signal: AbortSignal) => Promise<T>,
    options: Options,
  ): Promise<T> {
    for (;;) {
      try {
        return await this.once(work, options);
      } catch (error) {
        options.signal?.throwIfAborted();
        if (!isAway(error)) throw error;
        const { code } = error as HallelujahError;
        this.refusals[code] = (this.refusals[code] ?? 0) + 1;
        await sleep(PAUSE_MS);
      }
    }
  }

  /** The next host is asked first, by a client that has learned nothing from the one before. */
  private turn(): void {
    this.urls.push(this.urls.shift()!);
    this.client = connect({ url: this.urls.join(",") });
  }
}

/** Whether the same may be tried again: nobody answered, or who did says so. */
export function isAway(error: unknown): boolean {
  return isPassing(error) || (error as { code?: string }).code === "timeout";
}
