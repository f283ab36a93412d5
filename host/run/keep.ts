/** Files whose rows a stream is to keep: their columns, and the kernel that keeps them. */
import { Readable } from "node:stream";
import { findFiles, type InputFile } from "../input/discover.ts";
import { findSchema } from "../input/schema.ts";
import type { SourceFormat } from "../wire/jah.ts";
import { keepingKernel } from "../sql/kernel.ts";
import { withTypes } from "./query.ts";

export interface KeepPlan {
  files: InputFile[];
  /** What the first of them was taken for. */
  format: SourceFormat;
  kernel: string;
  /** Names of the columns that are kept. */
  columns: string[];
  /** Those that cannot be, and why. */
  left: { name: string; why: string }[];
}

/** `types` and `inputFormat` are as those of a query over files. Throws as `findSchema` does, `types-invalid` and `input-empty`. */
export async function planKeep(
  dataset: string,
  inputs: string[],
  types: Record<string, string> = {},
  inputFormat?: SourceFormat,
): Promise<KeepPlan> {
  const files = await findFiles(inputs);
  const { format, columns } = await findSchema({
    inputs,
    stdin: Readable.from([]),
    ...(inputFormat === undefined ? {} : { inputFormat }),
  });
  const typed = withTypes(columns, types);
  const { source, left } = keepingKernel(dataset, typed);
  return {
    files,
    format,
    kernel: source,
    columns: typed.filter((column) => !left.includes(column)).map(({ name }) => name),
    left: left.map(({ name, unsupported = "a record has 64 fields at most" }) => ({
      name,
      why: unsupported,
    })),
  };
}
