// The table of the last points and the two lists of columns.

import { clock, column } from "/static/format.js";

const ROWS = 20;
const MOST_COLUMNS = 6;

/** The newest points, newest first: number, time, axes, signals. */
export class PointTable {
  constructor(head, body) {
    this.head = head;
    this.body = body;
    this.heading = "";
  }

  show(store, axisNames, scan) {
    const rank = (name) => (scan?.hints?.includes(name) ? 2 : 0) + (scan?.devices?.[name] === name ? 1 : 0);
    const others = [...store.columns.keys()].filter((name) => !axisNames.includes(name));
    others.sort((a, b) => rank(b) - rank(a));
    const names = [...axisNames, ...others].slice(0, MOST_COLUMNS);
    const more = axisNames.length + others.length - names.length;
    const headings = names.map((name) => (scan?.units?.[name] ? `${name} (${scan.units[name]})` : name));
    this.#showHead(["#", "time", ...headings, ...(more > 0 ? [`+${more} more`] : [])]);
    const newest = (values) => Array.from(values.slice(-ROWS)).reverse();
    const columns = names.map((name) => column(newest(store.column(name))));
    const times = newest(store.times.view());
    const rows = newest(store.ids.view()).map((id, i) => {
      const cells = [String(id), clock(times[i]), ...columns.map((texts) => texts[i])];
      return row("td", more > 0 ? [...cells, ""] : cells);
    });
    this.body.replaceChildren(...rows);
  }

  #showHead(cells) {
    if (cells.join("\n") === this.heading) return;
    this.heading = cells.join("\n");
    this.head.replaceChildren(...row("th", cells).children);
    for (const cell of this.head.children) cell.scope = "col";
  }
}

/** The two lists from which a person chooses what is drawn. */
export class Selectors {
  constructor(x, y, onChange) {
    this.lists = { x, y };
    for (const [which, list] of Object.entries(this.lists)) {
      list.addEventListener("change", () => onChange(which, list.value));
    }
  }

  show(xNames, yNames, xName, yName) {
    fill(this.lists.x, xNames, xName);
    fill(this.lists.y, yNames, yName ?? "");
  }
}

function fill(list, names, chosen) {
  const now = [...list.options].map((option) => option.value);
  if (names.join("\n") !== now.join("\n")) list.replaceChildren(...names.map((name) => new Option(name, name)));
  if (list.value !== chosen) list.value = chosen;
  list.disabled = names.length === 0;
}

function row(kind, cells) {
  const line = document.createElement("tr");
  line.append(
    ...cells.map((text) => {
      const cell = document.createElement(kind);
      cell.textContent = text;
      return cell;
    }),
  );
  return line;
}
