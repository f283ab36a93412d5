/**
 * Which version of its kernel the state of a Jah is of, when it becomes that of the next one, and which version maps a frame. A state
 * machine without I/O: `Kernels` has an instance for what it says (and so has the simulator).
 */
import type { LiveVersion } from "../wire/live.ts";

export class Succession {
  /** Ascending. */
  private readonly versions: LiveVersion[];
  private current: LiveVersion;

  /** `at` is the version whose state the Jah holds, or will hold. */
  constructor(versions: readonly LiveVersion[], at: number) {
    this.versions = [...versions];
    this.current = this.find(at);
  }

  get all(): readonly LiveVersion[] {
    return this.versions;
  }

  /** Whose the state is. */
  get at(): LiveVersion {
    return this.current;
  }

  /** The next version, if it is known. */
  get following(): LiveVersion | undefined {
    return this.versions[this.versions.indexOf(this.at) + 1];
  }

  /** Whether the state is to become the next version's before frame `next` is applied. */
  due(next: number): boolean {
    const { following } = this;
    return following !== undefined && following.from <= next;
  }

  /** The state becomes that of the next version, which is answered. */
  advance(): LiveVersion {
    const { following } = this;
    if (!following) throw new TypeError(`no version follows ${this.at.version}`);
    this.current = following;
    return following;
  }

  /** A version that takes over later; one that is known stays as it is. */
  add(version: LiveVersion): void {
    if (this.knows(version.version)) return;
    this.versions.push({ ...version });
  }

  knows(version: number): boolean {
    return this.versions.some((known) => known.version === version);
  }

  /** The version that a frame belongs to, which maps it. */
  of(frame: number): LiveVersion {
    return this.versions.findLast(({ from }) => from <= frame) ?? this.versions[0];
  }

  find(version: number): LiveVersion {
    const found = this.versions.find((known) => known.version === version);
    if (!found) throw new TypeError(`no version ${version} of the kernel`);
    return found;
  }
}

/**
 * The version of a state that a Jah begins with: what was read back says whose it is (checkpoints of before do not, and are the first one's); a
 * shard that starts with nothing is the first one's, and one to come the last one's.
 */
export function versionOf(
  versions: readonly LiveVersion[],
  { saved, owns }: { saved: { version?: number } | undefined; owns: boolean },
): number {
  const first = versions[0].version;
  if (saved) return saved.version ?? first;
  return owns ? first : versions.at(-1)!.version;
}
