import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder of this package: where `assembly/` and `dist/` lie, whether this file runs bundled or from its source. */
export const packageRoot: string = (() => {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, "assembly", "abi.ts"))) {
    const parent = dirname(folder);
    if (parent === folder) throw new TypeError("the package is incomplete: assembly/abi.ts is missing");
    folder = parent;
  }
  return folder;
})();
