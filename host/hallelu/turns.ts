/**
 * Turns among what must not meet in one stream: a query, which splits results in the Jahs' memory and counts on its owners; a
 * move of partitions, which changes them; and parking, which ends them.
 */
export class Turns {
  /** Settles when the last turn that was asked for is over. */
  private last: Promise<unknown> = Promise.resolve();

  /** Waits for a turn; resolves with what ends it. */
  async next(): Promise<() => void> {
    const before = this.last;
    let end = () => {};
    this.last = new Promise<void>((done) => {
      end = done;
    });
    await before;
    return end;
  }
}
