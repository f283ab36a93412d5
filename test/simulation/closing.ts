/** How a simulated host ends in order, as `Streams.close` does it: every stream is parked, and what it has applied is saved. */
import type { StreamRecord } from "../../host/hallelu/record.ts";
import type { Running } from "../../host/hallelu/running.ts";
import { Broken } from "./rules.ts";

export interface ClosingParts {
  /** What the registry says of a stream. */
  said(name: string): StreamRecord | undefined;
  /** Whether no Jah dies meanwhile and no disk fails, so that nothing may be lost that a stream has applied. */
  isCalm: boolean;
}

/** Resolves when all are closed. Rejects with `Broken` where the next process would have to do again what was done. */
export async function closeAll(all: readonly Running[], { said, isCalm }: ClosingParts): Promise<void> {
  const greens = all.flatMap(({ reprocess }) => reprocess?.green ?? []);
  await Promise.all(all.map(({ reprocess }) => reprocess?.close()));
  const close = async ({ stream }: Running) => {
    const { lowest, name, rollout, shards } = stream;
    // What is on trial is done again, and so is what was lost with a Jah just before.
    const maySave = isCalm && rollout.unsavedFrom === Infinity && shards.areReady;
    await stream.close();
    const { frame } = said(name)!;
    if (maySave && frame < lowest)
      throw new Broken(
        `${name} had applied frames below ${lowest} when it closed, and goes on from ${frame}`,
      );
  };
  await Promise.all(all.map(close));
  for (const { name, jahs } of [...all.map(({ stream }) => stream), ...greens])
    if (jahs.size) throw new Broken(`${name} is closed, and has Jahs`);
}
