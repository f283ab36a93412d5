/** `new` and `test` on the command line. Needs dist/. */
import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { packageRoot } from "../../host/core/package-root.ts";

const test = suite("new and test");
const folder = mkdtempSync(join(tmpdir(), "hallelujah-author-"));
test.after(() => rmSync(folder, { recursive: true, force: true }));

function hallelujah(args: string[], cwd = folder): { status: number | null; stdout: string; stderr: string } {
  const main = join(packageRoot, "dist", "cli", "main.js");
  return spawnSync(process.execPath, [main, ...args], {
    cwd,
    encoding: "utf8",
    env: { ...process.env, FORCE_COLOR: "0" },
  });
}

function put(path: string, text: string): void {
  mkdirSync(join(folder, path, ".."), { recursive: true });
  writeFileSync(join(folder, path), text);
}

const uvu = join(packageRoot, "node_modules", "uvu", "dist", "index.mjs");
const tests = (body: string) =>
  `import { test } from "${uvu}";\ntest("it", () => { ${body} });\ntest.run();\n`;

test("a new project runs and passes its test", () => {
  const made = hallelujah(["new", "weather"]);
  assert.is(made.status, 0, made.stderr);
  assert.match(made.stdout, /cd weather\n {2}npm install/);
  const project = join(folder, "weather");
  const description = JSON.parse(readFileSync(join(project, "package.json"), "utf8"));
  assert.is(description.name, "weather");
  assert.match(readFileSync(join(project, "README.md"), "utf8"), /^# weather\n/);
  assert.ok(existsSync(join(project, ".gitignore")));
  if (existsSync(join(packageRoot, ".git"))) assert.match(description.dependencies.hallelujah, /^file:\.\./);
  mkdirSync(join(project, "node_modules"));
  symlinkSync(packageRoot, join(project, "node_modules", "hallelujah"));
  symlinkSync(join(packageRoot, "node_modules", "uvu"), join(project, "node_modules", "uvu"));
  const [command, ...run] = description.scripts.start.split(" ");
  assert.is(command, "hallelujah");
  const rows = hallelujah(run, project);
  assert.is(rows.stdout.trim().split("\n").length, 3, rows.stderr);
  const tested = hallelujah(["test"], project);
  assert.is(tested.status, 0, tested.stdout + tested.stderr);
  assert.match(tested.stdout, /Passed: {4}2/);
});

test("new refuses a folder with something in it, and names that npm refuses", () => {
  put("full/file", "");
  assert.is(hallelujah(["new", "full"]).status, 1);
  assert.is(hallelujah(["new", "full/file"]).status, 1);
  assert.match(hallelujah(["new", "My Weather"]).stderr, /e\.g\. my-weather/);
  assert.is(hallelujah(["new", "hallelujah"]).status, 2);
  mkdirSync(join(folder, "empty"));
  assert.is(hallelujah(["new", "."], join(folder, "empty")).status, 0);
});

test("test ends with 1 if a file fails, and says which", () => {
  put("some/good.test.js", tests(""));
  put("some/deep/bad.test.mjs", tests('throw new Error("no");'));
  put("some/node_modules/x/other.test.js", tests('throw new Error("never run");'));
  assert.is(hallelujah(["test", "some/good.test.js"]).status, 0);
  const { status, stdout, stderr } = hallelujah(["test", "some"]);
  assert.is(status, 1);
  assert.match(stderr, /1 of 2 test files failed: some\/deep\/bad\.test\.mjs/);
  assert.not.match(stdout, /never run/);
});

test("test finds tests that are never run, and says so where there are none", () => {
  put("unrun/a.test.js", 'import { test } from "uvu";\ntest("it", () => {});\n');
  assert.match(hallelujah(["test", "unrun"]).stderr, /test\.run\(\)/);
  put("none/a.js", "");
  const { status, stderr } = hallelujah(["test", "none"]);
  assert.is(status, 1);
  assert.match(stderr, /there is no test in none/);
  assert.is(hallelujah(["test", "nowhere"]).status, 1);
});

test("tests in TypeScript need a Node that strips types", () => {
  put("typed/a.test.ts", tests("const n: number = 1; void n;"));
  const { status, stderr } = hallelujah(["test", "typed"]);
  if ((process.features as { typescript?: unknown }).typescript) assert.is(status, 0, stderr);
  else {
    assert.is(status, 1);
    assert.match(stderr, /tests are JavaScript/);
  }
});

test.run();
