// The dialog behind a cell or a mark: its records, the panel of every attack on that method, its parameters.
const PANEL = ["game", "attack", "AUC", "over base", "best control", "over it", "p AUC", "p over base", "TPR", "ε ≥", "verdict", "record"];

function openDetail(place, row, column) {
  const task = data.tasks[place];
  const leakage = column === null || column.metric === VERDICT || !task.utility.includes(column);
  const parts = [];
  if (column === null) parts.push(...task.utility.filter((c) => !c.compared).flatMap((c) => figurePart(c, row)));
  else if (task.utility.includes(column)) parts.push(...figurePart(column, row));
  if (leakage) parts.push(...leakageParts(task, row));
  parts.push(...parameterPart(task, row));
  byId("detail-title").textContent = `${data.methods[task.methods[row]]} on ${task.name}`;
  byId("detail-body").replaceChildren(...parts);
  byId("detail").showModal();
  byId("detail").scrollTop = 0;
}

/** A figure in words and the records behind it. */
function figurePart(column, row) {
  const cell = cellOf(column, row);
  const title = el("h3", {}, column.compared ? column.metric : column.title);
  if (!cell) return [title, el("p", {}, "— Not reported.")];
  const lines = [];
  if (cell.value !== null) lines.push(["value", `${number(cell.value)} ${interval(cell.lo, cell.hi)}`]);
  if (cell.difference !== null) {
    const ci = interval(cell.difference_lo, cell.difference_hi, true);
    lines.push([`minus ${words(cell.baseline) ?? "baseline"}`, `${number(cell.difference, true)} ${ci}`]);
  }
  if (cell.reason !== null) lines.push(["note", words(cell.reason)]);
  if (cell.best !== null) lines.push(["place", `${rank(cell)} (places that the intervals allow)`]);
  const asked = column.metric.startsWith("auc") ? "scored items" : "questions";
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
  if (auc) parts.push(...figurePart(auc, row).slice(1));
  const base = columnOf(group.columns, "auc_base");
  const same = (cell) => cell.value === null && cell.reason === (auc && cellOf(auc, row)?.reason);
  const controls = [base, ...group.controls].filter((c) => c && cellOf(c, row) && !same(cellOf(c, row)));
  if (controls.length) parts.push(el("h4", {}, "What reads no personalised model"));
  parts.push(terms(controls.map((c) => {
    const cell = cellOf(c, row);
    return [c.title, cell.value === null ? `— ${words(cell.reason) ?? ""}` : `${number(cell.value)} ${interval(cell.lo, cell.hi)}`];
  })));
  return [...parts, ...panelPart(task, row, group)];
}

function panelPart(task, row, chosen) {
  const groups = [...task.groups].sort((a, b) => (b === chosen) - (a === chosen));
  const judged = groups.flatMap((group) => group.leaks[row].map(([leak, record]) => [group, leaks[leak], record]));
  const title = el("h3", {}, "Control panel");
  if (!judged.length) return [title, el("p", {}, "No attack was judged on this method.")];
  const head = el("tr", {}, ...PANEL.map((name) => el("th", { scope: "col" }, name)));
  const body = judged.flatMap(([group, leak, record]) => panelRows(group, leak, record, group === chosen));
  const table = el("table", { class: "panel" }, el("thead", {}, head), el("tbody", {}, ...body));
  return [title, el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Control panel" }, table),
    ...data.legend.map((line) => el("p", { class: "small" }, line))];
}

function panelRows(group, leak, record, chosen) {
  const ci = (lo, hi, signed) => el("span", { class: "ci" }, interval(lo, hi, signed));
  const limits = leak.limits.split(" ");
  const rates = limits.map((limit, i) => `${known(leak.tpr[i], false, 2)} at ${Number((100 * limit).toFixed(4))} %`);
  const bound = leak.epsilon === null ? "–" : `${number(leak.epsilon, false, 2)} of ${known(leak.ceiling, false, 2)}`;
  const p = [known(leak.p_adjusted), el("span", { class: "ci" }, leak.p === null ? "" : `alone ${number(leak.p)}`)];
  const cells = [
    [group.game], [group.attack], [number(leak.auc), ci(leak.lo, leak.hi)],
    leak.gap === null ? ["n/a"] : [number(leak.gap, true), ci(leak.gap_lo, leak.gap_hi, true)], [words(leak.control)],
    [known(leak.over, true), ci(leak.over_lo, leak.over_hi, true)],
    ...(group.drawn ? [["–"], p] : [p, ["–"]]),
    rates.map((rate) => el("span", { class: "line" }, rate)), [bound],
    [el("span", { class: `v ${gravity(words(leak.verdict))}` }, words(leak.verdict))], [recordLink(record)],
  ];
  const classes = chosen ? "chosen" : null;
  const sizes = `${leak.members.toLocaleString("en")} member and ${leak.others.toLocaleString("en")} other items`;
  const odd = [["undefined", "undefined"], ["undefined_base", "undefined under the base"], ["both_sides", "on both sides"]];
  const counted = odd.filter(([field]) => leak[field]).map(([field, said]) => `${leak[field]} ${said}`);
  const lacking = leak.no_base === null ? [] : [`over base n/a: ${words(leak.no_base)}`];
  const why = `${leak.why}. ${[sizes, ...counted, ...lacking].join("; ")}.`;
  return [
    el("tr", { class: classes }, ...cells.map((parts) => el("td", {}, ...parts))),
    el("tr", { class: `why ${classes ?? ""}` }, el("td", { colspan: PANEL.length }, el("div", {}, why))),
  ];
}

function parameterPart(task, row) {
  const lines = [...task.params[row], ...task.said[row]].map(words);
  if (!lines.length) return [];
  return [el("h3", {}, "Parameters"), el("ul", { class: "params" }, ...lines.map((line) => el("li", {}, el("code", {}, line))))];
}
