/** The kernel SDK: what `import { ... } from "hallelujah"` gives in a kernel. */
export { Cursor, Text } from "./text";
export { Time } from "./time";
export { Decimal } from "./decimal";
export { Optional } from "./optional";
export { out } from "./output";
export { Dataset } from "./state/dataset";
export { Table } from "./state/table";
export { Pair, Triple, pair, triple } from "./state/key";
export { Count, First, Last, Max, Min, Stats, Sum } from "./state/aggregates";
export { Distinct } from "./state/distinct";
export { Quantiles } from "./state/quantiles";
export { Top } from "./state/top";
export { Windows } from "./state/windows";
export { Sessions } from "./state/sessions";
export { Window } from "./state/timed";
