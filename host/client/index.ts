/** Hallelujah as a library: `import { run } from "hallelujah"`. */
export { run, type RunOptions, type Run } from "./run.ts";
export type { Emitted, Row, TableRow } from "./rows.ts";
export { buildKernel, type BuiltKernel } from "../compiler/cache.ts";
export type { KernelDescriptor } from "../compiler/descriptor.ts";
export { HallelujahError } from "../core/errors.ts";
export type { Progress, Summary } from "../run/job.ts";
export type { BadRecord } from "../run/problems.ts";
export {
  connect,
  type ConnectOptions,
  type DeadLetterInfo,
  type DeployOptions,
  Hallelujah,
  type ClusterHostInfo,
  type HostInfo,
  type JahInfo,
  type Offer,
  type OutputRow,
  type PushOptions,
  type PushProgress,
  type QueryOptions,
  type Records,
  type Rows,
  type StreamChange,
  type StreamInfo,
} from "./live.ts";
