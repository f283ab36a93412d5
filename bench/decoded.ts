/**
 * What it saves that a stream maps records which another one has decoded, and what that costs the other one: frames of a log that are mapped by
 * two kernels, in turns, in one process, with and without; files in a temporary folder.
 */
import { closeSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { crc32 } from "node:zlib";
import { type BuiltKernel, buildKernel } from "../host/compiler/cache.ts";
import { FRAME_BYTES } from "../host/core/limits.ts";
import { DecodedFrames } from "../host/hallelu/decoded.ts";
import { planOf } from "../host/input/csv-header.ts";
import { Mapper, type Sharing } from "../host/jah/mapper.ts";
import { createMemory, KernelInstance } from "../host/kernel/instance.ts";
import * as map from "../host/kernel/memory-map.ts";
import type { FrameTask } from "../host/wire/jah.ts";
import { root } from "./paths.ts";
import { beside, type Context, type Result } from "./results.ts";

export interface DecodedSettings {
  runs: number;
  rows: number;
  machine: Context["machine"];
  log: (line: string) => void;
}

/** Frames of a file that are mapped in a round. */
const FRAMES = 48;
const COLUMNS = ["station", "temperature"];

type Slice = FrameTask & { kind: "slice" };
type Format = "csv" | "ndjson";

/** `files`: lines `station;temperature`, and the same as NDJSON. */
export async function decoded(
  { runs, rows, machine, log }: DecodedSettings,
  files: Record<Format, string>,
): Promise<Result[]> {
  const built = await buildKernel(path.join(root, "examples", "stations.ts"));
  const folder = mkdtempSync(path.join(tmpdir(), "hallelujah-bench-"));
  const results: Result[] = [];
  try {
    for (const format of ["ndjson", "csv"] as const) {
      const found = {
        plain: [] as number[],
        keeping: [] as number[],
        alone: [] as number[],
        given: [] as number[],
      };
      const round = roundsOf(built, format, folder, framesOf(files[format], path.join(folder, format)));
      for (let i = 0; i <= runs; i++) {
        const rates = round();
        log(`decoded ${format} ${i || "warm-up"}: ${JSON.stringify(rates)} MB/s`);
        if (!i) continue;
        for (const name of Object.keys(found) as (keyof typeof found)[]) found[name].push(rates[name]);
      }
      const context = { rows, machine };
      const result = (name: string, ours: keyof typeof found, peer: keyof typeof found, note: string) =>
        beside(
          `decoded-${format}-${name}`,
          "MB/s",
          found[ours],
          { name: peer, values: found[peer] },
          context,
          note,
        );
      results.push(
        result("shared", "given", "alone", "mapping what another kernel has decoded, beside decoding it"),
        result("keeping", "keeping", "plain", "decoding for another one, too, beside decoding"),
      );
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  return results;
}

/** The first frames of a file, as they would lie in a log. */
function framesOf(file: string, log: string): Slice[] {
  const room = Buffer.alloc(FRAMES * FRAME_BYTES);
  const fd = openSync(file, "r");
  const bytes = room.subarray(0, readSync(fd, room));
  closeSync(fd);
  writeFileSync(log, bytes);
  const frames: Slice[] = [];
  for (let offset = 0; offset + FRAME_BYTES <= bytes.length; ) {
    const end = bytes.lastIndexOf(0x0a, offset + FRAME_BYTES - 1) + 1;
    const slice = { path: log, offset, bytes: end - offset, sum: crc32(bytes.subarray(offset, end)) };
    frames.push({ kind: "slice", frame: frames.length, source: 0, ...slice });
    offset = end;
  }
  return frames;
}

/** Maps all frames in four ways, one after the other for each; MB/s of them. */
function roundsOf(built: BuiltKernel, format: Format, folder: string, frames: Slice[]) {
  const { fields } = built.descriptor.input;
  const plan = format === "csv" ? planOf("stations", COLUMNS, fields) : [];
  const mappers = Array.from({ length: 4 }, () => {
    const kernel = new KernelInstance(
      new WebAssembly.Module(readFileSync(built.path)),
      createMemory(64 << 20),
    );
    kernel.exports.start(map.NDJSON, 0x2c);
    const source = { format, size: 0, dataStart: 0, delimiter: 0x3b, plan };
    return new Mapper(kernel, [source], 1, [], FRAME_BYTES);
  });
  const reader = { at: 0, kernelOf: () => built.descriptor };
  const decodes = new DecodedFrames({ path: folder, make: () => {}, remove: () => {} }, () => 0);
  let next = 0;
  return () => {
    const ms = [0, 0, 0, 0];
    const timed = (way: number, task: Slice, sharing: Sharing) => {
      const startedAt = performance.now();
      const mapped = mappers[way].mapRead(task, undefined, undefined, sharing);
      ms[way] += performance.now() - startedAt;
      return mapped;
    };
    for (const slice of frames) {
      const task = { ...slice, frame: (reader.at = next++) };
      timed(0, task, {});
      // Of CSV, too, nothing of which would be kept.
      const logged = { frame: task.frame, bytes: FRAME_BYTES, format: "ndjson" as const };
      const keep = decodes.keep(logged, built.descriptor, [reader])!;
      const { keptBytes = 0 } = timed(1, task, { keep });
      decodes.mapped(task.frame, { id: keep.id, bytes: keptBytes });
      const alone = timed(2, task, {});
      const given = timed(3, task, { decoded: decodes.of(task.frame, reader)! });
      decodes.read(task.frame, reader);
      if (!given.cameDecoded || Buffer.compare(Buffer.concat(alone.parts[0]), Buffer.concat(given.parts[0])))
        throw new Error("decoded: the entries are other ones");
    }
    const mb = frames.reduce((sum, { bytes }) => sum + bytes, 0) / 1e6;
    const [plain, keeping, alone, given] = ms.map((each) => Math.round((mb * 1000) / each));
    return { plain, keeping, alone, given };
  };
}
