/** Table: values by key, as kernels see it. What becomes of its entries is in entries.ts, how its rows come out in rows.ts. */
import { Rows } from "./rows";

export class Table<K, V> extends Rows<K, V> {
  /** A table by the name under which its rows come out. Declare it once, as a constant at the top of the kernel. */
  constructor(name: string) {
    super(name);
  }

  /** The value of a key; a new one if the key was not there. Valid until the frame ends. */
  @inline at(key: K): V {
    return changetype<V>(this.frameEntryOf(key) + this.header());
  }

  /** The lasting value of a key, for `fold`. To be called while blocks come from the arena. */
  own(key: K): V {
    const entry = this.entryOf(this.lasting, key, false);
    this.touchState(entry);
    return changetype<V>(entry + this.header());
  }
}
