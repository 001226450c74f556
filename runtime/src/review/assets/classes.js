// How classes are written and drawn. Each has a colour that those who see red and green
// alike tell apart (after Okabe and Ito), and a mark, so that colour is never all.

export const words = (name) => name.replaceAll("_", " ");

const COLOURS = ["#9aa5b1", "#56b4e9", "#e69f00", "#f0e442", "#cc79a7", "#009e73", "#d55e00", "#0072b2"];
export const UNJUDGED = "unjudged";

// The classes of a model in their order, so that each has the same mark as on its key.
export function marks(classes) {
  const known = new Map(classes.map((name, index) => [name, { colour: COLOURS[index % COLOURS.length], sign: String(index + 1) }]));
  known.set(UNJUDGED, { colour: "#ff5c5c", sign: "?" });
  return known;
}
