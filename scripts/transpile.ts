/** The project's TypeScript without its types, for processes that load it by scripts/load.ts. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { transform } from "esbuild";

const FOLDERS = ["bench", "host", "scripts", "test"];

/** Writes all files into `folder`, where they keep their places; answers what Node's `--import` takes to load them. */
export async function transpile(folder: string): Promise<string> {
  const files = FOLDERS.flatMap((each) =>
    readdirSync(each, { recursive: true, encoding: "utf8" }).map((name) => join(each, name)),
  );
  await Promise.all(
    files
      .filter((file) => file.endsWith(".ts"))
      .map(async (file) => {
        const { code } = await transform(readFileSync(file, "utf8"), {
          loader: "ts",
          format: "esm",
          target: "node20",
          tsconfigRaw: { compilerOptions: { verbatimModuleSyntax: true } },
          sourcefile: basename(file),
          sourcemap: "inline",
          sourcesContent: false,
        });
        const path = join(folder, file.replace(/ts$/, "js"));
        mkdirSync(dirname(path), { recursive: true });
        writeFileSync(path, code);
      }),
  );
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  return `${pathToFileURL(join(folder, "scripts", "load.js"))}?root=${encodeURIComponent(`${pathToFileURL(".")}/`)}`;
}
