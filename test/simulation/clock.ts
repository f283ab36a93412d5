/**
 * Virtual time: what is put off happens in order of its time, then of when it was put off. While it rules, the clocks and
 * timers of this process are its own, so that code that asks for them runs on virtual time, too.
 */
interface Item {
  at: number;
  order: number;
  what: () => void;
}

/** What Node answers to `setTimeout`, as far as anybody asks. */
class Timer {
  cancelled = false;
  unref(): this {
    return this;
  }
}

export class VirtualClock {
  /** ms. */
  now = 0;
  private readonly queue: Item[] = [];
  private order = 0;

  later(ms: number, what: () => void): void {
    const item = { at: this.now + ms, order: this.order++, what };
    // A binary heap.
    let i = this.queue.push(item) - 1;
    while (i) {
      const parent = (i - 1) >> 1;
      if (isBefore(this.queue[parent], item)) break;
      this.queue[i] = this.queue[parent];
      i = parent;
    }
    this.queue[i] = item;
  }

  every(ms: number, what: () => void): void {
    what();
    this.later(ms, () => this.every(ms, what));
  }

  /** The next thing happens, and the promises that it settles. */
  async step(): Promise<void> {
    const { at, what } = this.take();
    this.now = at;
    what();
    await new Promise((done) => setImmediate(done));
  }

  private take(): Item {
    const [first] = this.queue;
    const last = this.queue.pop()!;
    if (!this.queue.length) return first;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= this.queue.length) break;
      if (child + 1 < this.queue.length && isBefore(this.queue[child + 1], this.queue[child])) child++;
      if (isBefore(last, this.queue[child])) break;
      this.queue[i] = this.queue[child];
      i = child;
    }
    this.queue[i] = last;
    return first;
  }

  /** Takes the place of this process's clocks; answers what puts them back. */
  rule(): () => void {
    const { setTimeout, clearTimeout } = globalThis;
    const { now: monotonic } = performance;
    const { now: wall } = Date;
    performance.now = () => this.now;
    Date.now = () => 1_700_000_000_000 + Math.floor(this.now);
    globalThis.setTimeout = ((what: () => void, ms = 0) => {
      const timer = new Timer();
      this.later(ms, () => timer.cancelled || what());
      return timer;
    }) as unknown as typeof setTimeout;
    globalThis.clearTimeout = ((timer?: Timer) => {
      if (timer instanceof Timer) timer.cancelled = true;
      else clearTimeout(timer);
    }) as typeof clearTimeout;
    return () => {
      performance.now = monotonic;
      Date.now = wall;
      Object.assign(globalThis, { setTimeout, clearTimeout });
    };
  }
}

function isBefore(a: Item, b: Item): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
