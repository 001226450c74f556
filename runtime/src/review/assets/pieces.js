// Pieces, the last first.

import { byId, element, moment, row } from "./elements.js";
import { words } from "./classes.js";
import { ask } from "./server.js";

const AT_ONCE = 50;
let last = null;

async function more() {
  const before = last === null ? "" : `&before=${last}`;
  try {
    const pieces = await ask("GET", `/api/v1/pieces?limit=${AT_ONCE}${before}`);
    for (const piece of pieces) {
      const name = element("a", piece.name, { href: `/pieces/${piece.id}` });
      byId("pieces").append(
        row([
          name,
          element("span", moment(piece.started)),
          piece.lines ?? "–",
          piece.missing_lines ?? "–",
          piece.flagged,
          piece.unjudged,
          piece.reviewed,
          element("span", piece.model),
          element("span", words(piece.status)),
        ]),
      );
      last = piece.id;
    }
    byId("more").hidden = pieces.length < AT_ONCE;
  } catch (error) {
    byId("problem").textContent = error.message;
  }
}

byId("more").addEventListener("click", more);
more();
