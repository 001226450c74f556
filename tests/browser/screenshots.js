// Pictures of every page for the documentation: `npm run screenshots`.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";

import { anotherModel, logInFirst, startBrowser, startLine } from "./line.js";

const out = join(import.meta.dirname, "../../docs/pages");
const sizes = [
  { width: 1920, height: 1080, colorScheme: "dark" },
  { width: 1280, height: 800, colorScheme: "light" },
];

await mkdir(out, { recursive: true });
const line = await startLine([2, 3, 4, 5, 6, 7, 8, 9]);
const browser = await startBrowser();
const page = await browser.newPage();

async function take(name) {
  for (const { width, height, colorScheme } of sizes) {
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme });
    await page.reload();
    await page.waitForTimeout(name === "live" ? 8000 : 1500);
    await page.screenshot({ path: join(out, `${name}-${width}.jpg`), type: "jpeg", quality: 80 });
  }
}

async function open(name) {
  await page.goto(new URL(name, line.page).href);
  await page.waitForTimeout(1500);
}

await page.setViewportSize({ width: 1920, height: 1080 });
await page.goto(line.page);
await take("login");
await logInFirst(page, line, "correct horse battery");
await take("live");
await open("/review");
for (const key of ["4", "4", "3", "1", "5", "4"]) {
  await page.keyboard.press(key);
  await page.waitForTimeout(700);
}
await take("review");
await open("/pieces");
await take("pieces");
await page.getByRole("link", { name: "demo-coil" }).first().click();
await take("piece");
await open("/history");
await take("history");
await open("/model");
await page.locator("#file").setInputFiles(await anotherModel(line.folder));
await page.locator("#promote").waitFor({ timeout: 60000 });
await page.waitForTimeout(5000);
await take("model");
await browser.close();
await line.end();
await line.remove();
