/**
 * Virtual time: what is put off happens in order of its time, then of when it was put off. While it rules, the clocks and
 * timers of this process are its own, so that code that asks for them runs on virtual time, too.
 */
/** Node's own. */
const setNextImmediate = setImmediate;
/** What happens in one turn of Node's loop. */
const TURN_IMMEDIATES = 256;

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
  /** What happens before time goes on, or soon after. */
  private readonly immediates: (() => void)[] = [];

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

  /**
   * One thing after the other happens, each with the promises that it settles before the next; until `isOver`, which is asked before each,
   * says so. Rejects with what they throw. The clock has to rule.
   */
  run(isOver: () => boolean): Promise<void> {
    return new Promise((done, fail) => {
      let over = false;
      const step = () => {
        try {
          over = isOver();
          if (over) return done();
          const { at, what } = this.take();
          this.now = at;
          what();
          this.immediates.push(step);
        } catch (error) {
          over = true;
          fail(error as Error);
        }
      };
      // Between two immediates of a turn of Node's loop promises are settled as well, and a turn takes longer than most steps.
      const next = () => {
        if (!over) this.immediates.shift()?.();
      };
      const turn = () => {
        if (over) return;
        for (let i = 0; i < TURN_IMMEDIATES; i++) setNextImmediate(next);
        setNextImmediate(turn);
      };
      this.immediates.push(step);
      turn();
    });
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
    const { setTimeout, clearTimeout, setImmediate } = globalThis;
    const { now: monotonic } = performance;
    const { now: wall } = Date;
    performance.now = () => this.now;
    Date.now = () => 1_700_000_000_000 + Math.floor(this.now);
    globalThis.setTimeout = ((what: () => void, ms = 0) => {
      const timer = new Timer();
      this.later(ms, () => timer.cancelled || what());
      return timer;
    }) as unknown as typeof setTimeout;
    globalThis.setImmediate = ((what: () => void) => {
      this.immediates.push(what);
    }) as unknown as typeof setImmediate;
    globalThis.clearTimeout = ((timer?: Timer) => {
      if (timer instanceof Timer) timer.cancelled = true;
      else clearTimeout(timer);
    }) as typeof clearTimeout;
    return () => {
      performance.now = monotonic;
      Date.now = wall;
      Object.assign(globalThis, { setTimeout, clearTimeout, setImmediate });
      for (const what of this.immediates.splice(0)) setImmediate(what);
    };
  }
}

function isBefore(a: Item, b: Item): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
