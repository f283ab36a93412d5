import { strict as assert } from "node:assert";
import fc from "fast-check";
import { test } from "uvu";
import { compile } from "./compile.ts";

/** SEED=n repeats a failed run. */
const seed = Number(process.env.SEED ?? Date.now() % 0x7fffffff);

interface Kernel {
  parseFloats(index: number, n: number, out: number): void;
  parseSigned(index: number, n: number, out: number, lowest: bigint, highest: bigint): void;
  parseUnsigned(index: number, n: number, out: number, highest: bigint): void;
  parseDecimals(index: number, n: number, out: number, scale: number): void;
  formatFloats(at: number, n: number, out: number, index: number): number;
  formatSigned(at: number, n: number, out: number, index: number): number;
  formatUnsigned(at: number, n: number, out: number, index: number): number;
  formatDecimals(at: number, n: number, out: number, index: number, scale: number): number;
}

const parser = (name: string, parameters: string, body: string): string => `
export function ${name}(index: usize, n: i32, out: usize${parameters}): void {
  for (let i = 0; i < n; ++i) {
    const p = load<u32>(index + (usize(i) << 2));
    const end = load<u32>(index + (usize(i) << 2), 4);
    ${body}
  }
}`;

// The integers leave their failures in bytes behind the values.
const checked = (name: string, parameters: string, call: string): string =>
  parser(
    name,
    parameters,
    `clearFailed();
    store<i64>(out + (usize(i) << 3), ${call});
    store<u8>(out + (usize(n) << 3) + usize(i), u8(failed));`,
  );

const formatter = (name: string, parameters: string, call: string): string => `
export function ${name}(at: usize, n: i32, out: usize, index: usize${parameters}): usize {
  for (let i = 0; i < n; ++i) {
    store<u32>(index + (usize(i) << 2), u32(out));
    const x = at + (usize(i) << 3);
    out = ${call};
    store<u8>(out++, 10);
  }
  return out;
}`;

const { exports, memory, base, writeTexts } = await compile<Kernel>(
  `
import { clearFailed, failed, parseDecimal, parseF64, parseI64, parseU64 } from "./number/parse";
import { formatDecimal, formatF64, formatI64, formatU64 } from "./number/format";
${parser("parseFloats", "", "store<f64>(out + (usize(i) << 3), parseF64(p, end));")}
${checked("parseSigned", ", lowest: i64, highest: i64", "parseI64(p, end, lowest, highest)")}
${checked("parseUnsigned", ", highest: u64", "parseU64(p, end, highest)")}
${checked("parseDecimals", ", scale: i32", "parseDecimal(p, end, scale)")}
${formatter("formatFloats", "", "formatF64(out, load<f64>(x))")}
${formatter("formatSigned", "", "formatI64(out, load<i64>(x))")}
${formatter("formatUnsigned", "", "formatU64(out, load<u64>(x))")}
${formatter("formatDecimals", ", scale: i32", "formatDecimal(out, load<i64>(x), scale)")}
`,
  { pages: 512 },
);
const most = 100_000; // numbers per call
const index = base;
const values = index + 4 * (most + 4);
const texts = values + 9 * (most + 4);
const room = memory.buffer.byteLength - texts - 64;

/** xorshift128+: fast, and the same everywhere for one seed. */
function generator(from: number): () => bigint {
  const words = new BigUint64Array([BigInt(from) + 0x9e3779b97f4a7c15n, 0xd1b54a32d192ed03n]);
  const next = (): bigint => {
    let a = words[0];
    const b = words[1];
    words[0] = b;
    a ^= (a << 23n) & 0xffffffffffffffffn;
    words[1] = a ^ b ^ (a >> 17n) ^ (b >> 26n);
    return (words[1] + b) & 0xffffffffffffffffn;
  };
  for (let i = 0; i < 20; i++) next();
  return next;
}

const next = generator(seed);
const words = new Uint32Array(2);
const double = new Float64Array(words.buffer);
const bits = new BigUint64Array(words.buffer);
let pool = new Uint32Array(0);
let used = 0;
/** 32 random bits; the generator fills a pool first, as BigInts are slow. */
function random32(): number {
  if (used === pool.length) {
    const seeds = new Uint32Array(4);
    const wide = new BigUint64Array(seeds.buffer);
    wide[0] = next();
    wide[1] = next();
    let [a, b, c, d] = seeds;
    pool = new Uint32Array(1 << 16);
    for (let i = 0; i < pool.length; i++) {
      const t = a ^ (a << 11); // xorshift128
      [a, b, c] = [b, c, d];
      d = d ^ (d >>> 19) ^ t ^ (t >>> 8);
      pool[i] = d;
    }
    used = 0;
  }
  return pool[used++];
}
const below = (n: number): number => Math.floor((random32() / 2 ** 32) * n);
const random = (): number => (random32() * 2 ** 21 + (random32() >>> 11)) / 2 ** 53;
const pick = <T>(list: readonly T[]): T => list[below(list.length)];

function randomBits(): number {
  do {
    words[0] = random32();
    words[1] = random32();
  } while (!Number.isFinite(double[0]));
  return double[0];
}

const make = <T>(n: number, one: (i: number) => T): T[] => Array.from({ length: n }, (_, i) => one(i));
const digitsOf = (n: number): string => {
  let out = "";
  for (let i = 0; i < n; i++) out += below(10);
  return out;
};

/** Calls `check` for parts of the list that fit the memory. */
function inParts<T>(list: readonly T[], size: (x: T) => number, check: (part: readonly T[]) => void): void {
  let from = 0;
  let bytes = 0;
  for (let i = 0; i < list.length; i++) {
    bytes += size(list[i]);
    if (i + 1 - from === most || bytes > room - 65536 || i + 1 === list.length) {
      check(list.slice(from, i + 1));
      from = i + 1;
      bytes = 0;
    }
  }
}

function checkFloats(list: readonly string[], expected: (text: string) => number = Number): void {
  inParts(
    list,
    (text) => text.length,
    (part) => {
      writeTexts(part, texts, index);
      // What follows a number must not matter: the texts stand side by side, with no separator.
      exports.parseFloats(index, part.length, values);
      const results = new Float64Array(memory.buffer.slice(values, values + 8 * part.length));
      for (let i = 0; i < part.length; i++) {
        const right = expected(part[i]);
        if (!Object.is(results[i], right)) {
          assert.fail(`${JSON.stringify(part[i])} read as ${results[i]}, not ${right} (SEED=${seed})`);
        }
      }
    },
  );
}

function checkTexts(n: number, end: number, expected: (i: number) => string, what: string): void {
  const got = Buffer.from(memory.buffer, texts, end - texts).toString("latin1");
  let at = 0;
  for (let i = 0; i < n; i++) {
    const right = expected(i);
    if (!got.startsWith(`${right}\n`, at)) {
      const line = got.slice(at, got.indexOf("\n", at));
      assert.fail(`${what}: ${JSON.stringify(line)} written for ${right} (SEED=${seed})`);
    }
    at += right.length + 1;
  }
  assert.equal(at, got.length, `${what}: too much written (SEED=${seed})`);
}

function checkPrinted(list: readonly number[]): void {
  for (let from = 0; from < list.length; from += most) {
    const part = Float64Array.from(list.slice(from, from + most));
    new Uint8Array(memory.buffer).set(new Uint8Array(part.buffer), values & ~7);
    const end = exports.formatFloats(values & ~7, part.length, texts, index);
    checkTexts(part.length, end, (i) => String(part[i]), "formatF64");
  }
}

/** The exact decimal of m * 2^e. */
function exact(m: bigint, e: number): { digits: bigint; exponent: number } {
  return e >= 0 ? { digits: m << BigInt(e), exponent: 0 } : { digits: m * 5n ** BigInt(-e), exponent: e };
}

/** The midpoint of the double of these bits and the next, to the last digit, and its neighbours. */
function midpoints(of: bigint): string[] {
  const biased = Number(of >> 52n) & 0x7ff;
  const m = (of & 0xfffffffffffffn) | (biased === 0 ? 0n : 1n << 52n);
  const { digits, exponent } = exact(2n * m + 1n, Math.max(biased, 1) - 1076);
  const show = (d: bigint, e: number): string => {
    const text = String(d);
    switch (below(3)) {
      case 0:
        return `${text}e${e}`;
      case 1: // all in the fraction
        return e >= 0 || e < -800 ? `0.${text}E${e + text.length}` : `.${text.padStart(-e, "0")}`;
      default: // as people write it
        return `${text[0]}.${text.slice(1)}e${e + text.length - 1}`;
    }
  };
  return [
    show(digits, exponent),
    show(digits - 1n, exponent),
    show(digits + 1n, exponent),
    show(digits * 10n ** 30n + 1n, exponent - 30),
    show(digits * 10n ** 30n - 1n, exponent - 30),
    show(digits * 10n ** 30n, exponent - 30),
  ];
}

const classics = [
  "2.2250738585072011e-308",
  "2.2250738585072012e-308",
  "2.2250738585072014e-308",
  "9007199254740991",
  "9007199254740992",
  "9007199254740993",
  "9007199254740994",
  "9007199254740993.0000000000000000000000000001",
  "1e23",
  "8.5e22",
  "5e-324",
  "4.9406564584124654e-324",
  "2.4703282292062327e-324",
  "2.4703282292062328e-324",
  "2.47032822920623272088e-324",
  "2.47032822920623272089e-324",
  "1.7976931348623157e308",
  "1.7976931348623158e308",
  "1.7976931348623159e308",
  "179769313486231580793e289",
  "1e308",
  "1e309",
  "1e-323",
  "1e-324",
  "1e-400",
  "1e400",
  "1e99999999999999999999",
  "1e-99999999999999999999",
  "0e99999999999999999999",
  "0e-99999999999",
  "-0",
  "+0",
  "-0.0",
  "0.0000",
  "00000000000000000000000000000",
  "-.0e5",
  "1e22",
  "1e-22",
  "9007199254740992e22",
  "9007199254740993e-22",
  "123456789012345678",
  "1234567890123456789",
  "12345678901234567890",
  "99999999999999999999",
  "18446744073709551615",
  "18446744073709551616",
  "6.02214076e23",
  "7.2057594037927933e16",
  "9355950000000000000.00000000000000000000000000000000001844674407370955161600000184467",
  "3.237883913302901289588352412501532174863037669423108059901297049552301970670676565786835742587799557860615",
  "0.000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000001e90",
  `${"9".repeat(400)}e-400`,
  `0.${"0".repeat(400)}1e401`,
  `1${"0".repeat(400)}e-400`,
  `${"0".repeat(500)}1`,
  `0.${"0".repeat(322)}${"3".repeat(900)}`,
  `${"7".repeat(309)}`,
  `${"1".repeat(308)}.${"9".repeat(2000)}`,
  `1.${"0".repeat(5000)}1`,
  `9007199254740993.${"0".repeat(5000)}1`,
  `9007199254740993${"0".repeat(300)}.000`,
  `0.${"0".repeat(100000)}1e100001`,
  `1${"0".repeat(100000)}e-100000`,
  "4503599627370496.5",
  "4503599627370497.5",
  "4503599627370497.50000000000000000",
  "4503599627370497.500000000000000000001",
  "4503599627370497.499999999999999999999",
  "0.500000000000000166533453693773481063544750213623046875",
  "1.00000000000000011102230246251565404236316680908203125",
  "1.00000000000000011102230246251565404236316680908203124",
  "1.00000000000000011102230246251565404236316680908203126",
];

test("reads the classic hard doubles", () => {
  checkFloats(classics);
  checkFloats(classics.filter((text) => /^[0-9.]/.test(text)).map((text) => `-${text}`));
});

test("reads short decimals", () => {
  const all: string[] = [];
  for (let i = 0; i < 1100; i++)
    for (const form of [`${i}`, `${i}.`, `.${i}`, `0${i}`]) all.push(form, `-${form}`, `+${form}`);
  checkFloats(all);
  checkFloats(
    make(100_000, () => pick(["", "-", "+"]) + (random() * 10 ** below(8)).toFixed(below(8)).slice(0, 9)),
  );
  checkFloats(
    make(200_000, () => {
      const n = 1 + below(8);
      const dot = below(n + 2);
      return pick(["", "-"]) + (dot > n ? digitsOf(n) : `${digitsOf(dot)}.${digitsOf(n - dot)}`);
    }).map((text) => (/[0-9]/.test(text) ? text : "1")),
  );
});

test("reads random doubles as String, toPrecision, toFixed and toExponential write them", () => {
  checkFloats(make(250_000, () => String(randomBits())));
  checkFloats(make(150_000, () => randomBits().toPrecision(17)));
  checkFloats(make(50_000, () => randomBits().toPrecision(1 + below(40))));
  checkFloats(make(50_000, () => ((random() - 0.5) * 10 ** below(20)).toFixed(below(30))));
  checkFloats(make(50_000, () => randomBits().toExponential(below(30))));
  checkFloats(make(50_000, () => String(random())));
});

test("reads random digits with random exponents", () => {
  checkFloats(
    make(300_000, () => {
      const whole = digitsOf(below(21));
      const fraction = digitsOf(whole === "" ? 1 + below(20) : below(21));
      const exponent = below(3) === 0 ? "" : `${pick(["e", "E"])}${pick(["", "+", "-"])}${below(350)}`;
      return `${pick(["", "-", "+"])}${whole}${pick([".", fraction === "" ? "" : "."])}${fraction}${exponent}`;
    }),
  );
  checkFloats(make(2_000, () => `${digitsOf(1 + below(900))}.${digitsOf(below(900))}e${below(1400) - 1000}`));
});

test("reads midpoints of doubles and their neighbours", () => {
  const list: string[] = [];
  for (let i = 0; i < 3_000; i++) {
    let of = next() & 0x7fffffffffffffffn;
    if (i % 4 === 0) of = (of & 0xfffffffffffffn) | (BigInt(1023 + below(90) - 20) << 52n); // about 1
    if (i % 8 === 1) of &= 0xfffffffffffffn; // subnormal
    if (i % 16 === 2) of &= 0x7ff0000000000000n; // a power of two
    if (i % 16 === 3) of |= 0xfffffffffffffn; // just below one
    if (i % 64 === 5) of = BigInt(below(3)); // the least
    if (i % 64 === 6) of = 0x7fefffffffffffffn - BigInt(below(2)); // the greatest
    if (of < 0x7ff0000000000000n) list.push(...midpoints(of));
  }
  checkFloats(list);
  // The same in few digits, where products are exact: halfway between integers beyond 2^53.
  const few = make(100_000, () => {
    const shift = 1n + BigInt(below(10));
    const m = ((1n << 52n) | (next() >> 12n)) * (1n << shift) + (1n << (shift - 1n));
    return `${m + BigInt(below(3) - 1)}`;
  });
  checkFloats(few);
  checkFloats(
    few.map((text) => `${text}${pick([".0", ".5", "e0", "e-1", "e-3", "e3", "000", "0000000e-4"])}`),
  );
});

test("reads doubles of few bits, where intervals touch powers of ten", () => {
  const list: string[] = [];
  for (let e = -345; e <= 310; e++) {
    for (const m of [
      "1",
      "9",
      "5",
      "25",
      "125",
      "9007199254740993",
      "9999999999999999999",
      "1000000000000000001",
    ]) {
      list.push(`${m}e${e}`);
    }
  }
  for (let e = -1074; e < 1024; e++) {
    const x = 2 ** e;
    list.push(String(x), x.toPrecision(17), x.toPrecision(21), x.toPrecision(100));
  }
  checkFloats(list);
});

const decimal = /^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$/;

test("gives NaN for what is no number", () => {
  const strict = (text: string): number => (decimal.test(text) ? Number(text) : Number.NaN);
  const junk = [
    "",
    " ",
    "-",
    "+",
    ".",
    "-.",
    "+.",
    "..",
    "1..",
    "1.2.3",
    "e5",
    ".e5",
    "1e",
    "1e+",
    "1e-",
    "1e5.",
    "1e5e5",
    "--1",
    "+-1",
    "-+1",
    "1-",
    "1 ",
    " 1",
    "0x10",
    "0b1",
    "0o7",
    "Infinity",
    "-Infinity",
    "NaN",
    "nan",
    "inf",
    "abc",
    "1,5",
    "1_000",
    "12a",
    "a12",
    "1/2",
    "1:2",
    "/",
    ":",
    "1\0",
    "\u00e9",
    "1\u00e9",
    "12345678a",
    "1234567890123456789x",
    `${"1".repeat(30)}x`,
    `${"1".repeat(30)}e`,
    "1.2345678.9",
    "12345678..",
    ">",
    "1>2",
    "~.5",
    "\x1e",
    "\x0e1",
  ];
  checkFloats(junk, strict);
  const alphabet = [..."0123456789.-+eE /:,x\0\x1e\u00ae\u00be"];
  checkFloats(
    make(200_000, () => make(below(12), () => (below(3) ? alphabet[below(13)] : pick(alphabet))).join("")),
    strict,
  );
  // Every single byte at every place of a short number
  const near: string[] = [];
  for (let n = 1; n <= 10; n++) {
    for (let at = 0; at < n; at++) {
      for (let c = 0; c < 128; c++) {
        const text = "1234567890".slice(0, n);
        near.push(text.slice(0, at) + String.fromCharCode(c) + text.slice(at + 1));
        near.push(text.slice(0, at) + String.fromCharCode(c) + `${text.slice(at + 1)}.`);
      }
    }
  }
  checkFloats(near, strict);
});

test("reads any text as Number does, or as none", () => {
  const digits = fc.string({ unit: fc.constantFrom(..."0123456789"), maxLength: 40 });
  const literal = fc
    .tuple(
      fc.constantFrom("", "-", "+"),
      digits,
      fc.constantFrom("", "."),
      digits,
      fc.option(fc.integer({ min: -400, max: 400 })),
    )
    .map(([sign, whole, dot, fraction, e]) => `${sign}${whole}${dot}${fraction}${e === null ? "" : `e${e}`}`);
  fc.assert(
    fc.property(
      fc.array(fc.oneof(literal, fc.string(), fc.double().map(String)), { minLength: 20, maxLength: 60 }),
      (list) => checkFloats(list, (text) => (decimal.test(text) ? Number(text) : Number.NaN)),
    ),
    { seed, numRuns: 200 },
  );
});

test("prints doubles as String does", () => {
  checkPrinted([
    0,
    -0,
    1,
    -1,
    1e21,
    1e-6,
    1e-7,
    -1e-7,
    123456789012345680000,
    5e-324,
    2 ** 53,
    2 ** 53 + 2,
    1.5e-6,
  ]);
  checkPrinted([
    Number.NaN,
    Infinity,
    -Infinity,
    Number.MAX_VALUE,
    2 ** -1022,
    1e23,
    9e-324,
    4.35,
    0.1 + 0.2,
  ]);
  checkPrinted(make(1_000_000, randomBits));
  checkPrinted(make(2098, (e) => 2 ** (e - 1074)));
  checkPrinted(make(633, (e) => Number(`1e${e - 324}`)));
});

test("prints integers, short decimals and subnormals as String does", () => {
  checkPrinted(make(100_000, () => Math.floor((random() - 0.5) * 10 ** below(24))));
  checkPrinted(make(200_000, () => Number(((random() - 0.5) * 10 ** below(14)).toFixed(below(10)))));
  checkPrinted(make(100_000, () => Number(random().toPrecision(1 + below(17))) * 10 ** (below(40) - 20)));
  checkPrinted(
    make(50_000, () => {
      words[0] = below(3) ? random32() : below(100);
      words[1] = below(2) ? 0 : random32() & 0xfffff;
      return double[0];
    }),
  );
  // Neighbours of short decimals are long.
  checkPrinted(
    make(100_000, () => {
      double[0] = Number((random() * 10 ** below(12)).toFixed(below(9)));
      bits[0] += BigInt(below(5));
      return double[0];
    }),
  );
});

/** The values and failures of an integer parser, which `run` calls. */
function readIntegers(
  list: readonly string[],
  run: (n: number) => void,
): { values: BigInt64Array; failed: Uint8Array } {
  writeTexts(list, texts, index);
  run(list.length);
  const end = values + 8 * list.length;
  return {
    values: new BigInt64Array(memory.buffer.slice(values, end)),
    failed: new Uint8Array(memory.buffer.slice(end, end + list.length)),
  };
}

function checkIntegers(
  list: readonly string[],
  run: (n: number) => void,
  expected: (text: string) => bigint | undefined,
  what: string,
): void {
  const got = readIntegers(list, run);
  for (let i = 0; i < list.length; i++) {
    const right = expected(list[i]);
    const fine =
      right === undefined
        ? got.failed[i] === 1
        : got.failed[i] === 0 && got.values[i] === BigInt.asIntN(64, right);
    if (!fine) {
      const result = got.failed[i] ? "failed" : got.values[i];
      assert.fail(`${what}: ${JSON.stringify(list[i])} read as ${result}, not ${right} (SEED=${seed})`);
    }
  }
}

const integer = /^[+-]?[0-9]+$/;
const toInteger = (text: string, lowest: bigint, highest: bigint): bigint | undefined => {
  if (!integer.test(text)) return undefined;
  const x = text[0] === "-" ? -BigInt(text.slice(1)) : BigInt(text[0] === "+" ? text.slice(1) : text);
  return x < lowest || x > highest ? undefined : x;
};

const bounds = [7, 8, 15, 16, 31, 32, 53, 63, 64].flatMap((n) => {
  const x = 2n ** BigInt(n);
  return [x - 2n, x - 1n, x, x + 1n].flatMap((y) => [y, -y]);
});
const tens = make(25, (n) => 10n ** BigInt(n)).flatMap((x) => [x - 1n, x, x + 1n, -x, 1n - x]);

function integerTexts(): string[] {
  return [
    ...bounds.map(String),
    ...tens.map(String),
    ...bounds.map((x) => `000000000000000000000${x}`.replace(/(0+)-/, "-$1")),
    "",
    "-",
    "+",
    "+5",
    "-0",
    "+0",
    "--1",
    "1.",
    "1.0",
    "1e3",
    " 1",
    "1 ",
    "a",
    "1a",
    "12345678a",
    "12345678901234567a",
    "123456789012345678901234567890",
    "0".repeat(100),
    `${"0".repeat(100)}7`,
    `-${"0".repeat(100)}7`,
    "/",
    ":",
    "9:",
    "/9",
    ...make(30_000, () => pick(["", "", "-", "+"]) + digitsOf(1 + below(21))),
    ...make(5_000, () =>
      make(below(20), () => (below(9) ? String(below(10)) : pick([..."-+./:a \0"]))).join(""),
    ),
  ];
}

test("reads integers within bounds", () => {
  const list = integerTexts();
  for (const [lowest, highest] of [
    [-(2n ** 63n), 2n ** 63n - 1n],
    [-(2n ** 31n), 2n ** 31n - 1n],
    [-128n, 127n],
    [0n, 255n],
    [1000n, 10n ** 17n],
  ]) {
    checkIntegers(
      list,
      (n) => exports.parseSigned(index, n, values, lowest, highest),
      (text) => toInteger(text, lowest, highest),
      `parseI64 to ${highest}`,
    );
  }
  for (const highest of [2n ** 64n - 1n, 2n ** 32n - 1n, 2n ** 63n, 255n]) {
    checkIntegers(
      list,
      (n) => exports.parseUnsigned(index, n, values, BigInt.asIntN(64, highest)),
      (text) => toInteger(text, 0n, highest),
      `parseU64 to ${highest}`,
    );
  }
});

test("reads decimals of a fixed scale", () => {
  const shape = /^([+-]?)([0-9]*)\.?([0-9]*)$/;
  for (const scale of [0, 1, 2, 4, 6, 9, 18]) {
    const expected = (text: string): bigint | undefined => {
      const match = shape.exec(text);
      if (!match || match[2] + match[3] === "") return undefined;
      if (/[1-9]/.test(match[3].slice(scale))) return undefined;
      const units = BigInt(match[2] + match[3].slice(0, scale).padEnd(scale, "0"));
      const x = match[1] === "-" ? -units : units;
      return BigInt.asIntN(64, x) === x ? x : undefined;
    };
    const spell = (x: bigint): string => {
      const text = String(x < 0n ? -x : x).padStart(scale + 1, "0");
      const at = text.length - scale;
      return `${x < 0n ? "-" : ""}${text.slice(0, at)}.${text.slice(at)}`;
    };
    const list = [
      ...bounds.map(spell),
      ...tens.map(spell),
      ...bounds.map((x) => `${spell(x)}000000000000000000000000000`),
      "12.34",
      "5",
      "5.",
      ".5",
      "-.5",
      "+.5",
      ".",
      "-.",
      "",
      "-",
      "1.2.3",
      "1e3",
      "12.3a",
      "12.340000000000000000000000000",
      "12.340000000000000000000000001",
      "0.",
      "0.0000000000000000000",
      ".000000000000000000000",
      "12345678.",
      "..1",
      ...make(
        8_000,
        () => `${pick(["", "-", "+"])}${digitsOf(below(20))}${pick(["", "."])}${digitsOf(below(scale + 2))}`,
      ),
      ...make(8_000, () => `${pick(["", "-", "+"])}${digitsOf(below(6))}.${digitsOf(below(5))}`),
      ...make(3_000, () =>
        make(below(12), () => (below(9) ? String(below(10)) : pick([..."-+./:a \0"]))).join(""),
      ),
    ];
    checkIntegers(
      list,
      (n) => exports.parseDecimals(index, n, values, scale),
      expected,
      `parseDecimal at ${scale}`,
    );
  }
});

test("prints integers and decimals", () => {
  const list = [...bounds, ...tens, ...make(50_000, () => next() >> BigInt(below(64)))];
  const signed = BigInt64Array.from([...list, ...list.map((x) => -x)].map((x) => BigInt.asIntN(64, x)));
  const at = values & ~7;
  const unsigned = new BigUint64Array(signed.buffer);
  for (let from = 0; from < signed.length; from += most) {
    const part = signed.subarray(from, from + most);
    const raw = unsigned.subarray(from, from + most);
    new BigInt64Array(memory.buffer, at, part.length).set(part);
    checkTexts(
      part.length,
      exports.formatSigned(at, part.length, texts, index),
      (i) => String(part[i]),
      "formatI64",
    );
    checkTexts(
      part.length,
      exports.formatUnsigned(at, part.length, texts, index),
      (i) => String(raw[i]),
      "formatU64",
    );
  }
  const few = signed.filter((_, i) => i < 500 || i % 8 === 0);
  for (const scale of [0, 1, 2, 6, 8, 9, 10, 17, 18]) {
    const spell = (x: bigint): string => {
      const text = String(x < 0n ? -x : x).padStart(scale + 1, "0");
      const whole = text.slice(0, text.length - scale);
      const fraction = text.slice(text.length - scale).replace(/0+$/, "");
      return `${x < 0n ? "-" : ""}${whole}${fraction === "" ? "" : `.${fraction}`}`;
    };
    new BigInt64Array(memory.buffer, at, few.length).set(few);
    const end = exports.formatDecimals(at, few.length, texts, index, scale);
    checkTexts(few.length, end, (i) => spell(few[i]), `formatDecimal at ${scale}`);
  }
});

test.run();
