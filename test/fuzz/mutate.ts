/**
 * What the tests of this folder share: bytes that were changed on their way, and what a decoder may do with them. It gives back a right
 * value, or throws the project's own error; never one of the language from deep inside, and it never runs without end.
 *
 * Seeds are fixed, so that a run says the same as the last one. To look further:
 *
 *   FC_SEED=7 npx tsx scripts/test.ts test/fuzz      another seed; a failure prints its seed and the smallest case
 *   FUZZ_FACTOR=50 npx tsx scripts/test.ts test/fuzz so many times as many cases
 */
import * as fc from "fast-check";
import * as assert from "uvu/assert";
import { HallelujahError } from "../../host/core/errors.ts";

const SEED = 1;

/** Parameters for fast-check. */
export function cases(numRuns: number): { numRuns: number; seed: number } {
  const { FC_SEED = SEED, FUZZ_FACTOR = 1 } = process.env;
  return { numRuns: Math.ceil(numRuns * Number(FUZZ_FACTOR)), seed: Number(FC_SEED) };
}

type Change = (bytes: Buffer) => Buffer;

const HUGE = [0xffffffff, 0x80000000, 0x7fffffff, 0x40000000, 0x10000, 0xffff, 1, 0];
/** Places are any number; they fall into the bytes by their remainder. */
const place = fc.nat();
const some = fc.uint8Array({ minLength: 1, maxLength: 40 });
const few = fc.integer({ min: 1, max: 64 });

/** What may happen to bytes, by its name; each has its arguments generated. */
const CHANGES: [name: string, weight: number, of: fc.Arbitrary<unknown[]>, (...given: never[]) => Change][] =
  [
    [
      "flip",
      2,
      fc.tuple(place, fc.nat(7)),
      (at: number, bit: number) =>
        inPlace((bytes) => {
          if (bytes.length) bytes[at % bytes.length] ^= 1 << bit;
        }),
    ],
    [
      "overwrite",
      1,
      fc.tuple(place, some),
      (at: number, by: Uint8Array) =>
        inPlace((bytes) => {
          const to = at % (bytes.length + 1);
          bytes.set(by.subarray(0, bytes.length - to), to);
        }),
    ],
    ["truncate", 1, fc.tuple(place), (at: number) => (bytes) => bytes.subarray(0, at % (bytes.length + 1))],
    ["behead", 1, fc.tuple(place), (at: number) => (bytes) => bytes.subarray(at % (bytes.length + 1))],
    [
      "insert",
      1,
      fc.tuple(place, some),
      (at: number, by: Uint8Array) => (bytes) => spliced(bytes, at, 0, by),
    ],
    [
      "remove",
      1,
      fc.tuple(place, few),
      (at: number, length: number) => (bytes) => spliced(bytes, at, length, NOTHING),
    ],
    [
      "repeat",
      1,
      fc.tuple(place, place, few),
      (at: number, from: number, length: number) => (bytes) =>
        spliced(bytes, at, 0, Buffer.from(behind(bytes, from).subarray(0, length))),
    ],
    [
      "huge",
      3,
      fc.tuple(place, fc.constantFrom(...HUGE), fc.boolean(), fc.boolean()),
      (at: number, value: number, aligned: boolean, big: boolean) =>
        inPlace((bytes) => {
          if (bytes.length < 4) return;
          const to = (at % (bytes.length - 3)) & (aligned ? ~3 : ~0);
          if (big) bytes.writeUInt32BE(value, to);
          else bytes.writeUInt32LE(value, to);
        }),
    ],
    [
      "zeros",
      1,
      fc.tuple(place, few),
      (at: number, length: number) =>
        inPlace((bytes) => {
          behind(bytes, at).subarray(0, length).fill(0);
        }),
    ],
  ];

const NOTHING = Buffer.alloc(0);

function inPlace(change: (bytes: Buffer) => void): Change {
  return (bytes) => {
    change(bytes);
    return bytes;
  };
}

function behind(bytes: Buffer, at: number): Buffer {
  return bytes.subarray(at % (bytes.length + 1));
}

function spliced(bytes: Buffer, at: number, removed: number, added: Uint8Array): Buffer {
  const to = at % (bytes.length + 1);
  return Buffer.concat([bytes.subarray(0, to), added, bytes.subarray(to + removed)]);
}

const change = fc.oneof(
  ...CHANGES.map(([name, weight, given, make]) => ({
    weight,
    arbitrary: given.map((values) => ({
      name: `${name}(${values.join(" ")})`,
      make: make(...(values as never[])),
    })),
  })),
);

/** What happens to bytes: one to three changes, which a failure names. The bytes that are given stay as they are. */
export const damage: fc.Arbitrary<(bytes: Uint8Array) => Buffer> = fc
  .array(change, { minLength: 1, maxLength: 3 })
  .map((changes) =>
    Object.assign(
      (bytes: Uint8Array) => changes.reduce<Buffer>((changed, { make }) => make(changed), Buffer.from(bytes)),
      { [fc.toStringMethod]: () => changes.map(({ name }) => name).join(", ") },
    ),
  );

/** Bytes that nobody wrote. */
export const noise: fc.Arbitrary<Buffer> = fc
  .uint8Array({ maxLength: 300 })
  .map((bytes) => Buffer.from(bytes));

/** What came of decoding: a value, or what the decoder said. Anything else that is thrown fails the test. */
export type Outcome<T> = { value: T; error?: undefined } | { value?: undefined; error: HallelujahError };

/** Decodes. */
export async function outcomeOf<T>(decode: () => T | Promise<T>): Promise<Outcome<T>> {
  try {
    return { value: await decode() };
  } catch (error) {
    return { error: own(error) };
  }
}

/** The same for what decodes at once. */
export function outcomeNow<T>(decode: () => T): Outcome<T> {
  try {
    return { value: decode() };
  } catch (error) {
    return { error: own(error) };
  }
}

function own(error: unknown): HallelujahError {
  if (!(error instanceof HallelujahError)) throw error;
  assert.match(error.code, /^[a-z-]+$/);
  assert.ok(error.message.length > 10, error.message);
  return error;
}
