// The model that judges, and the one that may take its place.

import { words } from "./classes.js";
import { byId, element, moment, percent, row } from "./elements.js";
import { Refused, ask } from "./server.js";

const bounded = ({ count, of, lower, upper }) =>
  of === 0 ? "–" : `${percent(count / of)} (${(100 * lower).toFixed(1)} to ${(100 * upper).toFixed(1)})`;
const METRICS = ["balanced_accuracy", "macro_f1", "accuracy"]; // of the test part
const short = (sha256) => `${sha256.slice(0, 12)}…`;

function facts(list, entries) {
  list.replaceChildren(
    ...entries.filter(([, value]) => value !== null && value !== undefined && value !== "").flatMap(([name, value]) => [element("dt", name), element("dd", String(value))]),
  );
}

function showActive({ active }) {
  if (!active) {
    byId("active-name").textContent = "No model has judged yet";
    return;
  }
  const { card } = active;
  byId("active-name").textContent = card.name;
  byId("active-since").textContent = active.since
    ? `judges since ${moment(active.since)}${active.by ? `, let by ${active.by}` : ""}`
    : "judged the last run of this record";
  byId("reliability").querySelector("tbody").replaceChildren(
    ...active.reliability.map((one) => row([words(one.class), one.flagged, one.reviewed, bounded(one.confirmed), bounded(one.false_alarms)])),
  );
  const point = card.provenance.operating_point;
  const part = point?.parts.test ?? point?.parts.val;
  byId("promise").querySelector("tbody").replaceChildren(
    ...card.classes
      .filter((name) => name !== "no_defect")
      .map((name) => {
        const figures = part?.classes[name];
        const threshold = card.thresholds[name];
        return row([
          words(name),
          threshold === undefined ? "most probable" : threshold.toFixed(3),
          figures ? bounded(figures.missed) : "–",
          figures ? bounded(figures.false_alarms) : "–",
        ]);
      }),
  );
  byId("promise").hidden = !point;
  byId("promise-of").textContent = point
    ? `The thresholds were chosen on the ${point.split} part so that at most ${percent(point.miss_rate)} of each class are missed; the shares are those of the ${point.parts.test ? "test" : "val"} part.`
    : "The card promises nothing.";
  const { provenance } = card;
  facts(byId("facts"), [
    ["SHA-256", short(active.sha256)],
    ["Architecture", card.architecture],
    ["Input", `${card.input.width} × ${card.input.height}, ${card.input.channels} channels, ${card.input.element}`],
    ["Made", provenance.created ? moment(provenance.created) : null],
    ["By", provenance.command],
    ["Revision", provenance.git_revision ? short(provenance.git_revision) : null],
    ["Training tiles", card.output.distance ? `99 % of them are nearer than ${card.output.distance.percentile_99.toFixed(2)}` : "the model does not tell how far tiles are from them"],
    ["8 bits", provenance.quantization ? provenance.quantization.form : null],
    ...METRICS.map((name) => [words(name), provenance.metrics?.[`test.${name}`]?.toFixed(4)]),
  ]);
}

function showShadow({ runs, shadow, previous, active }) {
  byId("exchange").hidden = !runs;
  byId("shadow").hidden = !shadow;
  byId("shadow-none").hidden = Boolean(shadow);
  for (const name of ["promote", "dismiss"]) if (byId(name)) byId(name).hidden = !shadow;
  const back = byId("roll-back");
  if (back) {
    back.hidden = !previous;
    if (previous) back.textContent = `Call back ${previous.card.name} (${short(previous.sha256)})`;
  }
  if (!shadow) return;
  const { compared } = shadow;
  const share = compared.tiles > 0 ? percent(compared.agreed / compared.tiles) : "–";
  byId("shadow-facts").textContent =
    `${shadow.card.name} (${short(shadow.sha256)}) on ${shadow.engine.name}, loaded by ${shadow.by} ${moment(shadow.since)}. ` +
    (shadow.difference === null ? "Its card has no vectors to compare with. " : `It gives here what its card says (differences up to ${shadow.difference.toExponential(1)}). `) +
    `${compared.tiles.toLocaleString()} tiles compared, ${share} alike, ${compared.skipped.toLocaleString()} not seen for lack of time` +
    (compared.failed > 0 ? `, ${compared.failed} failed.` : ".");
  const { classes } = active.card;
  const head = element("tr");
  head.append(element("th", "active \\ shadow"), ...classes.map((name) => element("th", words(name), { class: "number", scope: "col" })));
  byId("both").querySelector("thead").replaceChildren(head);
  byId("both").querySelector("tbody").replaceChildren(
    ...classes.map((by) => row([words(by), ...classes.map((name) => compared.said[by]?.[name] ?? 0)])),
  );
  byId("no-differences").hidden = compared.differences.length > 0;
  const shown = compared.differences.slice(-8).reverse();
  const known = [...byId("differences").children].map((item) => item.dataset.number).join();
  if (known === shown.map(({ number }) => number).join()) return;
  byId("differences").replaceChildren(
    ...shown.map((one) => {
      const item = element("li", "", { "data-number": one.number });
      item.append(
        element("img", "", { src: `/api/v1/models/shadow/differences/${one.number}/image`, alt: "", width: 160, height: 160 }),
        element("span", `${words(one.active.class)} ${percent(one.active.probability)}`),
        element("strong", `shadow: ${words(one.shadow.class)} ${percent(one.shadow.probability)}`),
        element("span", `${one.metres.toFixed(1)} m`, { class: "soft" }),
      );
      return item;
    }),
  );
}

async function show() {
  try {
    const models = await ask("GET", "/api/v1/models");
    showActive(models);
    showShadow(models);
  } catch (error) {
    byId("problem").textContent = error.message;
  }
}

async function act(said, work) {
  byId("problem").textContent = "";
  byId("said").textContent = said;
  try {
    await work();
    byId("said").textContent = "Done.";
  } catch (error) {
    byId("said").textContent = "";
    byId("problem").textContent = error.message;
  }
  await show();
}

async function upload(file) {
  const answer = await fetch("/api/v1/models", { method: "POST", body: file, headers: { "content-type": "application/octet-stream" } }).catch(() => {
    throw new Refused(0, "the server cannot be reached");
  });
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, said.error ?? `the server answers ${answer.status}`);
}

byId("file")?.addEventListener("change", ({ target }) => {
  const [file] = target.files;
  if (file) act(`Loading and checking ${file.name} …`, () => upload(file)).then(() => (target.value = ""));
});
byId("promote")?.addEventListener("click", () => act("Starting it for all workers …", () => ask("POST", "/api/v1/models/shadow/promote")));
byId("dismiss")?.addEventListener("click", () => act("", () => ask("DELETE", "/api/v1/models/shadow")));
byId("roll-back")?.addEventListener("click", () => act("", () => ask("POST", "/api/v1/models/rollback")));

show();
setInterval(show, 2000);
