import { suite } from "uvu";
import * as assert from "uvu/assert";
import { compileKernel } from "../../host/compiler/compile.ts";
import { forgetParsed } from "../../host/compiler/parsed.ts";
import { kernelOf } from "../run.ts";

const test = suite("host/compiler/parsed");

const counts = `import { Count, Table, Text } from "hallelujah";
@record class Word { text: Text }
@state class Seen { count: Count }
const words = new Table<Text, Seen>("words");
export function each(word: Word): void { words.at(word.text).count.add(); }`;
const kernels = [
  counts,
  `import { Stats, Table, Time, Quantiles } from "hallelujah";
@record class Reading { at: Time; value: f64 }
@state class Day { value: Stats; spread: Quantiles }
const days = new Table<i64, Day>("days");
export function each(reading: Reading): void {
  const day = days.at(reading.at.ms / 86400000);
  day.value.add(Math.sqrt(reading.value));
  day.spread.add(reading.value);
}`,
  `import { out, Text } from "hallelujah";
@record class Word { text: Text }
@record class Length { length: i32 }
export function each(word: Word): void {
  const length = new Length();
  length.length = word.text.length;
  out.emit(length);
}`,
].map((source, i) => kernelOf(`kernel${i}`, source));
const broken = kernelOf("broken", counts.replace("count.add()", "count.add(nothing)"));

test("a build is the same to the byte, debug information included, whatever was built before in the process", async () => {
  const fresh = [];
  for (const file of kernels) {
    forgetParsed();
    fresh.push((await compileKernel(file, "quick")).wasm);
  }
  for (const i of [2, 0, 1, 0, 2]) assert.equal((await compileKernel(kernels[i], "quick")).wasm, fresh[i]);
  assert.not.equal(fresh[0], fresh[1]);
});

test("builds that are asked for at once are as those by themselves", async () => {
  forgetParsed();
  const alone = [];
  for (const file of kernels) alone.push((await compileKernel(file, "quick")).wasm);
  const together = await Promise.all(kernels.map((file) => compileKernel(file, "quick")));
  assert.equal(
    together.map(({ wasm }) => wasm),
    alone,
  );
});

test("an error is told again the same, and the next build is not touched by it", async () => {
  forgetParsed();
  const fresh = (await compileKernel(kernels[0], "quick")).wasm;
  const said = () =>
    compileKernel(broken, "quick").then(
      () => "nothing",
      ({ message }: Error) => message,
    );
  const first = await said();
  assert.match(first, /nothing/);
  assert.match(first, /broken\.ts/);
  assert.is(await said(), first);
  assert.equal((await compileKernel(kernels[0], "quick")).wasm, fresh);
});

test.run();
