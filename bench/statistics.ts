/** The middle value; the mean of the two middle ones of an even number. */
export function median(values: number[]): number {
  if (values.length === 0) throw new TypeError("the median of nothing");
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Rounded to what a measurement of this kind can tell. */
export function rounded(value: number): number {
  return Number(value.toPrecision(5));
}

/** The value below which a share `q` of the values lies. */
export function quantile(values: number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))];
}
