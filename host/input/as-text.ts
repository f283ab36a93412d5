/** Values of a file as text, for a field that wants text of a column that holds something else. */
import type { Column } from "../kernel/columns.ts";
import type { ColumnType, Raw, TimeUnit } from "./file-column.ts";

/** A column of the values as text; empty where one is missing. */
export function formatted(raw: Raw, type: ColumnType): Column {
  const show = formatOf(type);
  const values = raw.kind === "absent" || raw.kind === "text" || raw.kind === "dictionary" ? [] : raw.values;
  const offsets = new Uint32Array(values.length + 1);
  const texts: string[] = [];
  for (let row = 0; row < values.length; row++) {
    texts[row] = raw.validity !== undefined && raw.validity[row] === 0 ? "" : show(values[row]);
    offsets[row + 1] = offsets[row] + texts[row].length;
  }
  return { kind: "text", offsets, bytes: Buffer.from(texts.join(""), "latin1") };
}

/** How a value becomes text; the texts are ASCII. */
function formatOf(type: ColumnType): (value: number | bigint) => string {
  switch (type.is) {
    case "bool":
      return (value) => (value === 0 ? "false" : "true");
    case "float":
      return type.single ? (value) => singleText(Number(value)) : String;
    case "integer":
      return type.unsigned ? (value) => String(BigInt.asUintN(64, BigInt(value))) : String;
    case "decimal":
      return (value) => decimalText(BigInt(value), type.scale);
    case "time":
      return (value) => timeText(BigInt(value), type.unit);
    case "clock":
      return (value) => clockText(BigInt(value), type.unit);
    default:
      return String;
  }
}

/** The shortest digits that give the same f32 back. */
function singleText(value: number): string {
  for (let digits = 6; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return String(short);
  }
  return String(Number(value.toPrecision(9)));
}

/** A decimal with all digits of its scale. */
export function decimalText(value: bigint, scale: number): string {
  if (scale <= 0) return String(value * 10n ** BigInt(-scale));
  const digits = String(value < 0n ? -value : value).padStart(scale + 1, "0");
  return `${value < 0n ? "-" : ""}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

const PER_SECOND = { s: 1n, ms: 1_000n, us: 1_000_000n, ns: 1_000_000_000n } as const;

/** ISO 8601 in UTC, with milliseconds; a date alone for days. Beyond the years of a Date: the number. */
function timeText(value: bigint, unit: TimeUnit): string {
  const perSecond = unit === "day" ? 1n : PER_SECOND[unit];
  const scaled = (unit === "day" ? value * 86_400n : value) * 1_000n;
  const ms = Number(scaled / perSecond - (scaled % perSecond < 0n ? 1n : 0n));
  if (Math.abs(ms) > 8.64e15) return String(value);
  const text = new Date(ms).toISOString();
  return unit === "day" ? text.slice(0, text.indexOf("T")) : text;
}

/** Time of day, `hh:mm:ss` and the unit's digits. */
function clockText(value: bigint, unit: TimeUnit): string {
  const perSecond = unit === "day" ? 1n : PER_SECOND[unit];
  const seconds = Number(value / perSecond);
  const two = (part: number): string => String(Math.floor(part)).padStart(2, "0");
  const digits = String(perSecond).length - 1;
  const rest = digits === 0 ? "" : `.${String(value % perSecond).padStart(digits, "0")}`;
  return `${two(seconds / 3_600)}:${two((seconds / 60) % 60)}:${two(seconds % 60)}${rest}`;
}
