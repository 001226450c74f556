// Several tiles at once, for obvious runs of the same.

import { words } from "./classes.js";
import { byId, element } from "./elements.js";

const COLUMNS = 6;
export const AT_ONCE = 18;
let chosen = new Set();

// Shows tiles as buttons that can be chosen.
export function showGrid(tiles) {
  const shown = tiles.slice(0, AT_ONCE);
  chosen = new Set(shown.filter(({ id }) => chosen.has(id)).map(({ id }) => id));
  byId("grid").replaceChildren(
    ...shown.map((tile) => {
      const said = tile.class ? words(tile.class) : "unjudged";
      const button = element("button", "", { type: "button", "aria-pressed": String(chosen.has(tile.id)), "aria-label": `${said}, ${tile.metres.toFixed(2)} m` });
      if (tile.has_image) button.append(element("img", "", { src: `/api/v1/tiles/${tile.id}/image`, alt: "" }));
      button.append(element("span", said));
      button.addEventListener("click", () => {
        if (!chosen.delete(tile.id)) chosen.add(tile.id);
        button.setAttribute("aria-pressed", String(chosen.has(tile.id)));
      });
      const item = element("li");
      item.append(button);
      return item;
    }),
  );
  byId("grid").querySelector("button")?.focus();
}

// The tiles that were chosen, in their order.
export const chosenOf = (tiles) => tiles.filter(({ id }) => chosen.has(id));

export const chooseAll = (tiles) => {
  const shown = tiles.slice(0, AT_ONCE);
  const all = shown.every(({ id }) => chosen.has(id));
  chosen = new Set(all ? [] : shown.map(({ id }) => id));
  for (const button of byId("grid").querySelectorAll("button")) button.setAttribute("aria-pressed", String(!all));
};

// Moves from tile to tile with the arrows; false where the key is none.
export function moveInGrid(key) {
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: COLUMNS, ArrowUp: -COLUMNS }[key];
  if (step === undefined) return false;
  const buttons = [...byId("grid").querySelectorAll("button")];
  const at = buttons.indexOf(document.activeElement);
  buttons[Math.min(Math.max(at + step, 0), buttons.length - 1)]?.focus();
  return true;
}
