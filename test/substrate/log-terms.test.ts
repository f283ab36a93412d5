import * as fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { LogEntry } from "../../host/store/log-format.ts";
import { VOID_KIND } from "../../host/store/stream-log.ts";
import { type Message, payloadOf, read } from "../../host/substrate/log-message.ts";
import { Terms } from "../../host/substrate/log-terms.ts";
import { seeded } from "../run.ts";

const test = suite("host/substrate/log-terms: which messages of a log count");

const entryOf = (text: string): LogEntry => ({
  kind: 1,
  head: undefined,
  body: [Buffer.from(text)],
  records: 1,
});

function termMessage(number: number, term: string, voidFrom?: number): Message {
  const head = { term, epoch: 1, host: "h", ...(voidFrom === undefined ? {} : { void: voidFrom }) };
  const entry = { kind: VOID_KIND, head: Buffer.from(JSON.stringify(head)), body: [], records: 0 };
  return { number, term, isTerm: true, payload: payloadOf(entry, 0, 0, 0) };
}

/** What each entry holds: its text, "" if nothing. */
const textsOf = (entries: LogEntry[]) =>
  entries.map(({ kind, body }) => (kind === VOID_KIND ? "" : String(body[0])));

function decided(messages: Message[], terms = new Terms()): string[] {
  return textsOf(messages.flatMap((message) => terms.push(message, read(message, "s"))));
}

/** Messages, in order, as `term/text/follow/unsettled`; `!term/void` begins a term, anything else is none of ours. */
function messagesOf(...said: string[]): Message[] {
  return said.map((each, number) => {
    const [term, text, follow = "0", unsettled = "0"] = each.split("/");
    if (term.startsWith("!")) return termMessage(number, term.slice(1), text ? Number(text) : undefined);
    if (!text) return { number, term: "", isTerm: false, payload: Buffer.from(each) };
    const payload = payloadOf(entryOf(text), number, Number(follow), Number(unsettled));
    return { number, term, isTerm: false, payload };
  });
}

test("what is answered for is decided, the rest when the next term begins", () => {
  assert.equal(decided(messagesOf("!a.1", "a.1/x", "a.1/y/0/1", "a.1/z/0/2")), [""]);
  assert.equal(decided(messagesOf("!a.1", "a.1/x", "a.1/y/0/0", "a.1/z/0/1")), ["", "x"]);
  assert.equal(decided(messagesOf("!a.1", "a.1/x", "a.1/y/0/1", "!b.1")), ["", "x", "y", ""]);
});

test("a group whose end does not come is void, and so is what its writer was not sure of", () => {
  assert.equal(decided(messagesOf("!a.1", "a.1/w", "a.1/x/2/1", "a.1/y/1/2", "!b.1")), ["", "w", "", "", ""]);
  assert.equal(decided(messagesOf("!a.1", "a.1/w", "a.1/x/0/1", "!a.2/2", "a.2/x")).slice(0, 4), [
    "",
    "w",
    "",
    "",
  ]);
  const elsewhere = messagesOf("!a.1", "a.1/w", "a.1/x/0/1", "!b.1/1");
  assert.equal(decided(elsewhere), ["", "w", "x", ""], "of another writer's it says nothing");
});

test("nothing counts behind a message of another term, or of someone else, up to the next term", () => {
  assert.equal(decided(messagesOf("!a.1", "a.1/x", "!b.1", "a.1/y", "a.1/z", "!b.2/3")), [
    "",
    "x",
    "",
    "",
    "",
    "",
  ]);
  assert.equal(decided(messagesOf("!a.1", "a.1/x", "hello", "a.1/z", "!b.1", "b.1/q", "!c.1")), [
    "",
    "x",
    "",
    "",
    "",
    "q",
    "",
  ]);
  assert.equal(decided(messagesOf("a.1/x", "!a.2")), ["", ""], "no term has begun");
});

test("a message that was changed is damaged, and not passed over", () => {
  const [, message] = messagesOf("!a.1", "a.1/x");
  for (let at = 0; at < message.payload.length; at++) {
    const payload = Buffer.from(message.payload);
    payload[at] ^= 1;
    assert.throws(() => read({ ...message, payload }, "s"), /message 2 of the JetStream stream s is damaged/);
  }
  assert.is(read({ ...message, number: 5 }, "s"), undefined, "it was sent as another number");
});

// --- writers that follow one another ------------------------------------------------------------------------------

interface Group {
  texts: string[];
  first: number;
  state: "sent" | "answered" | "failed";
}

/** A writer as it is meant to be, with a wire of its own to the server, on which anything may be late or be lost. */
class Writer {
  term = "";
  next = 0;
  settled = 0;
  groups: Group[] = [];
  wire: { message: Message; group: Group }[] = [];
  acknowledged = 0;
  isOver = false;
  private terms = 0;
  constructor(
    readonly name: string,
    readonly server: Server,
  ) {}

  begin(): void {
    const { server } = this;
    if (this.terms && !server.lastTerm.startsWith(`${this.name}.`)) {
      this.isOver = true;
      return;
    }
    const term = `${this.name}.${this.terms + 1}`;
    const number = server.messages.length;
    server.messages.push(termMessage(number, term, this.terms ? this.settled : undefined));
    server.lastTerm = term;
    for (const group of this.groups) if (group.state === "sent") group.state = "failed";
    if (!this.terms) server.readAll(number + 1);
    this.terms++;
    this.term = term;
    this.next = this.settled = number + 1;
    this.acknowledged = this.next;
  }

  submit(texts: string[]): void {
    const group: Group = { texts, first: this.next, state: "sent" };
    this.groups.push(group);
    texts.forEach((text, i) => {
      const number = this.next++;
      const payload = payloadOf(entryOf(text), number, texts.length - 1 - i, number - this.settled);
      this.wire.push({ message: { number, term: this.term, isTerm: false, payload }, group });
    });
  }

  /** The next message comes to the server; its answer is lost, or comes at once. */
  deliver(isLost: boolean): void {
    const sent = this.wire.shift();
    if (!sent) return;
    const { message, group } = sent;
    const isKept = message.number === this.server.messages.length;
    if (isKept) this.server.messages.push(message);
    const isAnswer = isKept && message.term === this.term && message.number === this.acknowledged;
    if (!isAnswer || isLost) {
      if (message.term === this.term) this.acknowledged = -1; // nothing more comes of this term
      return;
    }
    this.acknowledged++;
    if (this.acknowledged < group.first + group.texts.length) return;
    group.state = "answered";
    this.settled = this.acknowledged;
  }
}

class Server {
  messages: Message[] = [];
  lastTerm = "";
  /** What those that took over have read. */
  reads: string[][] = [];

  readAll(next: number): string[] {
    const all = decided(this.messages.slice(0, next));
    assert.is(all.length, next, "all is decided when a term begins");
    this.reads.push(all);
    return all;
  }
}

test("whatever is late or lost: what was answered counts, what failed does not, and nothing counts twice or in part", () => {
  const step = fc.record({
    kind: fc.constantFrom(
      "submit",
      "submit",
      "submit",
      "deliver",
      "deliver",
      "deliver",
      "deliver",
      "deliver",
      "lose",
      "begin",
      "cut",
      "next",
      "old",
    ),
    size: fc.integer({ min: 1, max: 3 }),
  });
  let answeredInAll = 0;
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100, size: "max" }), (steps) => {
      const server = new Server();
      const writers = [new Writer("w0", server)];
      writers[0].begin();
      let texts = 0;
      for (const { kind, size } of steps) {
        const writer = writers.at(-1)!;
        if (kind === "submit") writer.submit(Array.from({ length: size }, () => `t${++texts}`));
        else if (kind === "deliver" || kind === "lose")
          for (let i = 0; i < size; i++) writer.deliver(kind === "lose");
        else if (kind === "begin" || kind === "cut") {
          if (kind === "cut") writer.wire = [];
          writer.begin();
        } else if (kind === "next") {
          writers.push(new Writer(`w${writers.length}`, server));
          writers.at(-1)!.begin();
        } else {
          const old = writers[texts % writers.length];
          old.deliver(false);
          if (size === 1 && !old.isOver) old.submit([`t${++texts}`]);
        }
      }
      const last = new Writer("last", server);
      last.begin();
      const all = server.reads.at(-1)!;
      for (const each of server.reads) assert.equal(all.slice(0, each.length), each, "what was read stays");
      const isFinal = ({ state }: Group, writer: Writer) => state === "failed" && !writer.isOver;
      for (const writer of writers)
        for (const group of writer.groups) {
          const places = group.texts.map((text) => all.indexOf(text));
          const isThere = places[0] >= 0;
          if (group.state === "answered") answeredInAll++;
          if (group.state === "answered" || isThere)
            assert.equal(
              places,
              group.texts.map((_, i) => group.first + i),
              "whole, where it was said to be",
            );
          if (isFinal(group, writer)) assert.not.ok(isThere, "what failed is not there");
        }
      const there = all.filter(Boolean);
      assert.is(new Set(there).size, there.length);
      // From any entry that is decided, the rest is read in the same way.
      const terms = server.messages.map(({ term }) => term);
      for (const read of server.reads.slice(0, -1)) {
        const rest = server.messages.slice(read.length, all.length);
        assert.equal(decided(rest, new Terms(terms[read.length - 1])), all.slice(read.length));
      }
    }),
    seeded(1_000),
  );
  assert.ok(answeredInAll > 1_000);
});

test.run();
