/** A stream as users see it, with what goes on beside it. See ps.ts for the stream itself. */
import type { DatasetDescriptor, TableDescriptor } from "../compiler/descriptor.ts";
import { tableColumns } from "../kernel/table-columns.ts";
import type { StreamInfo, VisitableInfo } from "../wire/http.ts";
import { hasOutput } from "./has-output.ts";
import { reprocessInfo } from "./reprocesses.ts";
import type { Running } from "./running.ts";

/** How a stream stands, its sinks included. */
export function infoOf({ stream, sinks, waits, reprocess }: Running): StreamInfo {
  const { kernel, record } = stream;
  return {
    ...stream.info(),
    hasOutput: hasOutput(kernel),
    hasLateOutput: kernel.late,
    ...(kernel.datasets?.length ? { datasets: kernel.datasets.map(datasetInfo) } : {}),
    ...(kernel.tables.length ? { tableColumns: kernel.tables.map(tableInfo) } : {}),
    ...(sinks.length ? { sinks: sinks.map((sink, i) => ({ target: record.sink[i], ...sink })) } : {}),
    ...(reprocess ? { reprocess: reprocessInfo(reprocess.green) } : {}),
    ...(waits === undefined ? {} : { waits }),
  };
}

function datasetInfo({ name, fields }: DatasetDescriptor): VisitableInfo {
  return { name, fields: fields.map(({ name: field, type, optional }) => ({ name: field, type, optional })) };
}

function tableInfo(table: TableDescriptor): VisitableInfo {
  const fields = tableColumns(table).map(({ name, type, optional, unsupported }) => ({
    name,
    type,
    optional,
    ...(unsupported === undefined ? {} : { unsupported }),
  }));
  return { name: table.name, fields };
}
