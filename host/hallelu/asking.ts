/** What clients ask of the rows that streams hold: queries, and visits by kernels of their own (visit.ts). */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { KernelDescriptor } from "../compiler/descriptor.ts";
import { KernelPlaces } from "../compiler/places.ts";
import type { Builder, CheckedKernel } from "./builder.ts";
import type { Answer, QueryRequest, VisitRequest, VisitResult } from "./host.ts";
import type { Roster } from "./roster.ts";
import type { Running } from "./running.ts";
import type { Stream } from "./stream.ts";
import { checkFollow, planVisit } from "./visit.ts";
import type { VisitingKernel } from "./visits.ts";

/** See host.ts for what its methods promise. */
export class Asking {
  private readonly roster: Roster;
  private readonly builder: Builder;

  constructor(roster: Roster, builder: Builder) {
    this.roster = roster;
    this.builder = builder;
  }

  query(name: string, request: QueryRequest): Promise<Answer> {
    return this.asked(name, (stream) => stream.query(request));
  }

  /** Asks a stream; once more where a reprocess has taken its place meanwhile. */
  private async asked(name: string, ask: (stream: Stream) => Promise<Answer>): Promise<Answer> {
    for (;;) {
      const stream = this.roster.awake(name);
      try {
        return await ask(stream);
      } catch (error) {
        const now = this.roster.get(name);
        if (!now || now.stream === stream) throw error;
      }
    }
  }

  async visit(name: string, request: VisitRequest): Promise<Answer> {
    this.roster.awake(name);
    const visiting = await this.visiting(name, request);
    return this.asked(name, ({ visits }) => visits.visit(visiting));
  }

  async follow(name: string, request: VisitRequest): Promise<AsyncGenerator<VisitResult>> {
    this.roster.awake(name);
    const running = this.roster.find(name);
    const signal = AbortSignal.any([running.stop.signal, ...(request.signal ? [request.signal] : [])]);
    return following(running, await this.visiting(name, request, checkFollow), signal);
  }

  /** Throws what the kernel is refused for. */
  private async visiting(
    name: string,
    request: VisitRequest,
    check?: (kernel: KernelDescriptor) => void,
  ): Promise<VisitingKernel> {
    const kernel = await this.builder.kernelOf(request.kernel, request.file, request.target);
    check?.(kernel.descriptor);
    const plan = () => {
      const { versions } = this.roster.awake(name);
      const resident = { version: versions.current.version, resident: versions.kernel };
      return planVisit(name, resident, kernel, request, check !== undefined);
    };
    plan();
    return { plan, placeOf: (stack) => placeIn(kernel, stack) };
  }
}

/** The results of a visit that stays, also where a reprocess takes the place of what it visits. */
async function* following(
  running: Running,
  kernel: VisitingKernel,
  signal: AbortSignal,
): AsyncGenerator<VisitResult> {
  for (;;) {
    const { stream } = running;
    try {
      yield* stream.visits.follow(kernel, signal);
      return;
    } catch (error) {
      if (running.stream === stream) throw error;
    }
  }
}

/** Where in its source a kernel stopped that is in no stream's folder. */
function placeIn({ wasm, descriptor }: CheckedKernel, stack: string): string | undefined {
  const folder = mkdtempSync(join(tmpdir(), "hallelujah-"));
  try {
    const path = join(folder, "kernel.wasm");
    writeFileSync(path, wasm);
    return new KernelPlaces(path, descriptor.file).of(stack);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
