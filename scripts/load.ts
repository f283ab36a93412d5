/**
 * Has a process load the project's TypeScript as scripts/transpile.ts left it beside this file: `node --import URL FILE`.
 * All else is loaded as it is: tsx would rewrite JavaScript, too, which takes 10 s of CPU for AssemblyScript with its 14 MB in
 * each process that compiles a kernel.
 */
import { readFileSync } from "node:fs";
import * as module from "node:module";
import { fileURLToPath } from "node:url";
import { isMainThread } from "node:worker_threads";

/** `?root=` says where the project lies, as a URL that ends with a slash. */
const root = new URL(import.meta.url).searchParams.get("root")!;
const transpiled = new URL("..", import.meta.url);

/** The text of a file of the project's; undefined if it is another one. */
function textOf(url: string): { format: "module"; source: string; shortCircuit: true } | undefined {
  if (!url.startsWith(root) || !url.endsWith(".ts") || url.includes("/node_modules/")) return undefined;
  const path = fileURLToPath(new URL(url.slice(root.length).replace(/ts$/, "js"), transpiled));
  return { format: "module", source: readFileSync(path, "utf8"), shortCircuit: true };
}

/** Node's hook, in a thread of its own. */
export const load: module.LoadHook = async (url, context, nextLoad) => textOf(url) ?? nextLoad(url, context);

type LoadSync = (url: string, context: object, nextLoad: (url: string, context: object) => object) => object;
/** From Node 22.15 on hooks need no thread. */
const { registerHooks } = module as unknown as { registerHooks?: (hooks: { load: LoadSync }) => void };

if (isMainThread) {
  process.setSourceMapsEnabled(true);
  if (registerHooks)
    registerHooks({ load: (url, context, nextLoad) => textOf(url) ?? nextLoad(url, context) });
  else module.register(import.meta.url);
}
