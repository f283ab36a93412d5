/** Whether what a module says of itself is a descriptor: anybody may have written it, and all that reads it trusts it. */
import { MAX_DATASETS, MAX_FIELDS, MAX_TABLES } from "../kernel/memory-map.ts";
import { FIELD_TYPES } from "./types.ts";

/** Where the value is wrong, and how; undefined if it is not. */
type Check = (value: unknown, path: string) => string | undefined;

const NAME_MAX = 1024;
/** Parts of a key, columns of an aggregate, classes of emitted records. */
const PARTS_MAX = 1024;
const TABLE_KINDS = ["Table", "Windows", "Sessions"];
const KEY_TYPE = /^(Text|Time|Decimal|bool|[iu](8|16|32|64))$/;

const is =
  (what: string, holds: (value: unknown) => boolean): Check =>
  (value, path) =>
    holds(value) ? undefined : `${path} is not ${what}`;

const isText = (value: unknown): value is string => typeof value === "string";
const text = is("a text", isText);
const flag = is("true or false", (value) => typeof value === "boolean");
const count = is("a count", (value) => Number.isSafeInteger(value) && (value as number) >= 0);
const name = is("a name", (value) => isText(value) && value.length > 0 && value.length <= NAME_MAX);
const time = is("a number", Number.isFinite);
const keyType = is("the type of a key", (value) => isText(value) && KEY_TYPE.test(value));
const fieldType = is("the type of a field", (value) => isText(value) && Object.hasOwn(FIELD_TYPES, value));

const optional =
  (check: Check): Check =>
  (value, path) =>
    value === undefined ? undefined : check(value, path);

const list =
  (check: Check, most: number, least = 0): Check =>
  (value, path) => {
    if (!Array.isArray(value) || value.length < least || value.length > most)
      return `${path} is not a list of ${least} to ${most}`;
    for (const [i, each] of value.entries()) {
      const why = check(each, `${path}.${i}`);
      if (why !== undefined) return why;
    }
    return undefined;
  };

const object =
  (checks: Record<string, Check>): Check =>
  (value, path) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return `${path} is no object`;
    for (const [key, check] of Object.entries(checks)) {
      const why = check((value as Record<string, unknown>)[key], `${path}.${key}`);
      if (why !== undefined) return why;
    }
    return undefined;
  };

const field = object({ name, source: name, type: fieldType, optional: flag, offset: count });
const record = object({ name, fields: list(field, MAX_FIELDS), size: count });
const stateField = object({
  name,
  aggregate: name,
  type: optional(name),
  offset: count,
  size: count,
  columns: list(name, PARTS_MAX),
});
const kind = is("Table, Windows or Sessions", (value) => TABLE_KINDS.includes(value as string));
const table = object({
  kind: optional(kind),
  span: optional(text),
  name,
  key: list(keyType, PARTS_MAX, 1),
  state: name,
  fields: list(stateField, PARTS_MAX),
  upgrade: optional(object({ state: name, fields: list(stateField, PARTS_MAX) })),
});
const dataset = object({
  name,
  record: name,
  fields: list(object({ name, type: fieldType, optional: flag, kind: count, width: count }), MAX_FIELDS),
});
const descriptor = object({
  abi: count,
  sdk: text,
  file: text,
  input: record,
  outputs: list(record, PARTS_MAX),
  tables: list(table, MAX_TABLES),
  datasets: optional(list(dataset, MAX_DATASETS)),
  visits: optional(count),
  decoded: optional(count),
  ordered: flag,
  time: optional(object({ field: name, lateness: time })),
  late: flag,
  emits: optional(flag),
});

/** Why a value of JSON is no descriptor; undefined if it is one. */
export function invalidDescriptor(value: unknown): string | undefined {
  return descriptor(value, "its descriptor");
}
