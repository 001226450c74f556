// One tile after the other, by keyboard alone where one likes.

import { words } from "./classes.js";
import { byId, element } from "./elements.js";
import { chooseAll, chosenOf, moveInGrid, showGrid } from "./grid.js";
import { ask, Refused } from "./server.js";

const TILE = 512;
const AHEAD = 20;

const state = {
  waiting: [], // tiles to come; the first is shown
  next: null, // what to ask for after
  skipped: new Set(), // left for later
  shownSince: 0,
  count: { flagged: 0, unjudged: 0 }, // waiting
  decided: [], // own decisions with their tiles, the last one last
  zoom: false,
  stretch: false,
  around: false,
  several: false,
  saliency: false,
  pending: 0, // what is to be done
  last: Promise.resolve(), // and the last of it
};

const images = new Map();

function image(tile) {
  if (!images.has(tile)) {
    const picture = new Image();
    picture.src = `/api/v1/tiles/${tile}/image`;
    images.set(tile, picture.decode().then(() => picture));
    if (images.size > 200) images.delete(images.keys().next().value);
  }
  return images.get(tile);
}

// Grey levels of the tile from the 1st to the 99th percentile over the whole range.
function stretched(context, from, side) {
  const pixels = context.getImageData(from, from, side, side);
  const counts = new Uint32Array(256);
  for (let at = 0; at < pixels.data.length; at += 4) counts[pixels.data[at]]++;
  const share = (pixels.data.length / 4) * 0.01;
  let low = 0;
  let high = 255;
  for (let sum = 0; low < 255 && (sum += counts[low]) < share; ) low++;
  for (let sum = 0; high > 0 && (sum += counts[high]) < share; ) high--;
  const scale = 255 / Math.max(high - low, 1);
  for (let at = 0; at < pixels.data.length; at += 4) {
    const level = (pixels.data[at] - low) * scale;
    pixels.data[at] = pixels.data[at + 1] = pixels.data[at + 2] = level;
  }
  context.putImageData(pixels, from, from);
}

// Where the probability of the verdict falls when a square is covered, the more the
// stronger.
async function drawSaliency(context, tile, from) {
  byId("said").textContent = "asking the model again …";
  const { side, drops, probability } = await ask("GET", `/api/v1/tiles/${tile.id}/saliency`);
  if (state.waiting[0] !== tile || !state.saliency) return;
  const square = TILE / side;
  drops.forEach((drop, index) => {
    const share = drop / Math.max(probability, 0.01);
    if (share < 0.02) return;
    context.fillStyle = `rgba(255, 110, 0, ${Math.min(0.15 + 0.5 * share, 0.65)})`;
    context.fillRect(from + (index % side) * square, from + Math.floor(index / side) * square, square, square);
  });
  const most = Math.max(...drops);
  byId("said").textContent = most < 0.02 * probability ? "no single place matters" : "marked: without it the model would be less sure";
}

// What stands where no neighbour is drawn: tiles that were cleared have no image.
function unrecorded(context, side) {
  context.fillStyle = "#22262b";
  context.fillRect(0, 0, side, side);
  context.fillStyle = "#8b96a2";
  context.font = "44px system-ui, sans-serif";
  context.textAlign = "center";
  for (let row = 0; row < 3; row++) {
    for (let column = 0; column < 3; column++) context.fillText("not recorded", (column + 0.5) * TILE, (row + 0.5) * TILE);
  }
}

async function draw() {
  const tile = state.waiting[0];
  const canvas = byId("tile");
  const context = canvas.getContext("2d", { willReadFrequently: true });
  byId("no-image").hidden = true;
  canvas.classList.toggle("real", state.zoom);
  const side = state.around ? 3 * TILE : TILE;
  canvas.width = canvas.height = side;
  if (!tile) return;
  canvas.setAttribute("aria-label", `tile at row ${tile.row}, column ${tile.column} of ${tile.piece_name}`);
  if (!tile.has_image) {
    byId("no-image").textContent = tile.image_problem ?? "no image was kept of this tile";
    byId("no-image").hidden = false;
    return;
  }
  const middle = state.around ? TILE : 0;
  try {
    const own = await image(tile.id);
    if (state.waiting[0] !== tile) return;
    if (state.around) unrecorded(context, side);
    context.drawImage(own, middle, middle);
    if (state.around) {
      const { neighbours } = await ask("GET", `/api/v1/tiles/${tile.id}`);
      for (const { id, rows, columns } of neighbours) {
        const picture = await image(id);
        if (state.waiting[0] !== tile || !state.around) return;
        context.drawImage(picture, middle + columns * TILE, middle + rows * TILE);
      }
    }
    if (state.stretch) stretched(context, middle, TILE);
    if (state.saliency) {
      await drawSaliency(context, tile, middle).catch((error) => {
        byId("said").textContent = error.message;
      });
    }
    if (state.around) {
      context.strokeStyle = "#ff9d3c";
      context.lineWidth = 6;
      context.strokeRect(TILE, TILE, TILE, TILE);
    }
  } catch {
    images.delete(tile.id);
    byId("no-image").textContent = "the image cannot be shown";
    byId("no-image").hidden = false;
  }
}

function bar(name, share) {
  const row = element("div", "", { class: "bar" });
  const meter = element("meter", "", { min: 0, max: 1, value: share, "aria-label": words(name) });
  row.append(element("span", words(name)), meter, element("span", `${(100 * share).toFixed(1)} %`));
  return row;
}

function show() {
  const tile = state.waiting[0];
  for (const name of ["grid", "all"]) byId(name).hidden = !state.several;
  for (const name of ["tile", "zoom", "stretch", "around", "saliency", "skip"]) byId(name).hidden = state.several;
  document.body.classList.toggle("several", state.several);
  if (state.several) showGrid(state.waiting);
  byId("problem").textContent = "";
  byId("note").value = "";
  const classes = byId("classes");
  classes.replaceChildren();
  byId("probabilities").replaceChildren();
  byId("place").replaceChildren();
  byId("next").replaceChildren();
  if (!tile) {
    byId("verdict").textContent = "Nothing waits";
    byId("reason").textContent = "Tiles come as they are flagged.";
    draw();
    return;
  }
  const unjudged = tile.state === "unjudged";
  byId("verdict").textContent = unjudged ? "Unjudged" : words(tile.class);
  byId("reason").textContent = unjudged ? `The model has not looked: ${words(tile.reason)}.` : `says ${tile.model}`;
  tile.classes.forEach((name, index) => {
    if (!unjudged && index < tile.probabilities.length) byId("probabilities").append(bar(name, tile.probabilities[index]));
    const button = element("button", "", { type: "button" });
    button.append(element("kbd", String(index + 1)), ` ${words(name)}`);
    button.addEventListener("click", () => decide(name));
    classes.append(button);
  });
  const cannot = element("button", "", { type: "button", class: "cannot" });
  cannot.append(element("kbd", "0"), " can't tell");
  cannot.addEventListener("click", () => decide(null));
  classes.append(cannot);
  const facts = [
    ["Piece", tile.piece_name],
    ["Along", `${tile.metres.toFixed(2)} m`],
    ["Across", `${tile.millimetres.toFixed(0)} mm`],
    ["Tile", `${(TILE * tile.mm_per_pixel).toFixed(0)} mm across, row ${tile.row}, column ${tile.column}`],
    ["Seen", new Date(tile.settled).toLocaleString()],
  ];
  if (tile.suspicion !== null) facts.push(["Screen", `${(100 * tile.suspicion).toFixed(1)} % suspicious`]);
  if (tile.distance !== null) facts.push(["Unlike training", `${tile.distance.toFixed(2)} (usual: 1)`]);
  for (const [name, value] of facts) byId("place").append(element("dt", name), element("dd", value));
  for (const later of state.waiting.slice(1, 9)) {
    const item = element("li");
    if (later.has_image) {
      item.append(element("img", "", { src: `/api/v1/tiles/${later.id}/image`, alt: "", width: 96, height: 96 }));
    }
    item.append(element("span", later.class ? words(later.class) : "unjudged"));
    byId("next").append(item);
  }
  for (const later of state.waiting.slice(1, 4)) if (later.has_image) image(later.id).catch(() => {});
  state.shownSince = performance.now();
  draw();
}

// How many wait; a tile that was decided or taken back is one less or more.
function count(waiting) {
  state.count = waiting;
  byId("waiting").textContent = `${waiting.flagged} flagged and ${waiting.unjudged} unjudged wait`;
}

function recount(tile, change) {
  const kind = tile.state === "unjudged" ? "unjudged" : "flagged";
  count({ ...state.count, [kind]: Math.max(state.count[kind] + change, 0) });
}

// Asks for more tiles when few are left. What is known already is not taken twice.
async function fill(anew = false) {
  if (anew) {
    state.waiting = [];
    state.next = null;
  }
  if (state.waiting.length > AHEAD / 2) return;
  const order = byId("order").value;
  const after = state.next === null ? "" : `&after=${state.next}`;
  const page = await ask("GET", `/api/v1/queue?order=${order}&limit=${AHEAD}${after}`);
  const known = new Set(state.waiting.map((tile) => tile.id));
  const decided = new Set(state.decided.map(({ tile }) => tile.id));
  const fresh = page.tiles.filter(({ id }) => !known.has(id) && !state.skipped.has(id) && !(decided.has(id) && after));
  state.next = page.next;
  state.waiting.push(...fresh);
  count(page.waiting);
  if (state.waiting.length === 0 && state.skipped.size > 0 && page.next === null) {
    state.skipped.clear();
    await fill(true);
  }
}

// One after the other: what is pressed while the server thinks comes next.
function attempt(work) {
  state.pending++;
  state.last = state.last.then(async () => {
    try {
      await work();
    } catch (error) {
      byId("problem").textContent = error.message;
      if (!(error instanceof Refused)) console.error(error);
    } finally {
      state.pending--;
    }
  });
}

// A key of its own for each decision: what is sent again after a broken connection
// is still one decision.
async function surely(path, body) {
  for (let attempts = 0; ; attempts++) {
    try {
      return await ask("POST", path, body);
    } catch (error) {
      if (error.status !== 0 || attempts >= 5) throw error;
      await new Promise((done) => setTimeout(done, 300 * 2 ** attempts));
    }
  }
}

const newKey = () => crypto.randomUUID?.() ?? Array.from(crypto.getRandomValues(new Uint32Array(4))).join("-");

function decide(name) {
  attempt(async () => {
    const tiles = state.several ? chosenOf(state.waiting) : state.waiting.slice(0, 1);
    if (tiles.length === 0) {
      byId("said").textContent = state.several ? "choose tiles first" : "";
      return;
    }
    // Of several each took its share of the time.
    const took = Math.round((performance.now() - state.shownSince) / tiles.length);
    const note = byId("note").value;
    for (const tile of tiles) {
      const decision = await surely("/api/v1/decisions", { key: newKey(), tile: tile.id, class: name, note, took_ms: took });
      state.decided.push({ tile, decision });
      if (!decision.is_blind) recount(tile, -1);
      state.waiting = state.waiting.filter(({ id }) => id !== tile.id);
    }
    const last = tiles.at(-1);
    const where = tiles.length > 1 ? `${tiles.length} tiles` : `${last.piece_name}, ${last.metres.toFixed(2)} m`;
    byId("said").textContent = `${name === null ? "can't tell" : words(name)}: ${where}`;
    await fill();
    show();
  });
}

function undo() {
  attempt(async () => {
    const last = state.decided.at(-1);
    if (!last) {
      byId("said").textContent = "nothing to undo";
      return;
    }
    await surely(`/api/v1/decisions/${last.decision.id}/undo`, { key: newKey() });
    state.decided.pop();
    if (!last.decision.is_blind) recount(last.tile, 1);
    byId("said").textContent = "undone";
    state.waiting = [last.tile, ...state.waiting.filter(({ id }) => id !== last.tile.id)];
    show();
  });
}

function skip() {
  attempt(async () => {
    const tile = state.waiting.shift();
    if (tile) state.skipped.add(tile.id);
    await fill();
    show();
  });
}

function toggle(name) {
  state[name] = !state[name];
  byId(name).setAttribute("aria-pressed", String(state[name]));
  draw();
}

function toggleSeveral() {
  state.several = !state.several;
  byId("several").setAttribute("aria-pressed", String(state.several));
  show();
}

const keys = {
  g: toggleSeveral,
  e: () => state.several && chooseAll(state.waiting),
  z: () => toggle("zoom"),
  c: () => toggle("stretch"),
  a: () => toggle("around"),
  s: () => toggle("saliency"),
  u: undo,
  n: () => byId("note").focus(),
  ArrowRight: skip,
  0: () => decide(null),
};

document.addEventListener("keydown", (event) => {
  // A key that is held down decides once.
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  if (event.target === byId("note")) {
    if (event.key === "Enter" || event.key === "Escape") byId("note").blur();
    return;
  }
  if (event.target instanceof HTMLSelectElement) return;
  if (state.several && moveInGrid(event.key)) {
    event.preventDefault();
    return;
  }
  const number = Number(event.key);
  const name = number >= 1 ? state.waiting[0]?.classes[number - 1] : undefined;
  const act = name === undefined ? keys[event.key] : () => decide(name);
  if (!act) return;
  event.preventDefault();
  act();
});

for (const name of ["zoom", "stretch", "around", "saliency"]) byId(name).addEventListener("click", () => toggle(name));
byId("several").addEventListener("click", toggleSeveral);
byId("all").addEventListener("click", () => chooseAll(state.waiting));
byId("undo").addEventListener("click", undo);
byId("skip").addEventListener("click", skip);
byId("order").addEventListener("change", () =>
  attempt(async () => {
    await fill(true);
    show();
  }),
);
attempt(async () => {
  await fill();
  show();
});

// Tiles go on coming: how many wait is told, and the first is shown where nothing was.
setInterval(() => {
  if (state.pending > 0) return;
  attempt(async () => {
    if (state.waiting.length > 0) {
      const { waiting } = await ask("GET", "/api/v1/queue?limit=1");
      count(waiting);
      return;
    }
    await fill(true);
    if (state.waiting.length > 0) show();
  });
}, 3000);
