/** The dashboard's files (host/dashboard). They hold nothing of the host, so they are served without a token: the page asks for it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../../core/package-root.ts";

/** By path: the file in dist/dashboard. */
export const PAGES = new Map([
  ["/", { file: "index.html", type: "text/html", summary: "The dashboard; it asks for the token" }],
  ["/dashboard.js", { file: "dashboard.js", type: "text/javascript", summary: "Its script" }],
  ["/dashboard.css", { file: "dashboard.css", type: "text/css", summary: "Its style" }],
]);

/** Nothing is loaded from elsewhere, and no other site shows the page as part of its own. Charts set the size of elements. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

export function page(path: string): Response {
  const { file, type } = PAGES.get(path)!;
  return new Response(readFileSync(join(packageRoot, "dist", "dashboard", file)), {
    headers: {
      "content-type": `${type}; charset=utf-8`,
      "content-security-policy": POLICY,
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
      "cache-control": "no-cache",
    },
  });
}
