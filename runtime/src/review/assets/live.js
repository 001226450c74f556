// The strip as it passes, and how the run goes.

import { UNJUDGED, marks, words } from "./classes.js";
import { byId, element, moment } from "./elements.js";
import { ask } from "./server.js";

const ROWS = 60; // of tiles on the screen
const GIB = 2 ** 30;
let run = null;
let side = 32;
let signs = new Map();
let passed = []; // the rows on the screen, in the order of their numbers

const whole = (number) => Math.round(number).toLocaleString();

function number(name, value, unit = "", kind = "") {
  const made = element("div", "", { class: `figure ${kind}` });
  made.append(element("span", name, { class: "soft" }), element("strong", value, { id: `figure-${name.replaceAll("/", "-")}` }));
  if (unit) made.append(element("span", unit, { class: "soft" }));
  return made;
}

function showNumbers({ counts }) {
  const { tiles, flagged } = counts;
  const defects = Object.values(flagged).reduce((sum, count) => sum + count, 0);
  byId("numbers").replaceChildren(
    number("lines/s", whole(counts.lines_per_second)),
    number("tiles", whole(tiles.total)),
    number("background", whole(tiles.background)),
    number("cleared", whole(tiles.cleared)),
    number("judged", whole(tiles.judged)),
    number("flagged", whole(defects), "", "stands-out"),
    number("unjudged", whole(tiles.unjudged), counts.backlog > 0 ? `${whole(counts.backlog)} wait` : "", tiles.unjudged > 0 ? "bad" : ""),
    number("latency", counts.latency_p99_ms.toFixed(0), "ms, 99 of 100 verdicts"),
  );
  byId("legend").replaceChildren(
    ...[...signs.keys()].filter((name) => name in flagged || name === UNJUDGED).map((name) => {
      const count = flagged[name] ?? tiles.unjudged;
      const item = element("li");
      const { colour, sign } = signs.get(name);
      const swatch = element("span", sign, { class: "sign" });
      swatch.style.background = colour;
      item.append(swatch, ` ${words(name)} ${whole(count)}`);
      return item;
    }),
  );
}

function fact(name, value, isBad = false) {
  return [element("dt", name), element("dd", value, isBad ? { class: "problem" } : {})];
}

function showHealth({ counts, health }) {
  const { silent_s: silent, camera_is_there: there, disk, clock_changed_s: clock } = health;
  const quiet = there === false || (silent !== null && silent > 3);
  const camera = there === false ? "gone, and looked for"
    : silent === null ? "waits for the first line"
    : quiet ? `no line for ${whole(silent)} s` : "lines come";
  const gaps = counts.lines.gaps;
  byId("health").replaceChildren(
    ...fact("Camera", camera, quiet),
    ...fact("Lost", gaps === 0 ? "no line" : `${whole(counts.lines.missing)} lines in ${whole(gaps)} places`, gaps > 0),
    ...fact("Disk", disk ? `${(disk.free / GIB).toFixed(0)} GiB of ${(disk.total / GIB).toFixed(0)} free` : "not known", disk && disk.free < 0.05 * disk.total),
    ...fact("Clock", Math.abs(clock) < 2 ? "steady" : `changed by ${clock.toFixed(0)} s`, Math.abs(clock) >= 2),
    ...fact("Engine", `${run.engine.name} ${run.engine.version} on ${run.engine.provider} (${run.engine.precision})`),
    ...fact("Model", run.model.name),
    ...fact("Screen", run.screen?.name ?? "none"),
    ...fact("Late", counts.tiles.late === 0 ? "no verdict" : `${whole(counts.tiles.late)} verdicts`, counts.tiles.late > 0),
  );
}

function levelsOf(text, width) {
  const bytes = Uint8Array.fromBase64?.(text) ?? Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  // Along the piece goes to the right on the screen: the row of tiles is turned.
  const image = new ImageData(side, width);
  for (let across = 0; across < width; across++) {
    for (let along = 0; along < side; along++) {
      const to = 4 * (across * side + along);
      image.data[to] = image.data[to + 1] = image.data[to + 2] = bytes[along * width + across];
      image.data[to + 3] = 255;
    }
  }
  return image;
}

function markTile(context, state, x, y) {
  const name = typeof state === "number" ? run.classes[state] : state === "unjudged" ? UNJUDGED : null;
  if (name === null) return;
  const { colour, sign } = signs.get(name);
  context.strokeStyle = colour;
  context.lineWidth = 3;
  context.strokeRect(x + 1.5, y + 1.5, side - 3, side - 3);
  context.fillStyle = colour;
  context.fillRect(x, y, 15, 16);
  context.fillStyle = "#000";
  context.font = "bold 14px system-ui, sans-serif";
  context.fillText(sign, x + 3, y + 13);
}

// Rows come as they are settled: one with much to judge after the next ones.
function showRows(rows) {
  if (rows.length === 0) return;
  const canvas = byId("strip");
  const context = canvas.getContext("2d");
  const fresh = rows.map((row) => ({ ...row, picture: levelsOf(row.levels, canvas.height) }));
  passed = [...passed, ...fresh].sort((a, b) => a.number - b.number).slice(-ROWS);
  const newest = passed.at(-1).number;
  passed = passed.filter(({ number }) => number > newest - ROWS);
  context.fillStyle = "#000";
  context.fillRect(0, 0, canvas.width, canvas.height);
  for (const { number, picture, tiles } of passed) {
    const x = canvas.width - (newest - number + 1) * side;
    context.putImageData(picture, x, 0);
    tiles.forEach((state, column) => markTile(context, state, x, column * side));
  }
  byId("strip-from").textContent = `${passed[0].metres.toFixed(1)} m`;
  byId("strip-to").textContent = `${passed.at(-1).metres.toFixed(1)} m`;
}

function watch() {
  const events = new EventSource("/api/v1/live/events");
  events.addEventListener("message", (event) => {
    const now = JSON.parse(event.data);
    showNumbers(now);
    showHealth(now);
    showRows(now.rows);
    byId("problem").textContent = "";
  });
  events.addEventListener("error", async () => {
    if (events.readyState !== EventSource.CLOSED) {
      byId("problem").textContent = "The server does not answer.";
      return;
    }
    // It was refused: the session has ended, or the run has.
    await start();
  });
}

async function start() {
  try {
    ({ run, side } = await ask("GET", "/api/v1/live"));
  } catch (error) {
    byId("problem").textContent = error.message;
    setTimeout(start, 2000);
    return;
  }
  document.body.classList.toggle("nothing-runs", run === null);
  if (run === null) {
    byId("running").textContent = "Nothing runs here: the record alone is served.";
    return;
  }
  signs = marks(run.classes);
  byId("running").textContent = `${run.station}, ${run.piece}${run.line_rate ? `, ${whole(run.line_rate)} lines/s` : ""}`;
  const canvas = byId("strip");
  canvas.width = ROWS * side;
  canvas.height = run.columns * side;
  watch();
}

async function showLatest() {
  const page = await ask("GET", "/api/v1/queue?order=latest&limit=8").catch(() => null);
  if (!page) return;
  byId("latest").replaceChildren(
    ...page.tiles.slice(0, 8).map((tile) => {
      const item = element("li");
      if (tile.has_image) item.append(element("img", "", { src: `/api/v1/tiles/${tile.id}/image`, alt: "", width: 128, height: 128 }));
      item.append(element("span", tile.class ? words(tile.class) : UNJUDGED), element("span", `${tile.metres.toFixed(1)} m`, { class: "soft" }));
      return item;
    }),
  );
}

document.addEventListener("alarms", ({ detail: alarms }) => {
  byId("no-alarms").hidden = alarms.length > 0;
  byId("alarms").replaceChildren(
    ...alarms.map((alarm) => {
      const item = element("li");
      const button = element("button", "Acknowledge", { type: "button", "aria-label": `Acknowledge: ${alarm.told}` });
      button.addEventListener("click", async () => {
        try {
          await ask("POST", `/api/v1/alarms/${alarm.id}/acknowledge`);
          document.dispatchEvent(new Event("acknowledged"));
        } catch (error) {
          byId("problem").textContent = error.message;
        }
      });
      const text = element("div");
      text.append(element("strong", alarm.told), element("span", moment(alarm.renewed), { class: "soft" }));
      item.append(text, button);
      return item;
    }),
  );
});

start();
showLatest();
setInterval(showLatest, 2000);
