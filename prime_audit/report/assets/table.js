// One task's table: sorted, filtered, walked by arrow keys. Each figure is a button that opens its details.
const VERDICT = "verdict";
const keyOf = (column) => `${column.metric}${column.kind === "value" ? "" : `/${column.kind}`}`;

/** Columns of a task as shown: worst verdict, utility, leakage of the chosen game and attack. */
const columnsOf = (task) => [...(task.worst ? [task.worst] : []), ...task.utility, ...(groupOf(task)?.columns ?? [])];

/** Rows that pass the filter, in the chosen order; rows without a figure are last, equals keep their order. */
function rowsOf(task) {
  const query = state.query.trim().toLowerCase();
  const rows = task.methods.map((_, row) => row).filter((row) => matches(task, row, query));
  const { key, direction } = state.sort;
  if (!key) return rows;
  const value = sortValue(task, key);
  const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b);
  return rows.sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === null || y === null) return (x === null) - (y === null);
    return direction * compare(x, y);
  });
}

function matches(task, row, query) {
  if (task.worst && !acceptable(task.risk[row])) return false; // else the choice is not shown
  const said = [data.methods[task.methods[row]], ...task.params[row].map(words)];
  return said.some((line) => line.toLowerCase().includes(query));
}

function sortValue(task, key) {
  if (key === "method") return (row) => data.methods[task.methods[row]];
  const column = columnsOf(task).find((c) => keyOf(c) === key);
  if (column === task.worst) return (row) => task.risk[row].grade;
  if (column?.entries) return (row) => words(entryOf(column, row).text);
  return (row) => (column ? figure(cellOf(column, row), column.compared).value : null);
}

/** Reasons of a task's cells in the order of its rows; a footnote's number is its place. */
function reasonsOf(task, columns) {
  const found = new Set();
  task.methods.forEach((_, row) => columns.forEach((column) => found.add(reasonAt(column, row))));
  found.delete(null);
  return [...found];
}

function reasonAt(column, row) {
  const cell = column.entries ? null : cellOf(column, row);
  if (!cell || cell.reason === null) return null;
  if (column.compared && cell.value !== null && cell.baseline === null) return null;
  const { value, lo } = figure(cell, column.compared);
  return value === null || lo === null ? words(cell.reason) : null;
}

function drawTable(place) {
  const task = data.tasks[place];
  const columns = columnsOf(task);
  const reasons = reasonsOf(task, columns);
  const rows = rowsOf(task);
  const section = byId(`task-${place}`);
  const group = groupOf(task);
  const table = section.querySelector("table");
  table.setAttribute("role", "grid");
  table.caption.textContent = caption(task, group);
  table.tHead.replaceChildren(el("tr", {}, headCell("method", "method", 0), ...columns.map(columnHead)));
  const body = rows.map((row) => rowOf(task, place, row, columns, reasons));
  const none = el("tr", {}, el("td", { colspan: columns.length + 1, class: "empty" }, "No method matches the filter."));
  table.tBodies[0].replaceChildren(...(body.length ? body : [none]));
  section.querySelector(".footnotes").replaceChildren(...reasons.map((reason) => el("li", {}, reason)));
  drawReasons(section.querySelector(".reasons"), task, columns);
  rove(table);
  return rows.length;
}

/** The reasons of verdicts, a line for the methods that share one. */
function drawReasons(list, task, columns) {
  const found = new Map();
  for (const column of columns.filter((c) => c.kind === VERDICT))
    task.methods.forEach((method, row) => {
      const { text } = entryOf(column, row);
      if (text === null) return;
      const said = `${words(text)}. ${whyOf(groupOf(task), row)}`;
      found.set(said, [...(found.get(said) ?? []), data.methods[method]]);
    });
  list.hidden = !found.size;
  list.querySelector("ul").replaceChildren(...[...found].map(([said, methods]) => el("li", {}, `${methods.join(", ")}: ${said}`)));
}

function caption(task, group) {
  const leakage = group && group.game !== null ? `; leakage: game ${group.game}, attack ${group.attack}` : "";
  return task.name + leakage;
}

const columnHead = (column) => headCell(keyOf(column), column.title, column.better, column.compared ? column.metric : null, Boolean(column.entries));

function headCell(key, title, better, of, text = false) {
  const sorted = state.sort.key === key ? (state.sort.direction > 0 ? "ascending" : "descending") : null;
  const arrow = { ascending: "▲", descending: "▼" }[sorted] ?? "";
  const button = el("button", { type: "button", "data-key": key, title: of && `${title}, of ${of}` }, title);
  button.append(el("span", { class: "arrow", "aria-hidden": "true" }, arrow));
  button.addEventListener("click", () => sortBy(key, better));
  return el("th", { scope: "col", "aria-sort": sorted, class: text ? "word" : null }, button);
}

/** Best first, then the other way round, then as reported. */
function sortBy(key, better) {
  const first = better > 0 ? -1 : 1;
  const { key: old, direction } = state.sort;
  if (old !== key) state.sort = { key, direction: first };
  else state.sort = direction === first ? { key, direction: -first } : { key: null, direction: 1 };
  drawTables();
  byId(`task-${state.task}`).querySelector(`[data-key="${CSS.escape(key)}"]`).focus();
}

function rowOf(task, place, row, columns, reasons) {
  const method = task.methods[row];
  const open = (column) => () => openDetail(place, row, column);
  const name = el("button", { type: "button", "data-at": `${row} method` }, ...broken(data.methods[method]));
  name.addEventListener("click", open(null));
  const head = el("th", { scope: "row" }, el("span", { class: "method" }, marker(data.series[data.series_of[method]]), name));
  const made = el("tr", { "data-row": row }, head, ...columns.map((column) => {
    const button = el("button", { type: "button", "data-at": `${row} ${keyOf(column)}` });
    fillCell(button, column, row, task, reasons);
    button.addEventListener("click", open(column));
    return el("td", { class: column.entries ? "word" : null, title: column.kind === VERDICT ? whyOf(groupOf(task), row) || null : null }, button);
  }));
  made.addEventListener("mouseenter", () => lightUp(row, true));
  made.addEventListener("mouseleave", () => lightUp(row, false));
  return made;
}

function gravityOf(column, task, row) {
  if (column === task.worst) return tone(task.risk[row].grade);
  return column.kind === VERDICT ? tone(...groupOf(task).leaks[row].map(([leak]) => leaks[leak].grade)) : "";
}

/** A label that may break before its suffixes and after its parameters, not within a word. */
const broken = (label) => label.split(/(?=\+)|(?<=[:,])/).flatMap((piece, i) => (i ? [el("wbr"), piece] : [piece]));

function fillCell(button, column, row, task, reasons) {
  if (column.entries) {
    button.append(...entryParts(entryOf(column, row), gravityOf(column, task, row)));
    return;
  }
  const cell = cellOf(column, row);
  const { value, lo, hi } = figure(cell, column.compared);
  const reason = reasonAt(column, row);
  if (reason) button.title = reason;
  const none = reason === null ? "–" : cell.failed ? "failed" : "n/a";
  button.append(el("span", { class: "v" }, value === null ? none : number(value, column.compared)));
  if (reason) button.append(el("sup", {}, String(reasons.indexOf(reason) + 1)));
  if (!column.compared && cell?.best !== null && cell) button.append(el("span", { class: "rank", title: "places by paired differences" }, rank(cell)));
  if (lo !== null && value !== null) button.append(el("span", { class: "ci" }, interval(lo, hi, column.compared)));
}

const rank = (cell) => (cell.best === cell.worst ? `${cell.best}.` : `${cell.best}–${cell.worst}.`);

/** One stop of the Tab key for the whole body; arrow keys, Home and End go from cell to cell. */
function rove(table) {
  const buttons = [...table.tBodies[0].querySelectorAll("button")];
  const last = buttons.find((button) => button.dataset.at === state.at) ?? buttons[0];
  for (const button of buttons) button.tabIndex = button === last ? 0 : -1;
  table.tBodies[0].onkeydown = (event) => walk(event, table);
}

function walk(event, table) {
  const here = event.target.closest("th,td");
  if (!here || event.ctrlKey || event.altKey || event.metaKey) return;
  const rows = [...table.tBodies[0].rows];
  const [y, x] = [rows.indexOf(here.parentElement), here.cellIndex];
  const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  const ends = { Home: [y, 0], End: [y, here.parentElement.cells.length - 1] };
  const [toY, toX] = ends[event.key] ?? (moves[event.key] ?? [NaN]).map((step, i) => step + [y, x][i]);
  const button = rows[toY]?.cells[toX]?.querySelector("button");
  if (!(event.key in moves) && !(event.key in ends)) return;
  event.preventDefault();
  if (!button) return;
  table.tBodies[0].querySelectorAll("button").forEach((other) => (other.tabIndex = -1));
  button.tabIndex = 0;
  state.at = button.dataset.at;
  button.focus();
}
