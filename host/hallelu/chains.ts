/**
 * Frames of files follow one another without a gap: each starts where the one before it in the same file ended. A frame
 * that was cut on a wrong guess, inside a quoted CSV field, is mapped again from where it has to start. Pure; the owners
 * hold to the same rule (host/jah/inbox.ts), so nothing wrong is applied meanwhile.
 */
export class Chains {
  private readonly bySource = new Map<number, { frames: number[]; next: number; end: number | undefined }>();
  private readonly waiting = new Map<number, { start: number; end: number }>();

  /** A frame of a file was logged. */
  logged(source: number, frame: number): void {
    const chain = this.bySource.get(source);
    if (chain) chain.frames.push(frame);
    else this.bySource.set(source, { frames: [frame], next: 0, end: undefined });
  }

  /** A frame was mapped; the frame that has to be mapped again, and from where, if there is one. */
  mapped(
    source: number,
    frame: number,
    start: number,
    end: number,
  ): { frame: number; start: number } | undefined {
    const chain = this.bySource.get(source);
    if (!chain) return undefined;
    this.waiting.set(frame, { start, end });
    while (chain.next < chain.frames.length) {
      const at = chain.frames[chain.next];
      const found = this.waiting.get(at);
      if (!found) return undefined;
      this.waiting.delete(at);
      if (chain.end !== undefined && found.start !== chain.end) return { frame: at, start: chain.end };
      chain.end = found.end;
      chain.next++;
    }
    return undefined;
  }

  /** The frames below `frame` are done with, and each source ended at a place; unless more is known. */
  goOn(frame: number, places: [number, number][]): void {
    for (const [source, end] of places) {
      const chain = this.bySource.get(source);
      if (!chain || chain.next) continue;
      chain.next = chain.frames.filter((each) => each < frame).length;
      chain.end = end;
    }
  }

  /** Where a frame has to start, if that is known. */
  startOf(source: number, frame: number): number | undefined {
    const chain = this.bySource.get(source);
    return chain && chain.frames[chain.next] === frame ? chain.end : undefined;
  }
}
