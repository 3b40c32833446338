// What the frontier shows: a point a method, which of them no other beats, and the axes they need.

/** What the horizontal axis shows: the chosen figure, or the AUC where the task has no difference to the base. */
const leakageOf = (task) => (columnOf(groupOf(task)?.columns, "auc", true) ? state.leakage : "auc");

/** Points of the current choice that pass the filter and the legend, in the order of the methods. */
function pointsOf(task) {
  const column = columnOf(task.utility, state.metric) ?? task.utility[0];
  const group = groupOf(task);
  const auc = columnOf(group?.columns, "auc");
  const compared = leakageOf(task) === "difference";
  const query = state.query.trim().toLowerCase();
  const points = task.methods.map((method, row) => {
    const [utility, leakage] = [cellOf(column, row), cellOf(auc, row)];
    const x = figure(leakage, compared);
    const series = data.series_of[method];
    return { row, label: data.methods[method], series, alpha: task.alpha[row], x, y: figure(utility), utility, leakage };
  });
  const drawn = points.filter((p) => p.y.value !== null && matches(task, p.row, query) && !state.hidden.has(p.series));
  const merged = drawn.filter((p) => p.x.value !== null);
  const chance = compared ? 0 : 0.5;
  for (const p of merged) p.dominated = merged.some((q) => beats(q, p, column.better, chance));
  const alone = drawn.filter((p) => p.x.value === null);
  return { column, merged, alone, chance, compared, unmeasured: points.filter((p) => p.y.value === null) };
}

/** Whether q is at least as useful and as near to chance as p, and better in one. Leakage is distance from chance. */
function beats(q, p, better, chance) {
  const gain = (better < 0 ? -1 : 1) * (q.y.value - p.y.value);
  const spared = Math.abs(p.x.value - chance) - Math.abs(q.x.value - chance);
  const [useful, safe] = [Math.round(gain * 1e6), Math.round(spared * 1e6)];
  return useful >= 0 && safe >= 0 && useful + safe > 0;
}

/** Points of one series at two or more alphas, in their order: they are joined. */
function sweepsOf(points) {
  const found = [];
  for (const series of new Set(points.map((p) => p.series))) {
    const sweep = points.filter((p) => p.series === series && p.alpha !== null).sort((a, b) => a.alpha - b.alpha);
    if (new Set(sweep.map((p) => p.alpha)).size > 1) found.push(sweep);
  }
  return found;
}

/** An axis that holds all values, with ticks at round numbers, and nothing beyond what can be. */
function axisOver(values, least, most) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const span = high - low || 0.1;
  const rough = span / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const interval = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough * 0.999);
  const digits = Math.max(0, -Math.floor(Math.log10(interval) + 1e-9));
  const round = (x) => Number(x.toFixed(digits + 2));
  const pad = 0.04 * span;
  const min = Math.max(least, round(Math.floor((low - pad) / interval) * interval));
  const max = Math.min(most, round(Math.ceil((high + pad) / interval) * interval));
  return { min, max, interval, digits };
}

const spanOf = (f) => [f.value, f.lo ?? f.value, f.hi ?? f.value];
