/** The rules that no cluster may break, whatever happens to its hosts; `Broken` says which one was. */
import { type DirectoryEntry, isLed, STREAMS_PREFIX } from "../../../host/substrate/directory.ts";
import { type Message, read, termIn } from "../../../host/substrate/log-message.ts";
import { HOSTS_PREFIX, type HostEntry } from "../../../host/substrate/membership.ts";
import { Broken } from "../rules.ts";
import { BEATS, BUCKET, type Host } from "./host.ts";
import { recordsAsOfNow, recordsIn, type Sent } from "./led-log.ts";
import { apply, emptyState, type LedStream, namesOf } from "./led-stream.ts";
import type { Network, Process } from "./network.ts";
import type { ClusterScenario } from "./scenario.ts";
import type { LogMessages, Servers } from "./servers.ts";

export interface RulesParts {
  scenario: ClusterScenario;
  network: Network;
  servers: Servers;
  hosts: ReadonlyMap<string, Host>;
  /** A host takes a stream over. */
  moves: (host: string) => void;
  /** A rule is broken, by what the servers were asked to do. */
  fail: (error: unknown) => void;
}

export class ClusterRules {
  readonly counts: { moves: number; losses: number; acknowledged: number; mended: number } = {
    moves: 0,
    losses: 0,
    acknowledged: 0,
    mended: 0,
  };
  private readonly parts: RulesParts;
  /** Entries as the servers have them. */
  readonly hosts: Map<string, HostEntry> = new Map();
  readonly streams: Map<string, DirectoryEntry> = new Map();
  /** The epoch as of which a host held its lease when another process read its beat, 0 if it did not. */
  private readonly seen = new Map<string, number>();
  /** When a host, by its folder, was last not there, as the servers have it; and when a stream got its host. */
  private readonly awayAt = new Map<string, number>();
  private readonly placedAt = new Map<string, number>();
  /** The last number of each producer that was acknowledged, by stream. */
  private readonly acknowledged = new Map<string, number[]>();

  constructor(parts: RulesParts) {
    this.parts = parts;
    parts.servers.bucket(BUCKET).onWrite = this.watched(
      (key: string, text: string | undefined, by: Process) => {
        const value = text === undefined ? undefined : (JSON.parse(text) as { value: unknown }).value;
        if (key.startsWith(HOSTS_PREFIX)) this.hostWritten(value as HostEntry, by);
        if (key.startsWith(STREAMS_PREFIX))
          this.streamWritten(key.slice(STREAMS_PREFIX.length), value as DirectoryEntry);
      },
    );
    parts.servers.bucket(BEATS).onRead = (name, by) => {
      const { process, membership } = parts.hosts.get(name)!;
      const isHeld = process && membership && parts.network.as(process, () => membership.isHeld);
      this.seen.set(`${by.id} ${name}`, isHeld ? membership.epoch : 0);
    };
  }

  /** What breaks a rule is told, and not answered to whoever asked for it. */
  private watched<A extends unknown[]>(watch: (...given: A) => void): (...given: A) => void {
    return (...given) => {
      try {
        watch(...given);
      } catch (error) {
        this.parts.fail(error);
      }
    };
  }

  private get now(): number {
    return this.parts.network.clock.now;
  }

  private hostWritten(entry: HostEntry, by: Process): void {
    const { name, folder, state } = entry;
    const before = this.hosts.get(name)?.folder;
    if (before !== undefined && before !== folder) this.awayAt.set(before, Infinity);
    if (state !== "up") this.awayAt.set(folder, Infinity);
    else if (this.awayAt.get(folder) === Infinity) this.awayAt.set(folder, this.now);
    this.hosts.set(name, entry);
    if (state === "lost") this.lost(entry, by);
  }

  /** A host is taken for lost by another: when that read its beat, it must not have held its lease. */
  private lost({ name, epoch }: HostEntry, by: Process): void {
    const { scenario } = this.parts;
    this.counts.losses++;
    if (scenario.kind === "outage") throw new Broken(`${name} is taken for lost, and is there`);
    if (scenario.kind !== "clocks" && this.seen.get(`${by.id} ${name}`) === epoch)
      throw new Broken(`${name} is taken for lost, and held its lease`);
  }

  private isThere(folder: string): boolean {
    return [...this.hosts.values()].some((host) => host.folder === folder && host.state === "up");
  }

  private streamWritten(name: string, entry: DirectoryEntry): void {
    const before = this.streams.get(name);
    this.streams.set(name, entry);
    if (!before) {
      this.placedAt.set(name, this.now);
      return;
    }
    const { folder, epoch } = before;
    if (entry.folder === folder && entry.epoch === epoch) return;
    if (entry.epoch !== epoch + 1) throw new Broken(`${name} has epoch ${entry.epoch} after ${epoch}`);
    this.streams.set(name, before);
    this.moved(name, entry);
    this.streams.set(name, entry);
    this.placedAt.set(name, this.now);
  }

  /** A host takes a stream, which goes on to have its entry of before until this has looked. */
  private moved(name: string, { host }: DirectoryEntry): void {
    const { folder } = this.streams.get(name)!;
    this.counts.moves++;
    this.parts.moves(host);
    const group = this.groupOf(name);
    const stuck = group.find((each) => !canMove(this.streams.get(each)!));
    if (stuck !== undefined) throw new Broken(`${host} takes ${name}, and ${stuck} of its group cannot move`);
    const isSplit = group.some((each) => this.streams.get(each)!.folder !== folder);
    const wasAway = !this.isThere(folder) || (this.awayAt.get(folder) ?? -1) >= this.placedAt.get(name)!;
    if (!wasAway && isSplit) this.counts.mended++;
    if (!wasAway && !isSplit) throw new Broken(`${host} takes ${name}, whose host was there all the time`);
  }

  /** Streams that belong on one host. */
  groupOf(name: string): string[] {
    const firstOf = (each: string): string => {
      const from = this.streams.get(each)?.from;
      return from === undefined ? each : firstOf(from);
    };
    const first = firstOf(name);
    return [...this.streams.keys()].filter((each) => firstOf(each) === first);
  }

  /** What leaders write of a stream is never of one that led before. */
  watch(name: string, entry: DirectoryEntry): void {
    if (!isLed(entry)) return;
    const { servers } = this.parts;
    const names = namesOf(name, entry);
    let [recorded, saved] = [0, 0];
    servers.store(names.values).onPut = this.watched((value: string, bytes: Buffer) => {
      if (value !== "record" && !value.endsWith(".head")) return;
      const { epoch } = JSON.parse(bytes.toString()) as { epoch: number };
      const last = value === "record" ? recorded : saved;
      if (epoch < last) throw new Broken(`${name}: ${value} is written as of epoch ${epoch} after ${last}`);
      if (value === "record") recorded = epoch;
      else saved = epoch;
    });
  }

  acknowledge(name: string, { producer, sequence }: Sent): void {
    this.counts.acknowledged++;
    const all = this.acknowledged.get(name) ?? [];
    all[producer] = Math.max(all[producer] ?? 0, sequence);
    this.acknowledged.set(name, all);
  }

  /** A leader has opened a stream: it has all that was acknowledged, once, as the log has it. */
  opened(name: string, stream: LedStream): void {
    const { frame, last, sum } = stream.answer;
    const log = this.parts.servers.log(namesOf(name, stream.entry).log);
    this.checkEpochs(name, log.all);
    const expected = emptyState();
    for (const sent of recordsIn(log.all, name).slice(0, frame)) apply(expected, sent);
    if (expected.frame < frame || expected.sum !== sum)
      throw new Broken(`${name} is opened with ${frame} frames that are not those of its log`);
    if (this.isCurrent(name, stream)) this.checkAcknowledged(name, last);
  }

  /** Whether the log of a stream that was opened is led by nobody else yet. */
  private isCurrent(name: string, { entry }: LedStream): boolean {
    const log = this.parts.servers.log(namesOf(name, entry).log);
    const said = log.lastTerm && read(log.lastTerm, name);
    return said !== undefined && termIn(said)?.epoch === entry.epoch;
  }

  private checkAcknowledged(name: string, last: number[]): void {
    for (const [producer, sequence] of (this.acknowledged.get(name) ?? []).entries())
      if (sequence > (last[producer] ?? 0))
        throw new Broken(`${name}: record ${sequence} of producer ${producer} was acknowledged, and is lost`);
  }

  /** Of the entries that count none is of a leader that led before the one of the entry in front. */
  private checkEpochs(name: string, messages: readonly Message[]): void {
    const records = recordsAsOfNow(messages, name);
    const epochs = new Map<string, number>();
    let newest = 0;
    for (const message of messages) {
      const said = read(message, name);
      const begun = said && message.isTerm ? termIn(said) : undefined;
      if (begun) epochs.set(begun.term, begun.epoch);
      if (!begun && !records[message.number]) continue;
      const epoch = epochs.get(message.term)!;
      if (epoch < newest)
        throw new Broken(`${name}: entry ${message.number} of epoch ${epoch} counts, after one of ${newest}`);
      newest = epoch;
    }
  }

  /** All has come to rest: what is there is what was acknowledged, in the order of each producer, once. */
  rest(): void {
    const { servers, hosts } = this.parts;
    for (const [name, entry] of this.streams) {
      if (!isLed(entry)) continue;
      const log: LogMessages = servers.log(namesOf(name, entry).log);
      this.checkEpochs(name, log.all);
      const last: number[] = [];
      for (const sent of recordsAsOfNow(log.all, name)) {
        if (!sent) continue;
        const before = last[sent.producer] ?? 0;
        if (sent.sequence !== before + 1)
          throw new Broken(
            `${name}: record ${sent.sequence} of producer ${sent.producer} comes after ${before}`,
          );
        last[sent.producer] = sent.sequence;
      }
      this.checkAcknowledged(name, last);
      const open = [...hosts.values()].filter((host) => host.streams.has(name));
      if (open.length > 1)
        throw new Broken(`${name} is open on ${open.map((host) => host.name).join(" and ")}`);
      const folders = new Set(this.groupOf(name).map((each) => this.streams.get(each)!.folder));
      if (folders.size > 1) throw new Broken(`the group of ${name} is on ${folders.size} hosts`);
    }
  }
}

export function canMove(entry: DirectoryEntry): boolean {
  return isLed(entry) && !entry.isBound;
}
