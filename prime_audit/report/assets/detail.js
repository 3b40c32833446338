// The dialog behind a cell or a mark: its records, the panel of every attack on that method, its parameters.
function openDetail(place, row, column) {
  const task = data.tasks[place];
  const leakage = column === null || !task.utility.includes(column);
  const parts = [];
  if (column === null) parts.push(...task.utility.filter((c) => c.kind === "value").flatMap((c) => figurePart(c, row, "questions")));
  else if (task.utility.includes(column)) parts.push(...figurePart(column, row, "questions"));
  if (leakage) parts.push(...leakageParts(task, row));
  parts.push(...parameterPart(task, row));
  byId("detail-title").textContent = `${data.methods[task.methods[row]]} on ${task.name}`;
  byId("detail-body").replaceChildren(...parts);
  byId("detail").showModal();
  byId("detail").scrollTop = 0;
}

/** A figure in words and the records behind it. */
function figurePart(column, row, asked) {
  const cell = cellOf(column, row);
  const title = el("h3", {}, column.compared ? column.metric : column.title);
  if (!cell) return [title, el("p", {}, "Not reported.")];
  const lines = [];
  if (cell.value !== null) lines.push(["value", `${number(cell.value)} ${interval(cell.lo, cell.hi)}`]);
  if (cell.difference !== null) {
    const ci = interval(cell.difference_lo, cell.difference_hi, true);
    lines.push([`minus ${words(cell.baseline) ?? "baseline"}`, `${number(cell.difference, true)} ${ci}`]);
  }
  if (cell.reason !== null) lines.push(["note", words(cell.reason)]);
  if (cell.best !== null) lines.push(["place", `${rank(cell)} (places by paired differences)`]);
  const of = cell.targets ? ` of ${cell.targets} targets` : "";
  if (cell.n) lines.push(["from", `${cell.n.toLocaleString("en")} ${asked}${of}`]);
  return [title, terms(lines), recordList(cell)];
}

const terms = (lines) =>
  el("dl", {}, ...lines.flatMap(([name, said]) => [el("dt", {}, name), el("dd", {}, said)]));

function recordList(cell) {
  if (cell.records === null) return el("p", { class: "small" }, "No record is named.");
  const items = data.sets[cell.records].map((record, i) => {
    const value = cell.seeds ? `: ${known(cell.seeds[i])}` : "";
    return el("li", {}, recordLink(record), value);
  });
  return el("div", { class: "records" }, el("h4", {}, items.length > 1 ? "Records" : "Record"), el("ul", {}, ...items));
}

/** The chosen game's AUC beside what controls reach, then the panel of all games and attacks. */
function leakageParts(task, row) {
  const group = groupOf(task);
  if (!group) return [];
  const parts = [el("h3", {}, `Leakage: game ${group.game}, attack ${group.attack}`)];
  const auc = columnOf(group.columns, "auc");
  if (auc) parts.push(...figurePart(auc, row, "scored items").slice(1));
  const base = columnOf(group.columns, "auc_base");
  const same = (cell) => cell.value === null && cell.reason === (auc && cellOf(auc, row)?.reason);
  const controls = [base, ...group.controls].filter((c) => c && cellOf(c, row) && !same(cellOf(c, row)));
  if (controls.length) parts.push(el("h4", {}, "What reads no personalised model"));
  parts.push(terms(controls.map((c) => {
    const cell = cellOf(c, row);
    return [c.title, cell.value === null ? `n/a: ${words(cell.reason) ?? ""}` : `${number(cell.value)} ${interval(cell.lo, cell.hi)}`];
  })));
  return [...parts, ...panelPart(task, row, group)];
}

function panelPart(task, row, chosen) {
  const groups = [...task.groups].sort((a, b) => (b === chosen) - (a === chosen));
  const judged = groups.flatMap((group) => group.leaks[row].map(([leak, record]) => [group, leaks[leak], record]));
  const title = el("h3", {}, "Control panel");
  if (!judged.length) return [title, el("p", {}, "No attack was judged on this method.")];
  const head = el("tr", {}, ...data.panel.map(({ name, help }) => el("th", { scope: "col", title: help }, name)), el("th", { scope: "col" }, "record"));
  const body = judged.flatMap(([group, leak, record]) => panelRows(leak, record, group === chosen));
  const table = el("table", { class: "panel" }, el("thead", {}, head), el("tbody", {}, ...body));
  return [title, el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Control panel" }, table),
    ...data.legend.map((line) => el("p", { class: "small" }, line))];
}

/** A verdict's cells, and below them every reason and what they rest on. */
function panelRows({ cells, grade, remark }, record, chosen) {
  const classes = chosen ? "chosen" : null;
  const shown = cells.map((entry, i) => el("td", { "data-label": data.panel[i].name }, el("span", {}, ...entryParts(entry, i === VERDICT_AT ? tone(grade) : ""))));
  const why = cells.flatMap(({ text, reason }, i) => (reason === null ? [] : [i === VERDICT_AT ? words(reason) : `${data.panel[i].name} ${words(text)}: ${words(reason)}`]));
  return [
    el("tr", { class: classes }, ...shown, el("td", { "data-label": "record" }, recordLink(record))),
    el("tr", { class: `why ${classes ?? ""}` }, el("td", { colspan: cells.length + 1 }, el("div", {}, `${[...why.reverse(), remark].join(". ")}.`))),
  ];
}

function parameterPart(task, row) {
  const lines = [...task.params[row], ...task.said[row]].map(words);
  if (!lines.length) return [];
  return [el("h3", {}, "Parameters"), el("ul", { class: "params" }, ...lines.map((line) => el("li", {}, el("code", {}, line))))];
}
