// Marks of the frontier as one meets them: under the pointer, by arrow keys, in the legend.

/** What a mark says: built of nodes, so that no text of others is read as markup. */
function tip({ seriesIndex, dataIndex }) {
  const p = (seriesIndex === 0 ? drawn.merged : drawn.alone)[dataIndex];
  return p ? el("div", { class: "tip" }, el("strong", {}, p.label), ...tipLines(p).map((line) => el("div", {}, line))) : "";
}

function tipLines(p) {
  const task = data.tasks[state.task];
  const group = groupOf(task);
  const base = cellOf(columnOf(group?.columns, "auc_base"), p.row);
  const f = figure(p.utility);
  const lines = [`${drawn.column.metric} ${number(f.value)} ${interval(f.lo, f.hi)}`];
  if (p.leakage && p.leakage.value !== null) {
    lines.push(`AUC ${number(p.leakage.value)} ${interval(p.leakage.lo, p.leakage.hi)}`);
    if (base && base.value !== null) lines.push(`AUC base ${number(base.value)} ${interval(base.lo, base.hi)}`);
    const added = figure(p.leakage, true);
    if (added.value !== null) lines.push(`AUC − ${words(p.leakage.baseline)} ${number(added.value, true)} ${interval(added.lo, added.hi, true)}`);
    const verdict = group.columns.find((column) => column.kind === "verdict");
    if (verdict && entryOf(verdict, p.row).text !== null) lines.push(`verdict: ${words(entryOf(verdict, p.row).text)}`);
  } else lines.push(`AUC n/a: ${p.leakage ? words(p.leakage.reason) ?? "" : "not reported"}`);
  if (p.dominated) lines.push(`dominated: another is as useful and as near to ${nought(drawn)}, and better in one`);
  if (task.params[p.row].length) lines.push(task.params[p.row].map(words).join(", "));
  return [...lines, recordsLine(p)];
}

function recordsLine(p) {
  const sets = [p.utility, p.leakage].filter((c) => c && c.records !== null).flatMap((c) => data.sets[c.records]);
  const ids = [...new Set(sets)].map((place) => data.records[place].id);
  return ids.length ? `record: ${ids.slice(0, 3).join(", ")}${ids.length > 3 ? ` and ${ids.length - 3} more` : ""}` : "";
}

const markOf = (row) => {
  const merged = drawn.merged.findIndex((p) => p.row === row);
  if (merged >= 0) return { seriesIndex: 0, dataIndex: merged };
  const alone = drawn.alone.findIndex((p) => p.row === row);
  return alone >= 0 ? { seriesIndex: 1, dataIndex: alone } : null;
};

/** Show which mark a table's row is. */
function lightUp(row, on) {
  const mark = markOf(row);
  if (chart && mark) chart.dispatchAction({ type: on ? "highlight" : "downplay", ...mark });
}

/** Arrow keys on the chart: from mark to mark, in the order of their leakage. */
function walkChart(event) {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  const { order } = drawn;
  if (event.key === "Escape") return leaveMark();
  if (!(step && order.length) && !(event.key === "Enter" && state.mark !== null)) return undefined;
  event.preventDefault(); // else the same Enter would press the dialog's first button
  if (!step) return openDetail(state.task, state.mark, null);
  const here = order.findIndex((p) => p.row === state.mark);
  const next = order[here < 0 ? (step > 0 ? 0 : order.length - 1) : (here + step + order.length) % order.length];
  leaveMark();
  state.mark = next.row;
  lightUp(next.row, true);
  chart.dispatchAction({ type: "showTip", ...markOf(next.row) });
  byId("chart-said").textContent = [next.label, ...tipLines(next)].join("; ");
  return undefined;
}

function leaveMark() {
  if (state.mark !== null) lightUp(state.mark, false);
  state.mark = null;
  chart?.dispatchAction({ type: "hideTip" });
}

function drawLegend(task) {
  const present = [...new Set(task.methods.map((method) => data.series_of[method]))];
  const items = present.map((place) => {
    const on = !state.hidden.has(place);
    const button = el("button", { type: "button", "aria-pressed": String(on), "data-series": place }, marker(data.series[place]), data.series[place].name);
    button.addEventListener("click", () => {
      state.hidden[on ? "add" : "delete"](place);
      drawChart();
      byId("legend").querySelector(`[data-series="${place}"]`).focus();
    });
    return el("li", {}, button);
  });
  byId("legend").replaceChildren(...items);
}
