/** The page of a host: its files as they are served, and in Debian's chromium, where there is one, what a user sees. */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium, type Page } from "playwright-core";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { packageRoot } from "../host/core/package-root.ts";
import { startHost, type TestHost } from "./flow/host.ts";

const CHROMIUM = "/usr/bin/chromium";
/** Of the cells behind the stream's name. */
const RECORDS_COLUMN = 5;
const TOKEN = "token-of-the-test";
const stations = readFileSync(join(packageRoot, "examples", "stations.ts"), "utf8");

const test = suite("dashboard");
const withBrowser = existsSync(CHROMIUM) ? test : test.skip;

let open: TestHost;
let guarded: TestHost;

test.before(async () => {
  [open, guarded] = await Promise.all([startHost(), startHost({ env: { HALLELUJAH_TOKEN: TOKEN } })]);
});

test.after(async () => {
  await Promise.all([open.stop(), guarded.stop()]);
});

test("its files come without a token, load nothing from elsewhere, and hold nothing of the host", async () => {
  const types = { "/": "text/html", "/dashboard.js": "text/javascript", "/dashboard.css": "text/css" };
  for (const host of [open, guarded]) {
    for (const [path, type] of Object.entries(types)) {
      const response = await fetch(host.url + path);
      assert.is(response.status, 200, path);
      assert.is(response.headers.get("content-type"), `${type}; charset=utf-8`);
      assert.match(
        response.headers.get("content-security-policy")!,
        /default-src 'none'.*frame-ancestors 'none'/,
      );
      assert.not.match(await response.text(), /https?:\/\/(?!\S*w3\.org)[\w.-]+\.\w+\/\S*\.(js|css)/);
    }
  }
  assert.is((await fetch(`${guarded.url}/v1/streams`)).status, 401);
  assert.is((await fetch(`${guarded.url}/dashboard.js/../v1/streams`)).status, 401);
});

/** What a page shows, with whatever it complained of. */
async function onPage(url: string, look: (page: Page) => Promise<void>): Promise<void> {
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
  try {
    const page = await browser.newPage({ viewport: { width: 1000, height: 800 } });
    const errors: string[] = [];
    page.on("pageerror", (error) => errors.push(error.message));
    await page.goto(url);
    await look(page);
    await page.evaluate(readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8"));
    const violations = await page.evaluate(async () => {
      const { axe } = globalThis as unknown as { axe: { run(): Promise<{ violations: { id: string }[] }> } };
      return (await axe.run()).violations.map(({ id }) => id);
    });
    assert.equal([violations, errors], [[], []]);
  } finally {
    await browser.close();
  }
}

withBrowser("streams, Jahs and rates are shown as they are, and no name is read as HTML", async () => {
  await onPage(`${open.url}/`, async (page) => {
    await page.getByText("No stream yet").waitFor();
    await open.client.deploy("weather", { kernel: stations, file: "<b>stations</b>.ts" });
    await open.client.push("weather", [
      { station: "Oslo", temperature: 1 },
      { station: "Abha", temperature: 30 },
    ]);
    const row = page.getByRole("row", { name: /^weather running 1 \(1 to 4\)/ });
    await row.getByRole("cell").nth(RECORDS_COLUMN).filter({ hasText: /^2$/ }).waitFor();
    await page.getByText(/CPU \d: weather/).waitFor();
    await page.locator("#chart canvas").waitFor();
    await open.client.remove("weather");
    await page.getByText("No stream yet").waitFor();
  });
});

withBrowser("a host with a token asks for it, says when it is wrong, and when it is gone", async () => {
  await onPage(`${guarded.url}/`, async (page) => {
    const field = page.getByLabel("This host asks for its token");
    await field.fill("something else");
    await page.getByRole("button").click();
    await page.getByText("this is not its token").waitFor();
    await field.fill(TOKEN);
    await page.getByRole("button").click();
    await page.getByText(/\d of \d CPUs free/).waitFor();
    assert.not.ok(await field.isVisible());
    await guarded.stop();
    await page.getByText("the host does not answer").waitFor();
  });
});

test.run();
