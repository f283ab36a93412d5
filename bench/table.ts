import type { Result } from "./results.ts";

/** Columns as wide as their widest cell; numbers of a unit read best aligned to the right. */
export function table(header: string[], rows: string[][], rightAligned: number[]): string {
  const widths = header.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column].length)),
  );
  const line = (cells: string[]) =>
    cells
      .map((cell, column) =>
        rightAligned.includes(column) ? cell.padStart(widths[column]) : cell.padEnd(widths[column]),
      )
      .join("  ")
      .trimEnd();
  return [line(header), widths.map((width) => "-".repeat(width)).join("  "), ...rows.map(line)].join("\n");
}

/** What a person wants to see of the results after a run. */
export function resultTable(results: Result[]): string {
  const header = ["figure", "value", "unit", "peer", "its value", "ratio", "runs", "bar", ""];
  const rows = results.map((result) => [
    result.name,
    short(result.value),
    result.unit,
    result.peer ?? "",
    result.peer_value === null ? "" : short(result.peer_value),
    result.ratio === null ? "" : `${result.ratio.toFixed(2)}x`,
    String(result.runs),
    result.bar ?? "",
    [result.met === null ? "" : result.met ? "met" : "NOT MET", result.note ?? ""].filter(Boolean).join("; "),
  ]);
  return table(header, rows, [1, 4, 5, 6]);
}

/** At most four digits, and no exponent. */
export function short(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}
