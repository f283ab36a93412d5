/** `hallelujah new`: a folder with a first kernel, its data and its test, from `templates/kernel`. */
import { cpSync, existsSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { basename, join, relative, resolve } from "node:path";
import { HallelujahError, messageOf } from "../core/errors.ts";
import { packageRoot } from "../core/package-root.ts";
import { sdkVersion } from "../core/version.ts";

/** Names that npm cannot give the project, as packages it needs have them. */
const TAKEN = new Set(["hallelujah", "uvu", "node_modules"]);

export async function newCommand(folder: string): Promise<void> {
  const path = resolve(folder);
  const name = checkedName(basename(path));
  if (existsSync(path)) {
    if (!statSync(path).isDirectory()) throw new HallelujahError("folder-taken", `${folder} is a file`);
    if (readdirSync(path).length)
      throw new HallelujahError("folder-taken", `the folder ${folder} is not empty; choose another name`);
  }
  try {
    cpSync(join(packageRoot, "templates", "kernel"), path, { recursive: true });
    renameSync(join(path, "gitignore"), join(path, ".gitignore")); // npm leaves files called .gitignore out of packages
    fill(join(path, "package.json"), (text) => packageOf(text, name, path));
    fill(join(path, "README.md"), (text) => text.replace(/^# .*/, `# ${name}`));
  } catch (cause) {
    throw new HallelujahError("output-unwritable", `${folder} cannot be made: ${messageOf(cause)}`, {
      cause,
    });
  }
  const enter = relative(".", path);
  process.stdout.write(
    [
      `Made ${enter || "."}: a kernel, its data and its test. Next:`,
      "",
      ...(enter ? [`  cd ${enter}`] : []),
      "  npm install",
      "  npm start        # runs kernels/stations.ts over data/readings.csv",
      "  npm test         # runs its test",
      "",
    ].join("\n"),
  );
}

/** Refuses what npm refuses as the name of a package. */
function checkedName(name: string): string {
  if (TAKEN.has(name))
    throw new HallelujahError("usage", `a project cannot be called ${name}; choose another name`);
  if (name.length <= 214 && /^[a-z0-9][a-z0-9._-]*$/.test(name)) return name;
  const meant = name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 214);
  const hint = meant && !TAKEN.has(meant) ? `, e.g. ${meant}` : "";
  throw new HallelujahError(
    "usage",
    `a project's name has lower-case letters, digits, and - . _ after the first${hint}`,
  );
}

function fill(file: string, change: (text: string) => string): void {
  writeFileSync(file, change(readFileSync(file, "utf8")));
}

function packageOf(text: string, name: string, path: string): string {
  const description = JSON.parse(text) as { name: string; dependencies: Record<string, string> };
  description.name = name;
  description.dependencies.hallelujah = dependency(path);
  return `${JSON.stringify(description, null, 2)}\n`;
}

/** This version from the registry; or the clone that this runs from, which npm links to. */
function dependency(path: string): string {
  if (!existsSync(join(packageRoot, ".git"))) return `^${sdkVersion()}`;
  return `file:${relative(path, packageRoot).replaceAll("\\", "/")}`;
}
