// A run of simulated steel with its page, and a browser that looks at it.

import { execFile, spawn } from "node:child_process";
import { appendFile, copyFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { chromium } from "playwright-core";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const program = process.env.MILLSIGHT ?? join(root, "target/debug/millsight");
const browserPath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const run = promisify(execFile);

/** What the program prints for a command, as JSON. */
export async function millsight(...words) {
  const { stdout } = await run(program, ["--json", ...words]);
  return JSON.parse(stdout.trim().split("\n").at(-1));
}

/**
 * Starts a run that goes on until it is ended, with a page of its own. Its record begins
 * with a short strip of each of `seeds`.
 */
export async function startLine(seeds = []) {
  const folder = await mkdtemp(join(tmpdir(), "millsight-browser-"));
  const record = join(folder, "record");
  for (const seed of seeds) {
    await millsight("demo", "--metres", "12", "--seed", String(seed), "--out", record).catch((error) => {
      // A busy computer may judge late, which is a problem of the run and none of the page.
      if (error.code !== 1) throw error;
    });
  }
  const station = join(folder, "station.toml");
  const demo = (await run(program, ["config", "show", "demo"])).stdout;
  const longer = demo.replace(/^metres = [\d.]+/m, "metres = 20000");
  await writeFile(station, `${longer}\n[web]\nlisten = "127.0.0.1:0"\n`);
  const line = spawn(program, ["--json", "run", "--station", station, "--out", record]);
  let printed = "";
  line.stdout.on("data", (text) => (printed += text));
  const ended = new Promise((done) => line.on("exit", done));
  const said = { page: null, password: null };
  const lines = createInterface({ input: line.stderr });
  await new Promise((ready, failed) => {
    let all = "";
    lines.on("line", (text) => {
      all += `${text}\n`;
      said.page ??= text.match(/^page at (\S+)/)?.[1] ?? null;
      said.password ??= text.match(/with the password (\S+),/)?.[1] ?? null;
      if (said.page && said.password) ready();
    });
    ended.then(() => failed(new Error(`the run ended: ${all}`)));
  });
  return {
    ...said,
    record,
    folder,
    /** Ends the run in order; gives its summary. */
    async end() {
      line.kill("SIGINT");
      await ended;
      return JSON.parse(printed.trim().split("\n").at(-1));
    },
    async remove() {
      line.kill("SIGKILL");
      await ended;
      await rm(folder, { recursive: true });
    },
  };
}

/** A model file that is another by its bytes, and judges like the shipped one. */
export async function anotherModel(folder) {
  const path = join(folder, "another.onnx");
  await copyFile(join(root, "models/millsight-vit.onnx"), path);
  // Field 5 of an ONNX model, its version, once more.
  await appendFile(path, Buffer.from([0x28, 7]));
  return path;
}

export async function startBrowser() {
  return chromium.launch({
    executablePath: browserPath,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
}

/** Logs in for the first time, which asks for a new password. */
export async function logInFirst(page, line, password) {
  await page.goto(line.page);
  await page.getByLabel("Name").fill("engineer");
  await page.getByLabel("Password", { exact: true }).fill(line.password);
  await page.keyboard.press("Enter");
  await page.getByLabel("New password").fill(password);
  await page.getByLabel("The same again").fill(password);
  await page.keyboard.press("Enter");
  await page.waitForURL("**/live");
}
