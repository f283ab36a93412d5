/** Sorting of { u64 primary, u64 entry } by least-significant-digit radix; bytes that all share are passed over. */

/** Sorts `count` pairs at `pairs` with as much room at `spare`; returns which of the two holds the result. */
export function sortByPrimary(pairs: usize, spare: usize, count: u32): usize {
  if (count < 2) return pairs;
  const end = pairs + ((<usize>count) << 4);
  let all: u64 = <u64>-1;
  let any: u64 = 0;
  for (let p = pairs; p < end; p += 16) {
    const primary = load<u64>(p);
    all &= primary;
    any |= primary;
  }
  const differing = all ^ any;
  let from = pairs;
  let to = spare;
  for (let shift: u64 = 0; shift < 64; shift += 8) {
    if (!((differing >> shift) & 0xff)) continue;
    radixPass(from, to, count, shift);
    const swapped = from;
    from = to;
    to = swapped;
  }
  return from;
}

const counts: usize = memory.data(1024, 8);

function radixPass(from: usize, to: usize, count: u32, shift: u64): void {
  memory.fill(counts, 0, 1024);
  const end = from + ((<usize>count) << 4);
  for (let p = from; p < end; p += 16) {
    const at = counts + ((<usize>((load<u64>(p) >> shift) & 0xff)) << 2);
    store<u32>(at, load<u32>(at) + 1);
  }
  let sum: u32 = 0;
  for (let at = counts; at < counts + 1024; at += 4) {
    const n = load<u32>(at);
    store<u32>(at, sum);
    sum += n;
  }
  for (let p = from; p < end; p += 16) {
    const at = counts + ((<usize>((load<u64>(p) >> shift) & 0xff)) << 2);
    const next = load<u32>(at);
    store<u32>(at, next + 1);
    v128.store(to + ((<usize>next) << 4), v128.load(p));
  }
}
