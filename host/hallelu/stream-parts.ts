/** What a stream is made of, and what it has of its host. */
import type { KernelDescriptor } from "../compiler/descriptor.ts";
import type { StreamLog } from "../store/stream-log.ts";
import type { Outputs } from "../store/outputs.ts";
import type { DecodedFrames } from "./decoded.ts";
import type { Frames } from "./frames.ts";
import type { Home } from "./home.ts";
import type { Jahs } from "./jahs.ts";
import type { readModule } from "./module.ts";
import type { StreamRecord } from "./record.ts";
import type { Tally } from "./tally.ts";

/** How streams behave; what is not given is as limits.ts has it. */
export interface Pace {
  parkAfterMs?: number;
  frameTimeoutMs?: number;
  checkpointBytes?: number;
}

export interface HostParts extends Pace {
  jahs: Jahs;
  /** CPUs of the host, and those that no Jah has. */
  cpus: number;
  freeCpus: () => number;
  /** Writes the record to the registry. */
  save: (record: StreamRecord) => Promise<void>;
  note: (level: "info" | "warn" | "error", message: string, more?: object) => void;
  /** Another host may lead the stream by now. */
  onMoved?: () => void;
}

export interface StreamParts extends HostParts {
  /** Whose `log` and `tally` these are, if it shares the records of another stream. */
  owner?: { readonly frames: Frames };
  /**
   * It is a reprocess of `owner` (reprocess.ts), whose folder and outputs it has, until it takes that one's place: it gets the frames below
   * this number, which only grows.
   */
  until?: () => number;
  log: StreamLog;
  home: Home;
  /** What is known of all frames that were logged. */
  tally: Tally;
  /** What is decoded of the log for those that share it. */
  decoded?: DecodedFrames;
  outputs: Outputs;
  /** Of the kernel's `late`. */
  lateOutputs: Outputs;
  /** What the last version of its kernel says of itself. */
  kernel: KernelDescriptor;
  /** Reads what the others say, from their modules. */
  readModule?: typeof readModule;
  /** The stream's folder. */
  folder: string;
}
