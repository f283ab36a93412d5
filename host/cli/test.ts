/** `hallelujah test`: runs the tests of kernels, each file in a process of its own. */
import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { colors } from "./colors.ts";
import { HallelujahError } from "../core/errors.ts";

const JAVASCRIPT = /\.test\.m?js$/;
const TYPESCRIPT = /\.test\.m?ts$/;

/** Whether this Node runs TypeScript as it is (22.18 and up). */
const stripsTypes = Boolean((process.features as { typescript?: unknown }).typescript);

export async function testCommand(paths: string[]): Promise<void> {
  const found = (paths.length ? paths : ["."]).flatMap((path) => testFiles(path));
  const typed = stripsTypes ? [] : found.filter((file) => TYPESCRIPT.test(file));
  const files = found.filter((file) => !typed.includes(file));
  if (typed.length) {
    const which = `${typed[0]}${typed.length > 1 ? ` and ${typed.length - 1} more` : ""}`;
    const message = `tests are JavaScript: rename ${which} to .test.js (types go into JSDoc comments), or use Node 22.18 or newer`;
    throw new HallelujahError("test-typescript", message);
  }
  if (!files.length) {
    const where = paths.length ? paths.join(", ") : "this folder";
    throw new HallelujahError(
      "test-missing",
      `there is no test in ${where}; tests are files named NAME.test.js`,
    );
  }
  const failed: string[] = [];
  for (const file of files) {
    if (files.length > 1) process.stdout.write(`${colors.dim(file)}\n`);
    if (!(await runFile(file))) failed.push(file);
  }
  if (!failed.length) return;
  process.exitCode = 1;
  if (files.length > 1) {
    process.stderr.write(
      `hallelujah: ${failed.length} of ${files.length} test files failed: ${failed.join(", ")}\n`,
    );
  }
}

/** A file as it is; of a folder all tests in it, in order, but for those of installed packages. */
function testFiles(path: string): string[] {
  if (!existsSync(path)) throw new HallelujahError("test-missing", `there is no file ${path}`);
  if (!statSync(path).isDirectory()) {
    if (JAVASCRIPT.test(path) || TYPESCRIPT.test(path)) return [path];
    throw new HallelujahError("usage", `${path} is no test; tests are files named NAME.test.js`);
  }
  return readdirSync(path, { withFileTypes: true })
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      if (entry.name === "node_modules" || entry.name.startsWith(".")) return [];
      const below = join(path, entry.name);
      if (entry.isDirectory()) return testFiles(below);
      return JAVASCRIPT.test(below) || TYPESCRIPT.test(below) ? [below] : [];
    });
}

/** Whether the tests of a file passed. */
async function runFile(file: string): Promise<boolean> {
  const text = readFileSync(file, "utf8");
  if (/from\s*["']uvu["']/.test(text) && !/\.run\s*\(/.test(text)) {
    process.stderr.write(`hallelujah: ${file} never runs its tests; end it with: test.run();\n`);
    return false;
  }
  const child = spawn(process.execPath, [file], { stdio: "inherit" });
  return new Promise((done, fail) => {
    child.on("error", fail);
    child.on("exit", (code) => done(code === 0));
  });
}
