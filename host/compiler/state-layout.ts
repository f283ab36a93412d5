/** How the fields of a state lie in an entry, and what of it lies in blocks elsewhere. */
import type { StateField } from "./descriptor.ts";
import type { AggregateModel, StateModel } from "./kernel-model.ts";
import { AGGREGATES, PLAIN } from "./types.ts";

const PLAIN_LAYOUT = { size: 8, columns: [] as string[] };

/** The fields of a state one behind the other, in bytes from its start. */
export function layoutState(state: StateModel): StateField[] {
  let offset = 0;
  return state.fields.map((field) => {
    const { size, columns } = field.aggregate === PLAIN ? PLAIN_LAYOUT : AGGREGATES[field.aggregate];
    const at = offset;
    offset += size;
    return { ...field, offset: at, size, columns };
  });
}

/** Bytes of the fields of a state. */
export function sizeOfFields(fields: StateField[]): number {
  return fields.reduce((sum, { size }) => sum + size, 0);
}

/** The type as it is written in AssemblyScript. */
export function fullType({ aggregate, type }: AggregateModel): string {
  return type ? `${aggregate}<${type}>` : aggregate;
}

/** Whether an aggregate holds blocks, which are marked before they change and given back when its entry is removed. */
export function holdsBlocks({ aggregate, type }: AggregateModel): boolean {
  if (["First", "Last", "Min", "Max"].includes(aggregate)) return type === "Text";
  return ["Distinct", "Quantiles", "Top"].includes(aggregate);
}
