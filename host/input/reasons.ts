/** Why records do not fit, in words. */
import type { RecordField } from "../compiler/descriptor.ts";
import type { Problem } from "../wire/jah.ts";

const KINDS: Record<string, string> = {
  Text: "a text",
  Time: "a time",
  bool: "a boolean",
  Decimal: "a decimal",
};

/** Why a record is bad, in words. The numbers are those of assembly/abi.ts. */
export function reasonOf(problem: Problem, fields: RecordField[]): string {
  const field = fields[problem.field];
  const name = field ? `"${field.source}"` : "a field";
  switch (problem.reason) {
    case 1:
      return field
        ? `it has ${count(problem.detail, "field")}, too few for ${name}`
        : `it has ${count(problem.detail, "field")}, fewer than there are columns`;
    case 2:
      return `it has ${count(problem.detail, "field")}, more than there are columns`;
    case 3:
      return `${name} is not a number`;
    case 4:
      return `${name} is not an integer that fits ${field?.type ?? "its type"}`;
    case 5:
      return `${name} is neither true nor false`;
    case 6:
      return `${name} is not a time as ISO 8601 writes it`;
    case 7:
      return `${name} is not a decimal of at most 6 digits after the point`;
    case 8:
      return `${name} is missing`;
    case 9:
      return `${name} is null`;
    case 10:
      return "it is not JSON";
    case 11:
      return "it is not a JSON object";
    case 12:
      return `${name} is not ${KINDS[field?.type ?? ""] ?? "a number"} in JSON`;
    case 13:
      return `field ${problem.detail + 1} goes on after its closing quote`;
    case 15:
      return "a quoted field is not closed";
    case 16:
      return "it is longer than 16 MiB";
    default:
      return `reason ${problem.reason}`;
  }
}

/** Reasons that are the field's type; of JSON no other type takes a value that is no text where one is wanted. */
const OF_TYPES = new Set([3, 4, 5, 6, 7, 12]);

/** The name of the field whose value is not of its type, if that is why a record is bad. */
export function mistypedOf({ reason, field }: Problem, fields: RecordField[]): string | undefined {
  const found = fields[field];
  if (!found || !OF_TYPES.has(reason)) return undefined;
  return reason === 12 && found.type === "Text" ? undefined : found.source;
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? "" : "s"}`;
}

/** Text of a user as one line, without what controls a terminal. */
export function printable(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, (char) => JSON.stringify(char).slice(1, -1));
}
