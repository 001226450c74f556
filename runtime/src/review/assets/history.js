// What happened over pieces and shifts.

import { marks, words } from "./classes.js";
import { byId, colourOf, element, moment, percent, row } from "./elements.js";
import { ask } from "./server.js";
import uPlot from "./uplot.js";

const LIMIT = 100;
// The range over which distances are counted.
const FARTHEST = 4;
let plots = [];

const bounded = ({ count, of, lower, upper }) =>
  of === 0 ? "–" : `${percent(count / of)} (${percent(lower)} to ${percent(upper)}) of ${of}`;

function plot(id, names, lines, range) {
  const [soft, rule] = [colourOf("--soft"), colourOf("--line")];
  const axis = { stroke: soft, grid: { stroke: rule, width: 1 }, ticks: { stroke: rule }, font: "15px system-ui, sans-serif", size: 56 };
  const place = byId(id);
  const options = {
    width: place.clientWidth,
    height: 240,
    padding: [10, 60, 0, 0],
    scales: { x: { time: false }, y: { range } },
    axes: [{ ...axis, incrs: [1, 2, 5, 10, 20, 50], values: (_, at) => at.map((index) => names[index - 1] ?? ""), space: 130 }, axis],
    series: [
      { label: "period", value: (_, index) => names[index - 1] ?? "" },
      ...lines.map(({ name, colour }) => ({ label: name, stroke: colour, width: 3, points: { show: true, size: 8 } })),
    ],
  };
  place.replaceChildren();
  plots.push(new uPlot(options, [names.map((_, index) => index + 1), ...lines.map(({ values }) => values)], place));
}

// The distribution of the last period beside that of all before.
function compare(id, periods, of, range) {
  const { tiles: last, before } = of(periods.at(-1));
  const shares = (counts) => {
    const all = counts.reduce((sum, count) => sum + count, 0);
    return last.map((_, step) => counts[step] ?? 0).map((count) => (all > 0 ? (100 * count) / all : null));
  };
  const names = last.map((_, step) => ((range * (step + 0.5)) / last.length).toFixed(range > 100 ? 0 : 2));
  plot(id, names, [
    { name: "all before, % of the tiles", colour: "#9aa5b1", values: shares(before) },
    { name: "last, % of the tiles", colour: "#e69f00", values: shares(last) },
  ], (_, low, high) => [0, Math.max(5, 1.1 * (high ?? 0))]);
}

// How far the judged tiles were from the training data.
const mean = ({ distance }) => (distance.mean === null ? null : FARTHEST * distance.mean);

function table(periods, classes) {
  const head = element("tr");
  const names = ["Period", "Tiles", "Unjudged", ...classes.map(words), "False alarms", "Brightness", "Distance", "Change of brightness", "Change of suspicion", "Change of distance"];
  head.append(...names.map((name, index) => element("th", name, { scope: "col", class: index > 0 ? "number" : "" })));
  const of = byId("periods");
  of.querySelector("thead").replaceChildren(head);
  const index = (distribution) => distribution.stability_index?.toFixed(3) ?? "–";
  of.querySelector("tbody").replaceChildren(
    ...[...periods].reverse().map((period) => {
      const name = period.piece === null ? element("span", moment(period.name)) : element("a", period.name, { href: `/pieces/${period.piece}` });
      return row([
        name,
        period.tiles,
        period.unjudged,
        ...classes.map((one) => period.flagged[one] ?? 0),
        bounded(period.false_alarms),
        period.brightness.mean === null ? "–" : (255 * period.brightness.mean).toFixed(0),
        mean(period)?.toFixed(2) ?? "–",
        index(period.brightness),
        index(period.suspicion),
        index(period.distance),
      ]);
    }),
  );
}

async function show() {
  const span = byId("span").value;
  const ahead = -new Date().getTimezoneOffset();
  let history;
  let active;
  try {
    ({ active } = await ask("GET", "/api/v1/models"));
    history = await ask("GET", `/api/v1/history?span=${span}&minutes_ahead=${ahead}&limit=${LIMIT}`);
  } catch (error) {
    byId("problem").textContent = error.message;
    return;
  }
  const { periods, agreement } = history;
  byId("nothing").hidden = periods.length > 0;
  for (const part of document.querySelectorAll(".plots, .figures")) part.hidden = periods.length === 0;
  // In the order of the model's card, so that each class has its colour; then others.
  const found = new Set(periods.flatMap(({ flagged }) => Object.keys(flagged)));
  const known = active?.card.classes ?? ["no_defect"];
  const others = [...found].filter((name) => !known.includes(name)).sort();
  const classes = [...known.filter((name) => found.has(name)), ...others];
  const trained = active?.card.output.distance;
  const signs = marks([...known, ...others]);
  const names = periods.map(({ name, piece }) => (piece === null ? new Date(name).toLocaleString([], { dateStyle: "short", timeStyle: "short" }) : name));
  const none = (share) => (share.of === 0 ? null : (100 * share.count) / share.of);
  const colour = (name) => signs.get(name).colour;
  plots.forEach((old) => old.destroy());
  plots = [];
  const upTo = (least) => (_, low, high) => [0, Math.max(least, 1.1 * (high ?? 0))];
  plot("rates", names, classes.map((name) => ({ name: words(name), colour: colour(name), values: periods.map(({ flagged, tiles }) => (tiles > 0 ? (1000 * (flagged[name] ?? 0)) / tiles : null)) })), upTo(1));
  plot("false-alarms", names, [{ name: "% of reviewed flags", colour: "#e69f00", values: periods.map((period) => none(period.false_alarms)) }], () => [0, 100]);
  plot("brightness", names, [{ name: "mean level", colour: "#56b4e9", values: periods.map(({ brightness }) => (brightness.mean === null ? null : 255 * brightness.mean)) }], () => [0, 255]);
  plot("distance", names, [
    { name: "judged tiles, mean", colour: "#009e73", values: periods.map(mean) },
    { name: "99 % of the training tiles are nearer", colour: "#9aa5b1", values: periods.map(() => trained?.percentile_99 ?? null) },
  ], upTo(1.5));
  plot("drift", names, [
    { name: "brightness", colour: "#56b4e9", values: periods.map(({ brightness }) => brightness.stability_index) },
    { name: "suspicion of the screen", colour: "#cc79a7", values: periods.map(({ suspicion }) => suspicion.stability_index) },
    { name: "distance", colour: "#009e73", values: periods.map(({ distance }) => distance.stability_index) },
  ], upTo(0.3));
  if (periods.length > 0) {
    compare("levels", periods, ({ brightness }) => brightness, 255);
    compare("suspicions", periods, ({ suspicion }) => suspicion, 1);
    compare("distances", periods, ({ distance }) => distance, FARTHEST);
  }
  byId("agreement").replaceChildren(
    ...[
      ["With oneself", bounded(agreement.with_oneself)],
      ["With others", bounded(agreement.with_others)],
      ["Cohen's kappa", agreement.kappa === null ? "–" : agreement.kappa.toFixed(2)],
    ].flatMap(([name, value]) => [element("dt", name), element("dd", value)]),
  );
  table(periods, classes);
}

byId("span").addEventListener("change", show);
addEventListener("resize", () => plots.forEach((one) => one.setSize({ width: one.root.parentElement.clientWidth, height: 240 })));
show();
