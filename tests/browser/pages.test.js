// What a person does with the pages, in a real browser.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { anotherModel, logInFirst, millsight, startBrowser, startLine } from "./line.js";

const PASSWORD = "correct horse battery";
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const problems = [];
let line;
let browser;
let page;

before(async () => {
  line = await startLine();
  browser = await startBrowser();
  page = await browser.newPage({ viewport: { width: 1920, height: 1080 } });
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error" && !/40[139]|422|ERR_ABORTED/.test(message.text())) problems.push(message.text());
  });
});

after(async () => {
  await browser?.close();
  await line?.remove();
});

const text = (selector) => page.locator(selector).textContent();
const figure = async (name) => Number((await text(`#figure-${name}`)).replace(/\D/g, ""));

async function until(what, holds) {
  for (let attempts = 0; attempts < 100; attempts++) {
    if (await holds()) return;
    await page.waitForTimeout(200);
  }
  assert.fail(`${what} did not come about: ${await page.locator("main").innerText()}`);
}

// Nothing that keeps people from using the page: what axe-core calls serious or critical.
// It is asked from outside, because the page itself lets no foreign script in.
async function isAccessible(name) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  const grave = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
  assert.deepEqual(grave.map(({ id, nodes }) => `${name}: ${id}: ${nodes.map(({ html }) => html).slice(0, 3)}`), []);
}

test("who does not know the password is refused", async () => {
  await page.goto(line.page);
  await page.waitForURL("**/login");
  await isAccessible("login");
  await page.getByLabel("Name").fill("engineer");
  await page.getByLabel("Password", { exact: true }).fill("wrong");
  await page.keyboard.press("Enter");
  await page.getByText("name or password is wrong").waitFor();
});

test("logging in asks for a password of one's own", () => logInFirst(page, line, PASSWORD));

test("the live numbers move", async () => {
  await page.locator("#figure-tiles").waitFor();
  const before = await figure("tiles");
  await until("more tiles", async () => (await figure("tiles")) > before);
  await until("a line rate", async () => (await figure("lines-s")) > 0);
  await until("a strip", () =>
    page.evaluate(() => {
      const canvas = document.getElementById("strip");
      const { data } = canvas.getContext("2d").getImageData(canvas.width - 64, 0, 64, canvas.height);
      return data.some((level, index) => index % 4 < 3 && level > 40);
    }),
  );
  await isAccessible("live");
});

test("ten tiles are reviewed by keyboard alone, and one is undone", async () => {
  await page.keyboard.press("Tab");
  await page.goto(new URL("/review", line.page).href);
  const verdict = () => text("#verdict");
  await until("ten tiles", async () => Number((await text("#waiting")).match(/^\d+/)?.[0]) >= 12);
  await page.reload();
  await page.locator("#classes button").first().waitFor();
  await isAccessible("review");
  for (let tile = 0; tile < 10; tile++) {
    const place = await text("#place");
    await page.keyboard.press(["1", "2", "3", "4", "5", "0"][tile % 6]);
    await until("the next tile", async () => (await text("#place")) !== place);
  }
  assert.notEqual(await verdict(), "Nothing waits");
  await page.keyboard.press("u");
  await until("undoing", async () => (await text("#said")) === "undone");
  for (const key of ["z", "c", "a", "a", "c", "z"]) await page.keyboard.press(key);
  await page.keyboard.press("n");
  await page.keyboard.type("3 scratches");
  await page.keyboard.press("Escape");
  assert.equal(await page.getByLabel("Note").inputValue(), "3 scratches");
});

test("several tiles are decided at once", async () => {
  await page.keyboard.press("g");
  await page.locator("#grid button").nth(2).waitFor();
  await isAccessible("several");
  await page.keyboard.press("1");
  await until("a hint", async () => (await text("#said")) === "choose tiles first");
  await page.keyboard.press("Space");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("Space");
  await page.keyboard.press("4");
  await until("two decisions", async () => (await text("#said")) === "overfill: 2 tiles");
  await page.keyboard.press("g");
});

test("what was decided is in the export, without what was undone", async () => {
  const out = join(line.folder, "labels");
  const exported = await millsight("labels", "export", "--record", line.record, "--out", out);
  // The ten keys were 1 2 3 4 5 0 1 2 3 4; the last one is undone, and 0 is no label.
  // Two more were decided at once.
  assert.deepEqual([exported.tiles, exported.cannot_tell], [10, 1]);
  const rows = (await readFile(join(out, "labels.csv"), "utf8")).trim().split("\n").slice(1);
  const count = (label) => rows.filter((row) => row.split(",")[1] === label).length;
  assert.deepEqual(["no_defect", "cracks", "scrap_mark", "overfill", "scrap_mark_ii"].map(count), [2, 2, 2, 3, 1]);
});

test("a piece shows its defects", async () => {
  await page.getByRole("link", { name: "Pieces" }).click();
  await isAccessible("pieces");
  await page.getByRole("link", { name: "demo-coil" }).click();
  await page.getByRole("heading", { name: "demo-coil" }).waitFor();
  await until("defects", async () => (await page.locator("#defects tbody tr").count()) > 5);
  await isAccessible("piece");
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByText("Defects as CSV").click()]);
  const table = await readFile(await download.path(), "utf8");
  assert.match(table, /^number,class,from_m,to_m,from_mm,to_mm,tiles,reviewed,probability\n1,/);
});

test("the history shows the piece", async () => {
  await page.getByRole("link", { name: "History" }).click();
  await page.locator("#agreement dd").first().waitFor();
  await isAccessible("history");
  await page.getByLabel("By").selectOption("shift");
  await page.waitForTimeout(500);
});

test("a model runs in shadow, is promoted, and is called back", async () => {
  await page.getByRole("link", { name: "Model" }).click();
  const since = () => text("#active-since");
  await until("the card", async () => (await since()).includes("judges since"));
  await page.locator("#file").setInputFiles(join(import.meta.dirname, "pages.test.js"));
  await until("a refusal", async () => (await text("#problem")) !== "");
  await page.locator("#file").setInputFiles(await anotherModel(line.folder));
  await page.locator("#promote").waitFor();
  await until("tiles that both have seen", async () => Number((await text("#shadow-facts")).match(/([\d,]+) tiles compared/)?.[1].replace(",", "")) > 3);
  assert.match(await text("#shadow-facts"), /100.0 % alike/);
  await isAccessible("model");
  await page.locator("#promote").click();
  await until("the promotion", async () => (await since()).includes("let by engineer"));
  await page.locator("#roll-back").waitFor();
  await page.locator("#roll-back").click();
  await until("the way back", async () => (await text("#said")) === "Done.");
});

test("who has logged out is refused", async () => {
  await page.getByRole("button", { name: "Log out" }).click();
  await page.waitForURL("**/login");
  await page.goto(new URL("/review", line.page).href);
  await page.waitForURL("**/login");
  const status = await page.evaluate(async () => (await fetch("/api/v1/queue")).status);
  assert.equal(status, 401);
});

test("no page has failed, and no tile was lost", async () => {
  assert.deepEqual(problems, []);
  const { tiles, unjudged_reasons: reasons } = await line.end();
  assert.equal(tiles.background + tiles.cleared + tiles.judged + tiles.unjudged, tiles.total);
  assert.equal(Object.values(reasons).reduce((sum, count) => sum + count, 0), tiles.unjudged);
  assert.equal(tiles.unjudged, 0);
});
