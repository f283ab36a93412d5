/** What docs/sql.md tells to type works, and shows what it says. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { packageRoot } from "../../host/core/package-root.ts";

const docs = readFileSync(join(packageRoot, "docs", "sql.md"), "utf8");
const blocks = (language: string) =>
  [...docs.matchAll(new RegExp(`^\`\`\`${language}\n([^]*?)^\`\`\``, "gm"))].map(([, text]) => text);

function bash(script: string): { status: number | null; stdout: string; stderr: string } {
  const hallelujah = `'${process.execPath}' dist/cli/main.js`;
  return spawnSync("bash", ["-e", "-o", "pipefail", "-c", script.replaceAll("npx hallelujah", hallelujah)], {
    cwd: packageRoot,
    encoding: "utf8",
  });
}

test("every command runs", () => {
  const scripts = blocks("sh");
  assert.is(scripts.length, 3);
  for (const script of scripts) {
    const { status, stdout, stderr } = bash(script);
    assert.is(status, 0, `${script}${stderr}`);
    assert.is(stderr, "", script);
    assert.ok(stdout.split("\n").length > 2, script);
  }
});

test("the kernel that is shown is the one that --explain prints, and the refusal is the one that comes", () => {
  const explain = blocks("sh").find((script) => script.includes("--explain"))!;
  const printed = bash(explain.slice(0, explain.indexOf(" > delays.ts")));
  assert.is(printed.stdout, blocks("ts")[0]);
  const [refusal] = blocks("text");
  const query = /\| (SELECT .*)/.exec(refusal)![1];
  assert.is(
    bash(`npx hallelujah run --sql '${query}' node_modules/vega-datasets/data/weather.csv`).stderr,
    refusal,
  );
});

test.run();
