/** Which host of a cluster a new stream goes to, and who takes over the streams of hosts that are gone. Pure. */

export interface PlacementHost {
  name: string;
  cpus: number;
}

/**
 * The host that has the fewest streams for each of its CPUs when it has one more: `here` if no other is better, else of those that are alike the
 * one whose name comes first. `hostOfStream` are the hosts of all streams, which may not be among `hosts`.
 */
export function hostOfNew(
  hosts: readonly PlacementHost[],
  hostOfStream: Iterable<string>,
  here: string,
): string {
  const counts = new Map<string, number>();
  for (const host of hostOfStream) counts.set(host, (counts.get(host) ?? 0) + 1);
  const loadOf = ({ name, cpus }: PlacementHost) => ((counts.get(name) ?? 0) + 1) / Math.max(1, cpus);
  const rank = (a: PlacementHost, b: PlacementHost) =>
    loadOf(a) - loadOf(b) || Number(b.name === here) - Number(a.name === here) || (a.name < b.name ? -1 : 1);
  return hosts.toSorted(rank)[0]?.name ?? here;
}

/** A host, as the registry of the cluster says. */
export interface KnownHost extends PlacementHost {
  /** Of its data folder, by which a host is known: its name may be another the next time. */
  folder: string;
  /** "up", or anything else. */
  state: string;
}

/** A stream, as the registry of the cluster says. */
export interface PlacedStream {
  folder: string;
  /** Undefined if its log and its state are with its host alone. */
  identity?: string;
  /** The stream whose output or records it takes in. */
  from?: string;
  /** Whether it reads files of its host. */
  isBound?: boolean;
}

/**
 * The streams that the host `self` is to take over now, in order: each comes after the one that it takes in.
 *
 * Streams that take in others are one group with them, and belong on one host. A group none of whose hosts is up goes to another, as a whole.
 * All hosts plan that alike: the largest group first, each to the host that then has the fewest streams for each of its CPUs, of those that are
 * alike to the one whose name comes first. Where some of a group's hosts are up, as one was lost or came back while the group changed hosts, the one
 * that has the first of its streams gets the others. A group stays that has a stream which cannot move: one that reads files of its host, or has its
 * state there alone.
 */
export function takeovers(
  hosts: readonly KnownHost[],
  streams: ReadonlyMap<string, PlacedStream>,
  self: string,
): string[] {
  const up = hosts.filter(({ state }) => state === "up");
  const own = up.find(({ name }) => name === self)?.folder;
  if (own === undefined) return [];
  const folders = new Set(up.map(({ folder }) => folder));
  const isUp = ({ folder }: Member) => folders.has(folder);
  const taken: Member[] = [];
  const orphans: Member[][] = [];
  for (const group of groupsOf(streams)) {
    const first = group.find(isUp);
    if ((first && group.length === 1) || !group.every(({ canMove }) => canMove)) continue;
    if (!first) orphans.push(group);
    else if (first.folder === own) taken.push(...group.filter(({ folder }) => folder !== own));
  }
  if (orphans.length) {
    const room = new Room(up, streams.values());
    orphans.sort((a, b) => b.length - a.length || (a[0].name < b[0].name ? -1 : 1));
    for (const group of orphans) if (room.give(group.length) === self) taken.push(...group);
  }
  return taken.map(({ name }) => name);
}

interface Member {
  name: string;
  folder: string;
  canMove: boolean;
}

/** Streams with all that take them in, directly or not, each after the one that it takes in. */
function groupsOf(streams: ReadonlyMap<string, PlacedStream>): Member[][] {
  const takers = new Map<string, Member[]>();
  const firsts: Member[] = [];
  for (const [name, { folder, identity, from, isBound }] of streams) {
    const member = { name, folder, canMove: identity !== undefined && !isBound };
    if (from === undefined || !streams.has(from)) {
      firsts.push(member);
      continue;
    }
    const of = takers.get(from);
    if (of) of.push(member);
    else takers.set(from, [member]);
  }
  for (const members of takers.values()) members.sort((a, b) => (a.name < b.name ? -1 : 1));
  const grouped = new Set<Member>();
  const groupOf = (first: Member) => {
    const group = [first];
    for (const each of group) {
      grouped.add(each);
      const next = takers.get(each.name)?.filter((member) => !grouped.has(member));
      if (next) group.push(...next);
    }
    return group;
  };
  const groups = firsts.map((first) => (takers.has(first.name) ? groupOf(first) : [first]));
  // What is left are rings, in which nothing comes first.
  const left = [...takers.values()].flat().filter((member) => !grouped.has(member));
  for (const member of left.sort((a, b) => (a.name < b.name ? -1 : 1)))
    if (!grouped.has(member)) groups.push(groupOf(member));
  return groups;
}

interface Seat {
  name: string;
  cpus: number;
  /** Streams. */
  count: number;
}

/** How many streams the hosts have. */
class Room {
  /** Of hosts with as many CPUs the one with the fewest streams comes first: each is a binary heap. */
  private readonly heaps: Seat[][];

  constructor(up: readonly KnownHost[], streams: Iterable<PlacedStream>) {
    const counts = new Map<string, number>();
    for (const { folder } of streams) counts.set(folder, (counts.get(folder) ?? 0) + 1);
    const heaps = new Map<number, Seat[]>();
    for (const { name, folder, cpus } of up) {
      const heap = heaps.get(cpus) ?? [];
      heaps.set(cpus, heap);
      heap.push({ name, cpus: Math.max(1, cpus), count: counts.get(folder) ?? 0 });
    }
    this.heaps = [...heaps.values()];
    for (const heap of this.heaps) heap.sort((a, b) => (comesBefore(a, b, 0) ? -1 : 1)); // which is a heap
  }

  /** The host that has the fewest streams for each CPU with `size` more, which it gets. */
  give(size: number): string {
    const heap = this.heaps.reduce((best, each) => (comesBefore(each[0], best[0], size) ? each : best));
    const [seat] = heap;
    seat.count += size;
    sink(heap);
    return seat.name;
  }
}

/** Whether `a` is to get `size` streams rather than `b`. */
function comesBefore(a: Seat, b: Seat, size: number): boolean {
  const difference = (a.count + size) / a.cpus - (b.count + size) / b.cpus;
  return difference === 0 ? a.name < b.name : difference < 0;
}

/** Puts the first of a heap where it belongs. */
function sink(heap: Seat[]): void {
  const [seat] = heap;
  let i = 0;
  for (;;) {
    let child = 2 * i + 1;
    if (child + 1 < heap.length && comesBefore(heap[child + 1], heap[child], 0)) child++;
    if (child >= heap.length || comesBefore(seat, heap[child], 0)) break;
    heap[i] = heap[child];
    i = child;
  }
  heap[i] = seat;
}
