// One piece: where its defects lie and what they are.

import { UNJUDGED, marks, words } from "./classes.js";
import { byId, colourOf, element, row } from "./elements.js";
import { ask } from "./server.js";

const number = location.pathname.split("/").at(-1);
const MOST_ROWS = 500; // of the table of defects
const hidden = new Set(["no_defect"]); // classes that are not shown
let report = null;
let signs = new Map();

const takenFor = (finding) => finding.reviewed ?? finding.class ?? UNJUDGED;
const metres = (value) => `${value.toFixed(2)} m`;
const millimetres = (value) => `${value.toFixed(0)} mm`;

// The map has a place for each tile across, and along as many pixels as there are.
const LEFT = 70;
const BOTTOM = 34;

function scale() {
  const canvas = byId("map");
  const width = canvas.width - LEFT;
  const height = canvas.height - BOTTOM;
  return { along: width / Math.max(report.length_m, report.tile_m), across: height / report.width_mm, height };
}

function step(length, places) {
  const rough = length / places;
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((factor) => factor * power).find((value) => value >= rough);
}

// A canvas with as many pixels as the screen has there, empty.
function fresh(id) {
  const canvas = byId(id);
  const ratio = devicePixelRatio;
  canvas.width = Math.round(canvas.clientWidth * ratio);
  canvas.height = Math.round(canvas.clientHeight * ratio);
  const context = canvas.getContext("2d");
  context.font = `${14 * ratio}px system-ui, sans-serif`;
  return { canvas, ratio, context };
}

function draw() {
  const { canvas, ratio, context } = fresh("map");
  const { along, across, height } = scale();
  context.fillStyle = colourOf("--soft");
  context.strokeStyle = colourOf("--line");
  context.lineWidth = 1;
  context.textAlign = "center";
  const alongStep = step(report.length_m || report.tile_m, canvas.width / (110 * ratio));
  for (let at = 0; at <= report.length_m; at += alongStep) {
    const x = LEFT + at * along;
    context.beginPath();
    context.moveTo(x, 0);
    context.lineTo(x, height);
    context.stroke();
    context.fillText(`${Number(at.toPrecision(6))} m`, Math.min(x, canvas.width - 34 * ratio), height + 22 * ratio);
  }
  context.textAlign = "right";
  const acrossStep = step(report.width_mm, 4);
  for (let at = 0; at <= report.width_mm; at += acrossStep) {
    const y = at * across;
    context.beginPath();
    context.moveTo(LEFT, y);
    context.lineTo(canvas.width, y);
    context.stroke();
    context.fillText(`${at}`, LEFT - 6, Math.max(y + 5 * ratio, 12 * ratio));
  }
  context.fillText("mm", LEFT - 22 * ratio, height + 22 * ratio);
  context.fillStyle = colourOf("--bad");
  for (const gap of report.gaps) context.fillRect(LEFT + gap.metres * along, 0, 2 * ratio, height);
  // A tile of a long piece is narrower than a pixel, but is seen all the same.
  const wide = Math.max(report.tile_m * along, 4 * ratio);
  const high = report.tile_mm * across;
  for (const finding of report.findings) {
    const name = takenFor(finding);
    if (hidden.has(name)) continue;
    context.fillStyle = signs.get(name).colour;
    context.fillRect(LEFT + finding.metres * along, finding.millimetres * across - high / 2, wide, Math.max(high - 1, 2));
  }
}

// Stacked bars below the map, on the same scale along the piece.
function drawDensity() {
  const { canvas, ratio, context } = fresh("density");
  const { along } = scale();
  const shown = report.stretches.map(({ from_m, defects }) => ({ from_m, counts: Object.entries(defects).filter(([name]) => !hidden.has(name)) }));
  const totals = shown.map(({ counts }) => counts.reduce((sum, [, count]) => sum + count, 0));
  const most = Math.max(1, ...totals);
  const top = 14 * ratio;
  const high = (canvas.height - top) / most;
  context.fillStyle = colourOf("--soft");
  context.textAlign = "right";
  context.fillText(String(most), LEFT - 6, top + 5 * ratio);
  context.fillText("0", LEFT - 6, canvas.height - 2);
  context.strokeStyle = colourOf("--line");
  context.strokeRect(LEFT, top, canvas.width - LEFT, canvas.height - top);
  for (const { from_m, counts } of shown) {
    let y = canvas.height;
    const wide = Math.max(10 * along - 1, 1);
    for (const [name, count] of counts) {
      y -= count * high;
      context.fillStyle = signs.get(name).colour;
      context.fillRect(LEFT + from_m * along, y, wide, count * high);
    }
  }
}

function filters() {
  const counts = new Map();
  for (const finding of report.findings) counts.set(takenFor(finding), (counts.get(takenFor(finding)) ?? 0) + 1);
  byId("filters").replaceChildren(
    ...[...signs.keys()].filter((name) => counts.has(name)).map((name) => {
      const count = counts.get(name);
      const button = element("button", "", { type: "button", "aria-pressed": String(!hidden.has(name)) });
      const swatch = element("span", signs.get(name).sign, { class: "sign" });
      swatch.style.background = signs.get(name).colour;
      button.append(swatch, ` ${words(name)} ${count}`);
      button.addEventListener("click", () => {
        if (!hidden.delete(name)) hidden.add(name);
        button.setAttribute("aria-pressed", String(!hidden.has(name)));
        drawAll();
        tables();
      });
      return button;
    }),
  );
}

function tables() {
  const of = (id) => byId(id).querySelector("tbody");
  of("marks").replaceChildren(
    ...report.marks.map((mark) =>
      row([
        words(mark.class),
        millimetres(mark.millimetres),
        `${mark.period_mm.toFixed(1)} ± ${mark.error_mm.toFixed(1)} mm`,
        mark.marks,
        metres(mark.from_m),
        metres(mark.to_m),
        mark.chance < 1e-6 ? "< 0.000001" : mark.chance.toFixed(6),
      ]),
    ),
  );
  byId("marks").hidden = report.marks.length === 0;
  of("by-class").replaceChildren(
    ...report.classes.map((one) =>
      row([
        words(one.class),
        one.defects,
        one.tiles,
        one.confirmed,
        one.false_alarms,
        report.length_m > 0 ? ((10 * one.defects) / report.length_m).toFixed(2) : "–",
      ]),
    ),
  );
  const shown = report.defects.filter((defect) => !hidden.has(defect.class ?? UNJUDGED));
  byId("more-defects").textContent = shown.length > MOST_ROWS ? `The first ${MOST_ROWS} of ${shown.length}; the CSV has all.` : "";
  of("defects").replaceChildren(
    ...shown
      .slice(0, MOST_ROWS)
      .map((defect) =>
        row([
          defect.number,
          words(defect.class ?? UNJUDGED),
          metres(defect.from_m),
          metres(defect.to_m - defect.from_m),
          millimetres((defect.from_mm + defect.to_mm) / 2),
          millimetres(defect.to_mm - defect.from_mm),
          defect.tiles.length,
          defect.reviewed,
          defect.probability === null ? "–" : `${(100 * defect.probability).toFixed(0)} %`,
        ]),
      ),
  );
}

function drawAll() {
  draw();
  drawDensity();
}

// What lies where someone points.
function point(event) {
  const canvas = byId("map");
  const box = canvas.getBoundingClientRect();
  const { along, across } = scale();
  const x = ((event.clientX - box.left) * canvas.width) / box.width;
  const y = ((event.clientY - box.top) * canvas.height) / box.height;
  const at = (x - LEFT) / along;
  const beside = y / across;
  const reach = Math.max(report.tile_m, (6 * devicePixelRatio) / along);
  const near = report.findings
    .filter((finding) => !hidden.has(takenFor(finding)))
    .filter((finding) => Math.abs(finding.millimetres - beside) <= report.tile_mm / 2 && at > finding.metres - reach / 2 && at < finding.metres + reach)
    .sort((a, b) => Math.abs(a.metres - at) - Math.abs(b.metres - at))[0];
  if (!near) return;
  const said = byId("pointed");
  said.textContent = `${words(takenFor(near))} at ${metres(near.metres)}, ${millimetres(near.millimetres)} across`;
  said.append(element("img", "", { src: `/api/v1/tiles/${near.tile}/image`, alt: "the tile", width: 256, height: 256 }));
}

async function start() {
  try {
    report = await ask("GET", `/api/v1/pieces/${number}`);
  } catch (error) {
    byId("problem").textContent = error.message;
    return;
  }
  const { piece } = report;
  document.title = `${piece.name} – Millsight`;
  byId("name").textContent = piece.name;
  byId("summary").textContent =
    `${report.length_m.toFixed(1)} m × ${(report.width_mm / 1000).toFixed(2)} m, ` +
    `${report.defects.length} defects on ${report.findings.length} tiles, ${piece.reviewed} reviewed; ` +
    `${piece.station}, ${piece.model}, ${new Date(piece.started).toLocaleString()}, ${words(piece.status)}`;
  byId("csv").href = `/api/v1/pieces/${number}/defects.csv`;
  byId("json").href = `/api/v1/pieces/${number}`;
  byId("json").download = `piece${number}.json`;
  const known = [...new Set([...report.model_classes, ...report.findings.map(takenFor)])].filter((name) => name !== UNJUDGED);
  signs = marks(known);
  filters();
  drawAll();
  tables();
  addEventListener("resize", drawAll);
  addEventListener("beforeprint", drawAll);
  byId("map").addEventListener("click", point);
  byId("print").addEventListener("click", () => print());
}

start();
