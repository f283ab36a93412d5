/**
 * What a store offers to whoever takes its checkpoints elsewhere, and what that one has to be. The store knows no other place: which module does it is said by
 * whoever asks for it, and it runs in the store's thread.
 */
export interface PinnedPage {
  page: number;
  /** Its 64 KiB. */
  bytes: Uint8Array;
}

/** A checkpoint that stays as it is while later ones are made. */
export interface PinnedCheckpoint {
  readonly number: number;
  readonly meta: unknown;
  /** For each page the checkpoint under which it lies, or 0: a page that is not there, or all zeros. What lies under the same one has not changed. */
  readonly versions: Uint32Array;
  /**
   * Reads some pages of it, between two calls of the store's owner, so few at once that these do not wait. Rejects with `store-damaged`, or with
   * `pin-ended` if the checkpoint was given up for an older one.
   */
  read(pages: readonly number[]): Promise<PinnedPage[]>;
  /** Its pages go with the next commit that does not need them. */
  release(): void;
}

export interface Pinnable {
  /** Keeps the newest checkpoint, until `release`; undefined if nothing was restored or committed yet. There is at most one pin at a time. */
  pin(): PinnedCheckpoint | undefined;
}

/** What a replica tells. */
export type ReplicaEvent =
  /** The checkpoint of this frame is durable elsewhere, and so is the one of frame `before`; so many bytes had to travel, and it took so long. */
  | {
      kind: "replicated";
      frame: number;
      before: number | undefined;
      bytes: number;
      ms: number;
      /** What the checkpoint says. */
      meta: unknown;
    }
  /** It does not get on; unless `isOver`, it tries again. */
  | { kind: "failed"; code: string; message: string; isOver: boolean };

/** Takes the checkpoints of one store elsewhere: not each of them, but always the newest. */
export interface Replica {
  /** There may be a newer checkpoint. */
  wake(): void;
  /** Resolves when it does nothing any more, which it does not wait for others for. */
  close(): Promise<void>;
}

/** What a module has that can be named to a store, as `openReplica`. */
export type OpenReplica = (store: Pinnable, target: unknown, tell: (event: ReplicaEvent) => void) => Replica;
