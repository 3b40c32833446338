// The frontier, drawn by ECharts: utility upwards, leakage across, methods without members in a strip at the left.
let chart = null;
let drawn = { merged: [], alone: [], order: [] };
const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** A colour of the stylesheet as the page has it now, light or dark. */
function colour(name) {
  const probe = byId("chart-said");
  probe.style.color = `var(--${name})`;
  const found = getComputedStyle(probe).color;
  probe.style.color = "";
  return found;
}

/** Draw what is chosen; moved marks glide, unless the page itself changed its form. */
function drawChart(moving = true) {
  const task = data.tasks[state.task];
  const box = byId("chart");
  byId("frontier").hidden = !task.utility.length;
  if (!task.utility.length) return undefined;
  chart ??= echarts.init(box, null, { renderer: "svg" });
  const found = pointsOf(task);
  const byPlace = (a, b) => (a.x.value ?? -1) - (b.x.value ?? -1) || a.row - b.row;
  drawn = { ...found, order: [...found.alone, ...found.merged].sort(byPlace) };
  const drawable = found.merged.length + found.alone.length > 0;
  box.hidden = byId("axes").hidden = byId("legend").hidden = byId("chart-help").hidden = !drawable && !filtered();
  if (box.hidden) return describe(task, found);
  const option = optionOf(task, found, box.clientWidth < 520);
  chart.setOption({ ...option, animation: moving && !calm.matches }, { notMerge: true });
  drawLegend(task);
  return describe(task, found);
}

/** Whether the reader has hidden something: then they need the legend to bring it back. */
const filtered = () => state.query.trim() !== "" || state.hidden.size > 0 || state.risk !== "any";

function describe(task, found) {
  const best = found.merged.filter((p) => !p.dominated).map((p) => p.label);
  const notes = [];
  if (best.length) notes.push(`In this game and attack no other mark is as useful and as near to ${nought(found)}: ${best.join(", ")}. The rest is dimmed.`);
  else if (!task.groups.length) notes.push("No leakage was reported on this task.");
  else if (found.alone.length) notes.push("No method shown has a leakage figure in this game.");
  else if (!filtered()) notes.push("There is nothing to draw yet.");
  if (best.length && found.alone.length) notes.push(`Without a leakage figure (left strip): ${found.alone.map((p) => p.label).join(", ")}.`);
  if (found.unmeasured.length) notes.push(`Not drawn, no ${found.column.metric}: ${found.unmeasured.map((p) => p.label).join(", ")}.`);
  byId("chart-note").textContent = notes.join(" ");
  byId("chart").setAttribute("aria-label", `${task.name}: ${found.column.metric} against ${leakName(found)}. ${notes.join(" ")}`);
}

const nought = (found) => (found.compared ? "0" : "chance");
const leakName = (found) => (found.compared ? columnOf(groupOf(data.tasks[state.task]).columns, "auc", true).title : "AUC");

function optionOf(task, found, narrow) {
  const ink = { text: colour("ink"), soft: colour("soft"), line: colour("line"), page: colour("card"), strip: colour("strip") };
  // Shares end at 0 and 1, errors at 0, AUCs at 0 and 1, their differences at −1 and 1. Other metrics have no known end.
  const values = [...found.merged, ...found.alone].map((p) => p.y.value);
  const most = found.column.better >= 0 && values.every((v) => v <= 1) ? 1 : Infinity;
  const y = axisOver(drawnValues(found.merged, found.alone, "y", []), values.every((v) => v >= 0) ? 0 : -Infinity, most);
  const around = found.compared ? [-0.05, 0.05] : [0.45, 0.55];
  const x = axisOver(drawnValues(found.merged, [], "x", around), found.compared ? -1 : 0, 1);
  const left = narrow ? 44 : 56;
  const strip = stripWidth(found, narrow, box().clientWidth - left - 16);
  const grids = [
    { left, width: strip, top: 34, bottom: 54, show: strip > 0, backgroundColor: ink.strip, borderWidth: 0 },
    { left: left + strip + (strip ? 12 : 0), right: 16, top: 34, bottom: 54 },
  ];
  const show = found.merged.length > 0 || !strip;
  return {
    animationDuration: 250,
    animationDurationUpdate: 250,
    textStyle: { fontFamily: getComputedStyle(document.body).fontFamily, color: ink.text },
    grid: grids,
    xAxis: [
      stripAxis(found, ink, strip),
      { ...valueAxis(x, ink, 1), show, name: xName(found, narrow), nameLocation: "middle", nameGap: 30, splitLine: { show: false } },
    ],
    yAxis: [
      { ...valueAxis(y, ink, 0), name: yName(found, narrow), nameLocation: found.column.better < 0 ? "start" : "end", nameGap: 12,
        nameTextStyle: { align: "left", color: ink.text, padding: [0, 0, 0, 6 - left] }, inverse: found.column.better < 0 },
      { ...valueAxis(y, ink, 1), show, axisLabel: { show: false }, inverse: found.column.better < 0 },
    ],
    tooltip: { trigger: "item", confine: true, formatter: tip, backgroundColor: ink.page, borderColor: ink.line,
      textStyle: { color: ink.text, fontSize: 13 }, extraCssText: "max-width:22rem;white-space:normal" },
    series: [marks(found.merged, 1, ink, narrow), marks(found.alone, 0, ink, narrow), ...bars(found, ink), ...(show ? lines(found, ink) : [])],
  };
}

/** The strip is as wide as its marks need; where no mark has a leakage figure, all is strip. */
function stripWidth(found, narrow, room) {
  if (!found.merged.length && found.alone.length) return room;
  return found.alone.length ? Math.min((narrow ? 16 : 26) * found.alone.length + 24, room * 0.33) : 0;
}

const box = () => byId("chart");
const drawnValues = (merged, alone, axis, values) => {
  const spans = [...merged, ...alone].flatMap((p) => spanOf(p[axis]));
  return spans.length || values.length ? [...values, ...spans] : [0, 1];
};
const WAYS = { 1: ["↑ better", "↑ better"], "-1": ["↑ better (lower values)", "↑ better"], 0: ["", ""] };
const yName = (found, narrow) => `${found.column.metric} ${WAYS[found.column.better][narrow ? 1 : 0]}`;
const xName = (found, narrow) => {
  const chance = found.compared ? "0: merging adds nothing" : narrow ? "½ = chance" : "½ = chance; nearer to it leaks less";
  return `${found.compared ? leakName(found) : "membership AUC"} (${chance})`;
};

function valueAxis(range, ink, gridIndex) {
  const digits = range.digits;
  return {
    type: "value", gridIndex, min: range.min, max: range.max, interval: range.interval,
    axisLine: { show: false }, axisTick: { show: false }, splitLine: { lineStyle: { color: ink.line } },
    axisLabel: { color: ink.soft, formatter: (v) => number(v, false, digits), hideOverlap: true }, nameTextStyle: { color: ink.text },
  };
}

function stripAxis(found, ink, strip) {
  return { type: "value", gridIndex: 0, min: -0.7, max: Math.max(found.alone.length, 1) - 0.3, show: true,
    axisLine: { show: false }, axisTick: { show: false }, axisLabel: { show: false }, splitLine: { show: false },
    name: strip ? "no AUC" : "", nameLocation: "middle", nameGap: 12, nameTextStyle: { color: ink.soft } };
}

function marks(points, axis, ink, narrow) {
  return {
    type: "scatter", xAxisIndex: axis, yAxisIndex: axis, symbolSize: narrow ? 11 : 13, z: 4,
    data: points.map((p, place) => ({ value: [axis ? p.x.value : place, p.y.value], ...lookOf(p, ink), label: labelOf(p, axis, ink) })),
    labelLayout: { hideOverlap: true },
    emphasis: { scale: 1.5, label: { show: false } },
  };
}

const paint = (series, ink) => (series.colour === "#000000" ? ink.text : series.colour);

function lookOf(p, ink) {
  const series = data.series[p.series];
  const itemStyle = { color: paint(series, ink), borderColor: ink.page, borderWidth: 1, opacity: p.dominated ? 0.4 : 1 };
  return { symbol: `path://${MARKERS[series.marker]}`, itemStyle };
}

function labelOf(p, axis, ink) {
  const swept = sweepsOf(drawn.merged).some((sweep) => sweep.includes(p));
  const show = !drawn.merged.length || (axis === 1 && (swept || !p.dominated));
  const said = swept ? `α ${p.alpha}` : p.label;
  return { show, position: "top", distance: 5, minMargin: 8, formatter: () => said, color: ink.text, fontSize: 12, opacity: p.dominated ? 0.6 : 1 };
}

/** Intervals of all points, across and upright. */
function bars(found, ink) {
  if (!state.bars) return [];
  const bar = (points, axis) => ({
    type: "custom", xAxisIndex: axis, yAxisIndex: axis, silent: true, clip: true, z: 2,
    data: points.map((p, place) => [axis ? p.x.value : place, p.y.value]),
    renderItem: (params, api) => {
      const p = points[params.dataIndex];
      if (!p) return null;
      const x = axis ? p.x.value : params.dataIndex;
      const line = ([x1, y1], [x2, y2]) => ({
        type: "line", shape: { x1, y1, x2, y2 },
        style: { stroke: paint(data.series[p.series], ink), lineWidth: 1.2, opacity: p.dominated ? 0.2 : 0.6 },
      });
      const at = (a, b) => api.coord([a, b]);
      const upright = p.y.lo === null ? [] : [line(at(x, p.y.lo), at(x, p.y.hi))];
      const across = axis === 0 || p.x.lo === null ? [] : [line(at(p.x.lo, p.y.value), at(p.x.hi, p.y.value))];
      return { type: "group", children: [...upright, ...across] };
    },
  });
  return [bar(found.merged, 1), bar(found.alone, 0)];
}

/** The sweeps' lines, the line through the marks that no other dominates, and chance. */
function lines(found, ink) {
  const chance = {
    silent: true, symbol: "none", animation: false, lineStyle: { color: ink.soft, type: [5, 4], width: 1.2 },
    label: { formatter: found.compared ? "nothing added" : "chance", color: ink.soft, position: found.column.better < 0 ? "start" : "end", distance: 4 },
    data: [{ xAxis: found.chance }],
  };
  const line = { type: "line", xAxisIndex: 1, yAxisIndex: 1, silent: true, symbol: "none", z: 3 };
  const sweeps = sweepsOf(found.merged).map((sweep) => ({
    ...line, data: sweep.map((p) => [p.x.value, p.y.value]),
    lineStyle: { color: paint(data.series[sweep[0].series], ink), width: 1.5 },
  }));
  const front = found.merged.filter((p) => !p.dominated).sort((a, b) => a.x.value - b.x.value || a.y.value - b.y.value);
  const joined = { ...line, z: 1, data: front.map((p) => [p.x.value, p.y.value]), lineStyle: { color: ink.soft, width: 1 } };
  return [{ ...line, data: [], markLine: chance }, ...sweeps, joined];
}

function startChart() {
  const field = box();
  field.addEventListener("keydown", walkChart);
  field.addEventListener("blur", leaveMark);
  drawChart();
  if (!chart) return;
  chart.on("click", ({ seriesIndex, dataIndex }) => {
    const p = (seriesIndex === 0 ? drawn.merged : drawn.alone)[dataIndex];
    if (p) openDetail(state.task, p.row, null);
  });
  let size = `${field.clientWidth} ${field.clientHeight}`;
  new ResizeObserver(() => {
    if (size === `${field.clientWidth} ${field.clientHeight}`) return;
    size = `${field.clientWidth} ${field.clientHeight}`;
    chart.resize();
    drawChart(false);
  }).observe(field);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawChart(false));
}
