// The sheet as Python packed it, unpacked; and how numbers are written. The texts of others only ever become text nodes.
const packed = Uint8Array.from(atob(document.getElementById("data").textContent), (byte) => byte.charCodeAt(0));
const data = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"))).json();
const unpack = (fields, row) => Object.fromEntries(fields.map((name, i) => [name, row[i] ?? null]));
/** A text: itself, or its wording and the numbers that stand in the gaps. */
function words(place) {
  const text = place === null ? null : data.texts[place];
  if (!Array.isArray(text)) return text;
  const numbers = text[1].split("|");
  return data.wordings[text[0]].replaceAll("\u00a4", () => numbers.shift());
}

/** Numbers come in thousandths, rounded as they are displayed. */
const CELL_NUMBERS = ["value", "lo", "hi", "difference", "difference_lo", "difference_hi", "seeds"];
const ENTRY_NUMBERS = ["value", "lo", "hi"];
const whole = (x) => (Array.isArray(x) ? x.map(whole) : x === null ? null : x / 1000);
function measured(thing, names) {
  for (const name of names) thing[name] = whole(thing[name]);
  return thing;
}

const cells = data.cells.map((row) => measured(unpack(data.cell_fields, row), CELL_NUMBERS));
const entries = data.entries.map((row) => measured(unpack(data.entry_fields, row), ENTRY_NUMBERS));
/** A row of a control panel: its cells in the order of data.panel, its verdict's place in data.severity, what else is said. */
const leaks = data.leaks.map((row) => ({ cells: row.slice(0, -2).map((place) => entries[place]), grade: row.at(-2), remark: words(row.at(-1)) }));
const VERDICT_AT = data.panel.findIndex((column) => column.name === "verdict");
for (const columns of data.tasks.flatMap((task) => [task.utility, ...task.groups.map((group) => group.columns)]))
  for (const column of columns)
    if (column.compared) column.cells = columns.find((other) => other.metric === column.metric && other.cells).cells;

const cellOf = (column, row) => (column && column.cells[row] !== null ? cells[column.cells[row]] : null);
/** The chosen game and attack; where the task lacks them, or nobody has chosen, its first. */
function groupOf(task) {
  const chosen = task.groups.filter((g) => state.game !== null && g.game === state.game);
  const own = chosen.length ? chosen : task.groups.filter((g) => g.game === task.groups[0].game);
  return own.find((g) => g.attack === state.attack) ?? own[0] ?? null;
}
const columnOf = (columns, metric, compared = false) =>
  (columns ?? []).find((c) => c.cells && c.metric === metric && c.compared === compared) ?? null;

/** Three decimals, a true minus sign, no sign on zero: as the tables in files. */
function number(value, signed = false, digits = 3) {
  const text = Math.abs(value).toFixed(digits);
  if (Number(text) === 0) return text;
  return (value < 0 ? "−" : signed ? "+" : "") + text;
}

const known = (value, ...form) => (value === null || value === undefined ? "–" : number(value, ...form));
const interval = (lo, hi, signed) => (lo === null ? "" : `[${number(lo, signed)}, ${number(hi, signed)}]`);

/** What a column shows of a cell: its value or its difference. */
function figure(cell, compared) {
  if (!cell) return { value: null, lo: null, hi: null };
  return compared
    ? { value: cell.difference, lo: cell.difference_lo, hi: cell.difference_hi }
    : { value: cell.value, lo: cell.lo, hi: cell.hi };
}

/** The entry of a column that holds texts; and of a method in a game all verdicts, or all their reasons, one a record. */
const entryOf = (column, row) => entries[column.entries[row]];
const verdictsOf = (group, row, field) => group.leaks[row].map(([leak]) => words(leaks[leak].cells[VERDICT_AT][field]));
const whyOf = (group, row) => [...new Set(verdictsOf(group, row, "reason"))].join("; ");
/** A grade's class: no leak found → no-leak-found; of several, the gravest's. */
const tone = (...grades) => (grades.length && grades[0] !== null ? data.severity[Math.min(...grades)].replaceAll(/[^a-z]+/g, "-") : "");

/** Of a method: its worst verdict's place in data.severity, and the choices of acceptable risk that it meets. */
for (const task of data.tasks) task.risk = task.risk.map(([grade, met]) => ({ grade, met: met.map((place) => data.risks[place][0]) }));
const acceptable = (risk) => risk.met.includes(state.risk);

/** The nodes that show an entry: its text or figure, and its interval. */
function entryParts(entry, tone = "") {
  const said = entry.value === null ? words(entry.text) ?? "–" : number(entry.value, entry.signed);
  const ci = entry.lo === null ? null : el("span", { class: "ci" }, interval(entry.lo, entry.hi, entry.signed));
  return [el("span", { class: `v ${tone}`.trim() }, said), ci].filter(Boolean);
}

function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

const byId = (id) => document.getElementById(id);

/** A record as a link, or as text where its place is no address a page may link to. */
function recordLink(place) {
  const { id, href, seed } = data.records[place];
  const said = seed === null ? id : `${id} (seed ${seed})`;
  return href === null ? el("span", {}, said) : el("a", { href }, said);
}

// Markers by matplotlib's letters, in a box of 20 by 20; the static frontier uses the same.
const MARKERS = {
  o: "M10 2a8 8 0 0 1 0 16a8 8 0 0 1 0 -16z",  // two arcs: of a single one ECharts finds no inside
  s: "M3 3h14v14h-14z",
  "^": "M10 2l8.5 15h-17z",
  D: "M10 1l9 9-9 9-9-9z",
  v: "M10 18l8.5-15h-17z",
  P: "M7 2h6v5h5v6h-5v5h-6v-5h-5v-6h5z",
  X: "M5.5 1.5L10 6l4.5-4.5 4 4L14 10l4.5 4.5-4 4L10 14l-4.5 4.5-4-4L6 10 1.5 5.5z",
  p: "M10 1.5l8.5 6.2-3.2 10h-10.6l-3.2-10z",
  "<": "M2 10l15-8.5v17z",
};

/** A series' marker as a small picture beside its name. */
function marker(series) {
  const [svg, path] = ["svg", "path"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("class", "marker");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", MARKERS[series.marker]);
  // Black is the text's own colour: white where the page is dark.
  path.setAttribute("fill", series.colour === "#000000" ? "currentColor" : series.colour);
  svg.append(path);
  return svg;
}
