// Parts of pages.

export const byId = (id) => document.getElementById(id);

export function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text ?? "";
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// A row of a table. Numbers stand at the right; what is no text is put in as it is.
export function row(cells) {
  const made = element("tr");
  for (const cell of cells) {
    if (cell instanceof Node) {
      const holding = element("td");
      holding.append(cell);
      made.append(holding);
    } else if (typeof cell === "number") {
      made.append(element("td", cell.toLocaleString(), { class: "number" }));
    } else {
      made.append(element("td", cell ?? "–", /^[\d–<]/.test(cell ?? "–") ? { class: "number" } : {}));
    }
  }
  return made;
}

export const percent = (share) => `${(100 * share).toFixed(1)} %`;
export const moment = (text) => new Date(text).toLocaleString();

// A colour of the style, as a canvas takes it: dark or light as the page is.
export function colourOf(name) {
  const probe = element("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}
