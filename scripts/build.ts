/**
 * Builds dist/: one bundle per process and entry, dependencies left to node_modules where they are large or seldom loaded.
 * It is built beside and put in place as a whole; with --if-stale only if a source is newer.
 */
import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { build, type BuildOptions } from "esbuild";

/** What dist/ is made of. */
const SOURCES = [
  "host",
  "assembly",
  "package.json",
  "package-lock.json",
  "tsconfig.types.json",
  "scripts/build.ts",
];
const OUT = "dist.new";
const OLD = "dist.old";

if (process.argv.includes("--if-stale") && isCurrent()) process.exit();

function isCurrent(): boolean {
  const last = "dist/dashboard/index.html";
  return existsSync(last) && Math.max(...SOURCES.map(changedAt)) < statSync(last).mtimeMs;
}

/** When a file, or one in a folder, was changed last, ms. */
function changedAt(path: string): number {
  const { mtimeMs } = statSync(path);
  if (!statSync(path).isDirectory()) return mtimeMs;
  return Math.max(mtimeMs, ...readdirSync(path).map((name) => changedAt(join(path, name))));
}

rmSync(OUT, { recursive: true, force: true });
await build({
  entryPoints: {
    "cli/main": "host/cli/main.ts",
    "jah/main": "host/jah/main.ts",
    "jah/live": "host/jah/live-main.ts",
    "compiler/main": "host/compiler/main.ts",
    "hallelu/main": "host/hallelu/main.ts",
    "store/pages": "host/store/pages-main.ts",
    "substrate/replica": "host/substrate/replica.ts",
    index: "host/client/index.ts",
    testing: "host/client/testing.ts",
  },
  outdir: OUT,
  bundle: true,
  splitting: true,
  chunkNames: "chunks/[name]-[hash]",
  platform: "node",
  format: "esm",
  target: "node20",
  sourcemap: "linked",
  // What every run loads is bundled, as finding and compiling it apart takes 20 ms; what few need is left where it is.
  external: [
    "assemblyscript",
    "assemblyscript/asc",
    "libpg-query",
    "undici",
    "prom-client",
    "pino",
    "uvu",
    "hyparquet",
    "hyparquet/*",
    "hyparquet-compressors",
    "@uwdata/flechette",
    "tinyglobby",
    "cli-table3",
    "cli-progress",
    "@jridgewell/trace-mapping",
  ],
  banner: {
    js: 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);',
  },
  legalComments: "none",
});
const browser: BuildOptions = {
  bundle: true,
  platform: "browser",
  format: "esm",
  target: "es2022",
  legalComments: "none",
};
await build({
  ...browser,
  entryPoints: { browser: "host/client/browser.ts" },
  outdir: OUT,
  sourcemap: "linked",
});
await build({
  ...browser,
  entryPoints: ["host/dashboard/dashboard.ts", "host/dashboard/dashboard.css"],
  outdir: join(OUT, "dashboard"),
  minify: true,
});
copyFileSync("host/dashboard/index.html", join(OUT, "dashboard", "index.html"));
const types = ["-p", "tsconfig.types.json", "--outDir", join(OUT, "types")];
execFileSync(process.execPath, ["node_modules/typescript/bin/tsc", ...types], { stdio: "inherit" });
rmSync(OLD, { recursive: true, force: true });
if (existsSync("dist")) renameSync("dist", OLD);
renameSync(OUT, "dist");
rmSync(OLD, { recursive: true, force: true });
