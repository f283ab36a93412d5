import * as fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Decoder, type Row, random, runRows, seeded, seedOf, write } from "../run.ts";

const test = suite("assembly/record/ndjson");

const one = await Decoder.of("one");
const texts = await Decoder.of("texts");
const types = await Decoder.of("types");
const optionals = await Decoder.of("optionals");
const nested = await Decoder.of("nested");

/** The only field `a` of each line. */
async function textsOf(lines: string[]): Promise<string[]> {
  const { rows, bad } = await one.ndjson(Buffer.from(lines.map((line) => `${line}\n`).join("")));
  assert.is(bad, 0);
  return rows.map(({ a }) => a);
}

/** Lone surrogates become U+FFFD. */
const wellFormed = (text: string) => Buffer.from(text).toString();

/** How many of the lines are records; the others must be bad. Blank lines are neither. */
async function fits(decoder: Decoder, lines: string[]): Promise<boolean[]> {
  const answers: boolean[] = [];
  for (const line of lines) {
    const { rows, bad } = await decoder.ndjson(Buffer.from(`${line}\n`));
    assert.is(rows.length + bad, 1, line);
    answers.push(bad === 0);
  }
  return answers;
}

/** JSON text of a string in which each unit is written in a way of its own. */
function writeString(text: string, choose: (ways: number) => number): string {
  const short: Record<string, string> = {
    "\n": "\\n",
    "\t": "\\t",
    "\r": "\\r",
    "\b": "\\b",
    "\f": "\\f",
    "/": "\\/",
  };
  let out = "";
  for (let i = 0; i < text.length; i++) {
    const unit = text[i];
    const code = text.charCodeAt(i);
    const hex = code.toString(16).padStart(4, "0");
    const escape = `\\u${choose(2) ? hex : hex.toUpperCase()}`;
    const surrogate = code >= 0xd800 && code < 0xe000;
    if (unit === '"' || unit === "\\") out += choose(2) ? `\\${unit}` : escape;
    else if (unit in short && choose(2)) out += short[unit];
    else if (code < 0x20 || surrogate || choose(4) === 0) out += escape;
    else out += unit;
  }
  return `"${out}"`;
}

const anyText = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.string({
    unit: fc.constantFrom(
      '"',
      "\\",
      "/",
      "\n",
      "\t",
      "\0",
      "é",
      "\u{1F600}",
      "a",
      "\ud83d",
      "\ude00",
      "\u2028",
    ),
  }),
  fc.string({ unit: "grapheme", maxLength: 100 }),
);

test("strings are read as JSON.parse reads them, however they are escaped", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(anyText, { minLength: 1 }),
      fc.infiniteStream(fc.nat()),
      async (values, ways) => {
        const choose = (count: number) => ways.next().value! % count;
        const lines = values.map((text) => `{"a":${writeString(text, choose)}}`);
        assert.equal(
          await textsOf(lines),
          lines.map((line) => wellFormed(JSON.parse(line).a)),
        );
        const stringified = values.map((a) => JSON.stringify({ a }));
        assert.equal(await textsOf(stringified), values.map(wellFormed));
      },
    ),
    seeded(800),
  );
});

test("surrogate pairs are joined, lone surrogates become U+FFFD", async () => {
  const escapes = [
    "\\ud83d\\ude00",
    "\\uD83D",
    "\\uDE00",
    "\\ud83dx",
    "\\ud83d\\ud83d\\ude00",
    "\\ude00\\ud83d",
    "\\ud83d\\n",
  ];
  for (const escape of escapes) {
    const line = `{"a":"<${escape}>"}`;
    assert.equal(await textsOf([line]), [wellFormed(JSON.parse(line).a)], escape);
  }
});

/** A key and its JSON, with white space wherever it may stand. */
const space = fc.string({ unit: fc.constantFrom(" ", "\t", "\r"), maxLength: 3 });

test("keys come in any order, with white space anywhere, among members that are not wanted", async () => {
  const other = fc.tuple(
    fc.string({ maxLength: 5 }).filter((key) => !["a", "b", "c"].includes(key)),
    fc.jsonValue().map((value) => JSON.stringify(value)),
  );
  const line = fc.tuple(
    anyText,
    anyText,
    anyText,
    fc.array(other, { maxLength: 4 }),
    fc.nat(),
    fc.array(space, { minLength: 1 }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(line, { minLength: 1, maxLength: 5 }), async (records) => {
      let text = "";
      for (const [a, b, c, others, seed, spaces] of records) {
        const next = random(seed);
        const members: [string, string][] = [
          ["a", JSON.stringify(a)],
          ["b", JSON.stringify(b)],
          ["c", JSON.stringify(c)],
          ...others,
        ];
        const shuffled = members.map((member) => ({ member, at: next() })).toSorted((x, y) => x.at - y.at);
        const gap = () => spaces[Math.floor(next() * spaces.length)];
        const parts = shuffled.map(
          ({ member: [key, value] }) => `${gap()}${JSON.stringify(key)}${gap()}:${gap()}${value}${gap()}`,
        );
        text += `${gap()}{${parts.join(",")}}${gap()}\n`;
      }
      const { rows, bad } = await texts.ndjson(Buffer.from(text));
      assert.is(bad, 0, text);
      assert.equal(
        rows,
        records.map(([a, b, c]) => ({ a: wellFormed(a), b: wellFormed(b), c: wellFormed(c) })),
      );
    }),
    seeded(800),
  );
});

test("the order of keys may change from line to line", async () => {
  const next = random(seedOf("key order"));
  const lines: string[] = [];
  const expected: Row[] = [];
  for (let i = 0; i < 2000; i++) {
    const row: Row = {
      id: i,
      f64: i / 8,
      i64: -i,
      u8: i % 256,
      yes: i % 3 === 0,
      text: `t${i}`,
      time: null,
      decimal: i / 100,
    };
    const members = Object.entries({
      ...row,
      extra: { id: -1, text: ["}"] },
      [`x${i % 50}`]: i,
      "a name that is far too long to be remembered by its place": 1,
    });
    const kept = members.filter(([key]) => key === "id" || next() < 0.9);
    const order = kept
      .map((member) => ({ member, at: next() < 0.5 ? 0 : next() }))
      .toSorted((x, y) => x.at - y.at);
    lines.push(JSON.stringify(Object.fromEntries(order.map(({ member }) => member))));
    const names = new Set(kept.map(([key]) => key));
    expected.push(
      Object.fromEntries(Object.entries(row).map(([key, value]) => [key, names.has(key) ? value : null])),
    );
  }
  const { rows, bad } = await optionals.ndjson(Buffer.from(lines.join("\n")));
  assert.is(bad, 0);
  assert.equal(rows, expected);
});

test("dotted names reach into objects, or are keys with dots", async () => {
  const lines = [
    '{"id":1,"user":{"id":2,"name":"x","address":{"city":"y","id":9}},"name":"no"}',
    '{"user":{"address":{"city":"y"},"other":{"id":7,"name":"no"},"name":"x","id":2},"id":1}',
    '{"id":1,"user.id":2,"user.name":"x","user.address.city":"y"}',
    '{"id":1,"user":{},"other":{"user":{"id":5}}}',
    '{"id":1,"user":null}',
    '{"id":1,"user":[{"id":2}]}',
    '{"id":1,"user":{"id":null,"address":"none"}}',
    ' { "id" : 1 , "user" : { "id" : 2 , "address" : { } , "name" : "x" } } ',
  ];
  const { rows, bad } = await nested.ndjson(Buffer.from(lines.join("\n")));
  assert.is(bad, 0);
  const none = { id: 1, user: null, name: null, city: null };
  const all = { id: 1, user: 2, name: "x", city: "y" };
  assert.equal(rows, [all, all, all, none, none, none, none, { ...all, city: null }]);
});

test("escaped keys are the keys they stand for", async () => {
  const line = '{"\\u0061":"1","\\u0062x":"no","\\u0062":"2","c":"3"}';
  const { rows, bad } = await texts.ndjson(Buffer.from(`${line}\n${line}\n`));
  assert.equal(
    { rows, bad },
    { rows: [JSON.parse('{"a":"1","b":"2","c":"3"}'), { a: "1", b: "2", c: "3" }], bad: 0 },
  );
});

test("of duplicate keys the last one counts", async () => {
  assert.equal(await textsOf(['{"a":"1","a":"2"}', '{"a":"1","b":0,"a":"3"}']), ["2", "3"]);
  const { rows } = await optionals.ndjson(
    Buffer.from('{"id":1,"f64":1,"f64":null,"id":2}\n{"id":1,"f64":null,"f64":2}'),
  );
  assert.equal(
    rows.map(({ id, f64 }) => [id, f64]),
    [
      [2, null],
      [1, 2],
    ],
  );
});

test("missing and null fields are absent where optional, else make the record bad", async () => {
  const { rows, bad, problems } = await optionals.ndjson(
    Buffer.from('{"f64":1}\n{"id":null}\n{"id":1,"f64":null}\n{}\n'),
  );
  assert.is(rows.length, 1);
  assert.is(bad, 3);
  assert.equal(
    problems.map(({ reason }) => reason),
    ['"id" is missing', '"id" is null', '"id" is missing'],
  );
});

test("a text field takes numbers and booleans as they are written", async () => {
  assert.equal(await textsOf(['{"a":1.50}', '{"a":true}', '{"a":-1e5}', '{"a":false }']), [
    "1.50",
    "true",
    "-1e5",
    "false",
  ]);
});

const numbers = [
  "0",
  "-0",
  "1",
  "-1",
  "10",
  "1.5",
  "-1.5e3",
  "1e5",
  "1E+5",
  "1e-7",
  "123456789012345678",
  "0.1",
  "5e-324",
  "1e400",
  "0e0",
];
const notNumbers = [
  "01",
  "-",
  "+1",
  ".5",
  "5.",
  "1e",
  "1e+",
  "0x10",
  "1_000",
  "--1",
  "1.2.3",
  "NaN",
  "Infinity",
  "-Infinity",
  "1e5.5",
  "00",
  "-01",
  "1 2",
  "",
  "-.5",
  "1a",
];

test("numbers are those of JSON, no more and no less", async () => {
  const lines = [...numbers, ...notNumbers].map((number) => `{"id":1,"f64":${number}}`);
  const parses = lines.map((line) => isJson(line));
  assert.equal(await fits(optionals, lines), parses);
  const asText = [...numbers, ...notNumbers].map((number) => `{"a":${number}}`);
  assert.equal(await fits(one, asText), parses);
  const { rows } = await optionals.ndjson(
    Buffer.from(numbers.map((number) => `{"id":1,"f64":${number}}`).join("\n")),
  );
  assert.equal(
    rows.map(({ f64 }) => f64),
    numbers.map((number) => (Number.isFinite(JSON.parse(number)) ? JSON.parse(number) + 0 : null)),
  );
});

test("integers are bounded by their type, as are those of JSON", async () => {
  const bounds: [string, bigint, bigint][] = [
    ["i64", -(2n ** 63n), 2n ** 63n - 1n],
    ["i32", -(2n ** 31n), 2n ** 31n - 1n],
    ["i16", -32768n, 32767n],
    ["i8", -128n, 127n],
    ["u64", 0n, 2n ** 64n - 1n],
    ["u32", 0n, 2n ** 32n - 1n],
    ["u16", 0n, 65535n],
    ["u8", 0n, 255n],
  ];
  const base: Record<string, string> = {
    ...Object.fromEntries(
      ["f64", "f32", "i64", "i32", "i16", "i8", "u64", "u32", "u16", "u8"].map((name) => [name, "0"]),
    ),
    yes: "true",
    text: '""',
    time: '"2024-01-01"',
    decimal: "0",
  };
  const line = (over: Record<string, string>) =>
    `{${Object.entries({ ...base, ...over })
      .map(([key, value]) => `"${key}":${value}`)
      .join(",")}}`;
  for (const [field, low, high] of bounds) {
    const { rows, bad } = await types.ndjson(
      Buffer.from([low, high, low - 1n, high + 1n].map((value) => line({ [field]: `${value}` })).join("\n")),
    );
    assert.is(bad, 2, field);
    const shown = (value: bigint) =>
      value > 2n ** 53n - 1n || value < -(2n ** 53n) + 1n ? `${value}` : Number(value);
    assert.equal(
      rows.map((row) => row[field]),
      [shown(low), shown(high)],
    );
  }
  const wrong = ["1.5", "01", "1.0", "+1", "-"].map((value) => line({ i32: value }));
  assert.equal(
    await fits(types, wrong),
    wrong.map(() => false),
  );
});

test("a value of the wrong type makes a record bad", async () => {
  const wrong = [
    ...['"1"', "true", "[]", "{}", "[1]"].map((value) => `{"id":1,"f64":${value}}`),
    ...['"1"', "true", "1.5"].map((value) => `{"id":${value}}`),
    ...['"true"', "1", "[]"].map((value) => `{"id":1,"yes":${value}}`),
    ...["1", "true", '"yesterday"', '"2024-02-30"'].map((value) => `{"id":1,"time":${value}}`),
    ...["true", '"1,5"', '"x"', "1.1234567"].map((value) => `{"id":1,"decimal":${value}}`),
    ...["[]", '{"x":1}'].map((value) => `{"id":1,"text":${value}}`),
  ];
  assert.equal(
    await fits(optionals, wrong),
    wrong.map(() => false),
  );
  const right = [
    '{"id":1,"decimal":"1.5"}',
    '{"id":1,"decimal":1.50,"yes":false,"time":"2024-02-29T12:00:00+01:00"}',
  ];
  assert.equal(await fits(optionals, right), [true, true]);
});

function isJson(line: string): boolean {
  try {
    JSON.parse(line);
    return true;
  } catch {
    return false;
  }
}

const broken = [
  "{",
  "}",
  "[]",
  "[1]",
  "1",
  '"x"',
  "null",
  "true",
  "x",
  "{]",
  '{"a"}',
  '{"a":}',
  '{"a":"1"',
  '{"a":"1",}',
  '{"a":"1",,"b":1}',
  '{,"a":"1"}',
  '{"a" "1"}',
  '{"a":"1"}}',
  '{"a":"1"}{"a":"2"}',
  '{"a":"1"} x',
  '{"a":"1" "b":2}',
  "{a:1}",
  "{'a':1}",
  "{\"a\":'1'}",
  '{"a":"1}',
  '{"a:"1"}',
  '{"a":"\\x"}',
  '{"a":"\\u12"}',
  '{"a":"\\u12g4"}',
  '{"a":"\\',
  '{"a":"\\"}',
  '{"a":"\t"}',
  '{"a":nul}',
  '{"a":tru}',
  '{"a":True}',
  '{"a":nulll}',
  '{"a":undefined}',
  '{"a":[}',
  '{"a":"1","b":[1,2}',
  '{"a":"1","b":{"c":1}',
  '{"a":"1","b":}',
  '{"a":"1","b":"x}',
  '{"a":"1","b":[1}',
  '{"a":"1",5:1}',
];

test("broken lines are bad, one by one, and nothing else", async () => {
  const good = '{"a":"good"}';
  for (const line of broken) {
    assert.not.ok(isJson(line) && line.startsWith("{"), line);
    const { rows, bad, problems } = await one.ndjson(Buffer.from(`${good}\n${line}\n${good}\n`));
    assert.equal({ rows, bad }, { rows: [{ a: "good" }, { a: "good" }], bad: 1 }, line);
    assert.is(problems[0].offset, good.length + 1, line);
  }
});

test("of a value that is not wanted only the end is looked for", async () => {
  const lines = ["NaN", "tru", "01", "undefined", '"\\q"', "[1,]", "[NaN]", "{]"].map(
    (value) => `{"x":${value},"a":"1"}`,
  );
  assert.equal(
    await textsOf(lines),
    lines.map(() => "1"),
  );
});

test("a backslash at the end of a line does not reach into the next one", async () => {
  const lines = '{"a":"1","x":"\\\n","y":1}\n{"a":"2"}\n{"a":"3\\\n"}\n{"a":"4","x":["\\\n"]}\n{"a":"5"}\n';
  const { rows, bad } = await one.ndjson(Buffer.from(lines));
  assert.equal({ rows, bad }, { rows: [{ a: "2" }, { a: "5" }], bad: 6 });
});

test("blank lines, CRLF, a byte-order mark and a last line that does not end", async () => {
  const { rows, bad } = await one.ndjson(
    Buffer.from('\uFEFF{"a":"1"}\r\n\r\n\n  \t\n{"a":"2"}\r\n{"a":"3"}'),
  );
  assert.equal({ rows, bad }, { rows: [{ a: "1" }, { a: "2" }, { a: "3" }], bad: 0 });
});

test("10,000 brackets are neither too many to pass over nor to refuse", async () => {
  const deep = "[".repeat(10_000) + "]".repeat(10_000);
  const objects = `${'{"a":'.repeat(10_000)}1${"}".repeat(10_000)}`;
  assert.equal(await textsOf([`{"x":${deep},"a":"1"}`, `{"x":${objects},"a":"2"}`]), ["1", "2"]);
  assert.equal(
    await fits(one, [
      `{"a":${deep}}`,
      `{"x":${"[".repeat(10_000)}`,
      deep,
      objects,
      `{"x":${deep.slice(1)},"a":"1"}`,
    ]),
    [false, false, false, false, false],
  );
  const { rows } = await nested.ndjson(
    Buffer.from(`${'{"user":'.repeat(10_000)}1${"}".repeat(10_000)}\n{"id":1}\n`),
  );
  assert.is(rows.length, 1);
});

test("damaged lines count exactly as JSON.parse fails on them", async () => {
  const alphabet = [
    "{",
    "}",
    "[",
    "]",
    '"',
    ":",
    ",",
    "\\",
    "a",
    "0",
    "1",
    "-",
    "+",
    ".",
    "e",
    " ",
    "\\u00e9",
    "null",
    "true",
    "x",
    "\t",
  ];
  const fitting = (value: Row): boolean => {
    const kind = (field: unknown) => (field === undefined || field === null ? "none" : typeof field);
    if (kind(value) !== "object" || Array.isArray(value) || !Number.isInteger(value.id)) return false;
    const numeric = ["none", "number"].includes(kind(value.f64));
    const logical = ["none", "boolean"].includes(kind(value.yes));
    return numeric && logical && ["none", "string", "number", "boolean"].includes(kind(value.text));
  };
  const text = fc.string({
    // No colon: behind a damaged quote it would make the rest of the text a value of an unwanted key (see above).
    unit: fc.constantFrom('"', "\\", "\n", "\t", "u", "{", "]", ",", "1", "\u00e9"),
    maxLength: 6,
  });
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(text, fc.integer(), fc.double({ noNaN: true, noDefaultInfinity: true }), fc.boolean()),
      fc.nat(),
      fc.constantFrom(...alphabet),
      fc.nat({ max: 2 }),
      async (other, place, put, drop) => {
        const line = JSON.stringify({ id: 1, text: other, f64: -125, yes: false });
        const at = place % (line.length + 1);
        const damaged = Buffer.from(line.slice(0, at) + put + line.slice(at + drop)).toString();
        const { rows, bad } = await optionals.ndjson(Buffer.from(`${damaged}\n`));
        assert.is(rows.length + bad, 1, damaged);
        assert.is(bad === 0, isJson(damaged) && fitting(JSON.parse(damaged)), damaged);
      },
    ),
    seeded(3000),
  );
});

test("whatever the bytes, rows are UTF-8 and JSON", async () => {
  const nasty = fc.uint8Array({ maxLength: 40 }).map((bytes) => bytes.filter((byte) => byte !== 0x0a));
  await fc.assert(
    fc.asyncProperty(fc.array(nasty, { minLength: 1, maxLength: 5 }), async (values) => {
      const lines = values.map((bytes) =>
        Buffer.concat([
          Buffer.from('{"a":"'),
          Buffer.from(bytes.filter((byte) => byte >= 0x20 && byte !== 0x22 && byte !== 0x5c)),
          Buffer.from('"}\n'),
        ]),
      );
      const { rows, bad } = await one.ndjson(Buffer.concat(lines)); // it throws if the rows are no UTF-8 or no JSON
      assert.equal([rows.length, bad], [values.length, 0]);
      await one.ndjson(Buffer.concat(values.map((bytes) => Buffer.from([...bytes, 0x0a]))));
      const valid = Buffer.from(lines[0].subarray(6, -3).toString());
      if (valid.equals(lines[0].subarray(6, -3))) assert.is(rows[0].a, valid.toString());
    }),
    seeded(1000),
  );
});

test("tiny frames give the same rows in the same order", async () => {
  const next = random(seedOf("tiny frames"));
  const rows = Array.from({ length: 1500 }, (_, i) => ({ a: `${i} ${'é\n"x'.repeat(next() * 20)}` }));
  const path = write(
    "tiny.ndjson",
    rows
      .map((row) => `${next() < 0.1 ? "\n" : ""}${JSON.stringify(row)}${next() < 0.5 ? " \r" : ""}\n`)
      .join(""),
  );
  for (const [jahs, frameBytes] of [
    [1, 50],
    [3, 128],
  ]) {
    const ran = await runRows("one", path, { jahs, frameBytes });
    assert.equal(ran.rows, rows);
    assert.is(ran.summary.badRecords, 0);
  }
});

test("a field that only few records have is no unknown field", async () => {
  const lines = Array.from({ length: 3000 }, (_, i) => (i === 5 ? '{"id":5,"text":"x"}\n' : `{"id":${i}}\n`));
  const all = '{"id":0,"f64":1,"i64":1,"u8":1,"yes":true,"time":"2024-01-01","decimal":1}\n';
  const { rows } = await runRows("optionals", write("sparse.ndjson", all + lines.join("")), {
    jahs: 1,
    frameBytes: 1024,
  });
  assert.is(rows.filter(({ text }) => text === "x").length, 1);
});

test.run();
