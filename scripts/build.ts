/** Builds dist/: one bundle per process and entry, dependencies left to node_modules where they are large or seldom loaded. */
import { execFileSync } from "node:child_process";
import { copyFileSync, rmSync } from "node:fs";
import { build, type BuildOptions } from "esbuild";

rmSync("dist", { recursive: true, force: true });
await build({
  entryPoints: {
    "cli/main": "host/cli/main.ts",
    "jah/main": "host/jah/main.ts",
    "jah/live": "host/jah/live-main.ts",
    "compiler/main": "host/compiler/main.ts",
    "hallelu/main": "host/hallelu/main.ts",
    "store/pages": "host/store/pages-main.ts",
    index: "host/client/index.ts",
    testing: "host/client/testing.ts",
  },
  outdir: "dist",
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
  outdir: "dist",
  sourcemap: "linked",
});
await build({
  ...browser,
  entryPoints: ["host/dashboard/dashboard.ts", "host/dashboard/dashboard.css"],
  outdir: "dist/dashboard",
  minify: true,
});
copyFileSync("host/dashboard/index.html", "dist/dashboard/index.html");
execFileSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "tsconfig.types.json"], {
  stdio: "inherit",
});
