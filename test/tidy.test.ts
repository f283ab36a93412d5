/** The rules of the house: who imports whom, no cycles, files of one idea, no machine's paths. */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";

/** Each folder of host/, and the ones whose files its files may import. */
const MAY_IMPORT: Record<string, string[]> = {
  core: [],
  wire: ["core"],
  kernel: ["core", "wire"],
  compiler: ["core", "wire", "kernel"],
  sql: ["core"],
  input: ["core", "wire", "kernel", "compiler", "sql"],
  shuffle: ["core", "wire"],
  store: ["core"],
  substrate: ["core", "store"],
  jah: ["core", "wire", "kernel", "input", "shuffle", "store"],
  hallelu: ["core", "wire", "kernel", "compiler", "input", "store", "shuffle", "substrate"],
  congregation: ["core", "wire", "store", "substrate"],
  doctor: ["core", "kernel", "compiler", "store", "congregation", "hallelu", "jah"],
  run: ["core", "wire", "kernel", "compiler", "sql", "input", "shuffle"],
  client: ["core", "wire", "kernel", "compiler", "input", "run"],
  dashboard: ["client"],
  cli: ["core", "wire", "kernel", "compiler", "input", "run", "client", "congregation", "doctor"],
};

const tracked = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], {
  encoding: "utf8",
})
  .split("\n")
  .filter((file) => file && existsSync(file));
const sources = tracked.filter(
  (file) => /^(host|assembly)\/.*\.(ts|mjs)$/.test(file) && !file.endsWith(".d.ts"),
);

/** Files that a file imports, as paths from the root. */
function imports(file: string): string[] {
  const text = readFileSync(file, "utf8");
  const found = [...text.matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)"/g)].map(([, path]) =>
    normalize(join(dirname(file), path)),
  );
  return found.map((path) => (existsSync(path) || !file.startsWith("assembly/") ? path : `${path}.ts`));
}

test("a folder imports only from the layers below it", () => {
  for (const file of sources.filter((each) => each.startsWith("host/"))) {
    const folder = file.split("/")[1];
    for (const target of imports(file)) {
      const [top, other] = target.split("/");
      assert.is(top, "host", `${file} imports ${target}`);
      assert.ok(other === folder || MAY_IMPORT[folder]?.includes(other), `${file} imports ${target}`);
    }
  }
});

test("the SDK imports nothing from the host", () => {
  for (const file of sources.filter((each) => each.startsWith("assembly/"))) {
    for (const target of imports(file))
      assert.ok(target.startsWith("assembly/"), `${file} imports ${target}`);
  }
});

test("no file of the host imports itself over others", () => {
  const done = new Set<string>();
  const visit = (file: string, path: string[]) => {
    assert.not.ok(path.includes(file), `a cycle: ${[...path, file].join(" -> ")}`);
    if (done.has(file) || !existsSync(file)) return;
    for (const target of imports(file)) visit(target, [...path, file]);
    done.add(file);
  };
  for (const file of sources.filter((each) => each.startsWith("host/"))) visit(file, []);
});

test("exported functions and classes of the host say what they are", () => {
  for (const file of sources.filter((each) => each.startsWith("host/") && each.endsWith(".ts"))) {
    const text = readFileSync(file, "utf8");
    const head = text.startsWith("/**") || text.startsWith("#!") || text.startsWith("//");
    assert.ok(head || /\/\*\*[^]*?export/.test(text), `${file} does not say what it is for`);
  }
});

test("nothing names a path of a machine", () => {
  for (const file of tracked.filter(
    (each) => /\.(ts|mjs|md|json|yaml)$|^\.ci/.test(each) && each !== "package-lock.json",
  )) {
    const found = /(^|[^\w./-])\/(work|root|home)\/\w/.exec(readFileSync(file, "utf8"));
    assert.is(found?.[0], undefined, file);
  }
});

test.run();
