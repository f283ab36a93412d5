/** A stream of this host, and what goes on beside it. */
import type { Home } from "./home.ts";
import type { Reprocess } from "./reprocess.ts";
import type { SinkStanding } from "./sinks.ts";
import type { Stream } from "./stream.ts";

export interface Running {
  home: Home;
  /** Another one from when a reprocess has taken over. */
  stream: Stream;
  /** One that is under way. */
  reprocess?: Reprocess | undefined;
  /** Settles when the registry knows, or will not know, that it has taken over: until then nothing else is written of the stream. */
  cutting?: Promise<void> | undefined;
  /** Ends what reads for the stream and what takes its output away. */
  stop: AbortController;
  /** Settles when those are over. */
  feeding: Promise<unknown>[];
  /** How its sinks stand, by their place among `sink`. */
  sinks: SinkStanding[];
  /** Why it takes in nothing of its sources for now. */
  waits?: string | undefined;
  /** Whether its pushes are refused, as the disk is full. */
  diskFull: boolean;
}
