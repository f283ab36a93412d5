/** NDJSON has no header: whether a field exists at all is known when every record was seen. */
import type { KernelDescriptor } from "../compiler/descriptor.ts";
import { fieldMissing } from "../input/csv-header.ts";
import { readHead } from "../input/discover.ts";
import type { Source } from "../input/plan.ts";

/** Throws if some field was in no record of the input, with the names that are there. */
export function checkFieldsSeen(
  seen: bigint,
  records: number,
  kernel: KernelDescriptor,
  sources: Source[],
): void {
  const source = sources.find((candidate) => candidate.format === "ndjson");
  if (!source || !records || sources.some((candidate) => candidate.format !== "ndjson")) return;
  const missing = kernel.input.fields.find((_, i) => !(seen & (1n << BigInt(i))));
  if (!missing) return;
  const head = source.path ? readHead(source.path) : source.stream?.seen;
  throw fieldMissing(source.name, missing, head ? namesOf(head) : []);
}

/** Keys of the first records, nested ones joined by dots. */
function namesOf(head: Buffer): string[] {
  const names = new Set<string>();
  const add = (value: unknown, prefix: string) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return;
    for (const [key, inner] of Object.entries(value)) {
      names.add(prefix + key);
      add(inner, `${prefix}${key}.`);
    }
  };
  for (const line of head.toString().split("\n").slice(0, 100)) {
    try {
      add(JSON.parse(line), "");
    } catch {
      // the last line of the head may be cut; others were counted as bad
    }
  }
  return [...names];
}
