// What is chosen, and the controls that choose it. The address keeps the choice, so that a view can be passed on.
const state = {
  task: 0, game: null, attack: null, metric: null, leakage: "difference", query: "", bars: true, risk: "any",
  sort: { key: null, direction: 1 }, hidden: new Set(), at: null, mark: null,
};

function drawTables() {
  const rows = drawTable(state.task);
  const all = data.tasks[state.task].methods.length;
  byId("count").textContent = `${rows === all ? all : `${rows} of ${all}`} methods`;
  byId("best").textContent = bestSaid(data.tasks[state.task]);
  byId("best").hidden = state.risk === "any";
  keep();
}

/** The best by the chosen metric of those that qualify. */
function bestSaid(task) {
  const column = columnOf(task.utility, state.metric) ?? task.utility[0];
  if (!column) return "";
  const known = task.methods.map((method, row) => ({ method, row, value: cellOf(column, row)?.value ?? null })).filter(({ value }) => value !== null);
  const own = known.filter(({ row }) => acceptable(task.risk[row]));
  if (!own.length) return `No method qualifies at this risk, of ${known.length}.`;
  const sign = column.better < 0 ? -1 : 1;
  const best = own.reduce((a, b) => (sign * (b.value - a.value) > 0 ? b : a));
  const { best: first, worst } = cellOf(column, best.row);
  const places = first === null ? "" : `, place ${first === worst ? first : `${first} to ${worst}`} of all`;
  return `Best at this risk: ${data.methods[best.method]} (${column.metric} ${number(best.value)}${places}); ${own.length} of ${known.length} methods qualify.`;
}

function draw() {
  drawTables();
  drawChart();
}

// -- tasks as tabs: one stop of the Tab key, arrow keys between them ------------------------------------------

function makeTabs() {
  const tabs = data.tasks.map((task, place) => {
    const tab = el("button", { type: "button", role: "tab", id: `tab-${place}`, "aria-controls": `task-${place}` }, task.name);
    tab.addEventListener("click", () => showTask(place));
    tab.addEventListener("keydown", (event) => {
      const last = data.tasks.length - 1;
      const to = { ArrowRight: place === last ? 0 : place + 1, ArrowLeft: place === 0 ? last : place - 1, Home: 0, End: last };
      if (!(event.key in to)) return;
      event.preventDefault();
      showTask(to[event.key]);
      byId(`tab-${to[event.key]}`).focus();
    });
    byId(`task-${place}`).setAttribute("role", "tabpanel");
    byId(`task-${place}`).setAttribute("aria-labelledby", `tab-${place}`);
    return tab;
  });
  byId("tabs").replaceChildren(...tabs);
  byId("tabs").hidden = data.tasks.length < 2;
}

function showTask(place) {
  state.task = place;
  data.tasks.forEach((_, other) => {
    const tab = byId(`tab-${other}`);
    tab.setAttribute("aria-selected", String(other === place));
    tab.tabIndex = other === place ? 0 : -1;
    byId(`task-${other}`).hidden = other !== place;
  });
  state.mark = null;
  settle();
  draw();
}

// -- choices that a task may not have ---------------------------------------------------------------------

/** Show what is chosen where the task has it, else its first; fill the selects. A game is kept only where one chose it. */
function settle() {
  const task = data.tasks[state.task];
  const group = groupOf(task);
  const [game, attack] = [group?.game ?? null, group?.attack ?? null];
  const metrics = [...new Set(task.utility.map((c) => c.metric))];
  if (!metrics.includes(state.metric)) state.metric = metrics[0] ?? null;
  const added = columnOf(group?.columns, "auc", true);
  fill("game", unique(task.groups.map((g) => g.game)), game);
  fill("attack", unique(task.groups.filter((g) => g.game === game).map((g) => g.attack)), attack);
  fill("metric", metrics, state.metric);
  fill("leakage", added ? [["auc", "AUC"], ["difference", added.title]] : [["auc", "AUC"]], leakageOf(task));
  for (const id of ["game", "attack"]) byId(id).parentElement.hidden = !task.groups.some((g) => g.game !== null);
  byId("says").textContent = words(group?.says ?? null) ?? "";
  byId("says").hidden = !group || group.says === null;
  fill("risk", data.risks, state.risk);
  byId("risk").parentElement.hidden = !task.worst;
  byId("bars").checked = state.bars;
  byId("filter").value = state.query;
}

const unique = (names) => [...new Set(names)].filter((name) => name !== null);

function fill(id, options, chosen) {
  const pairs = options.map((option) => (Array.isArray(option) ? option : [option, option]));
  byId(id).replaceChildren(...pairs.map(([value, said]) => el("option", { value, selected: value === chosen }, said)));
  byId(id).disabled = pairs.length < 2;
}

function listen() {
  const on = (id, event, set) => byId(id).addEventListener(event, ({ target }) => { set(target); settle(); draw(); });
  on("game", "change", (target) => (state.game = target.value));
  on("attack", "change", (target) => (state.attack = target.value));
  on("metric", "change", (target) => (state.metric = target.value));
  on("leakage", "change", (target) => (state.leakage = target.value));
  on("risk", "change", (target) => (state.risk = target.value));
  on("bars", "change", (target) => (state.bars = target.checked));
  byId("filter").addEventListener("input", ({ target }) => { state.query = target.value; draw(); });
  for (const form of ["tools", "axes"]) byId(form).addEventListener("submit", (event) => event.preventDefault());
  const detail = byId("detail");
  byId("detail-close").addEventListener("click", () => detail.close());
  detail.addEventListener("click", (event) => { if (event.target === detail) detail.close(); });
}

// -- the address ----------------------------------------------------------------------------------------------

function keep() {
  const kept = new URLSearchParams({ task: data.tasks[state.task].name });
  const { game, attack, metric, leakage } = state;
  for (const [name, value] of Object.entries({ game, attack, metric, leakage })) if (value) kept.set(name, value);
  if (state.risk !== "any") kept.set("risk", state.risk);
  if (state.query) kept.set("q", state.query);
  if (state.sort.key) kept.set("sort", `${state.sort.direction > 0 ? "" : "-"}${state.sort.key}`);
  try {
    history.replaceState(null, "", `#${kept}`);
  } catch { /* some viewers of local files forbid it: the page works without */ }
}

function recall() {
  const kept = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
  const task = data.tasks.findIndex((t) => t.name === kept.get("task"));
  for (const name of ["game", "attack", "metric", "leakage"]) state[name] = kept.get(name) ?? state[name];
  if (state.leakage !== "auc") state.leakage = "difference";
  state.query = kept.get("q") ?? "";
  if (data.risks.some(([key]) => key === kept.get("risk"))) state.risk = kept.get("risk");
  const sort = kept.get("sort") ?? "";
  state.sort = { key: sort.replace(/^-/, "") || null, direction: sort.startsWith("-") ? -1 : 1 };
  return task < 0 ? data.opens_on : task;
}

// -- theme, copying, printing ------------------------------------------------------------------------------

const THEMES = ["auto", "light", "dark"];

function setTheme(theme) {
  const root = document.documentElement;
  if (theme === "auto") delete root.dataset.theme;
  else root.dataset.theme = theme;
  byId("theme").textContent = `Theme: ${theme}`;
}

function startTheme() {
  let theme = "auto";
  try { theme = localStorage.getItem("prime-audit-theme") ?? "auto"; } catch { /* no storage: the system's */ }
  setTheme(THEMES.includes(theme) ? theme : "auto");
  byId("theme").addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme ?? "auto") + 1) % THEMES.length];
    setTheme(next);
    try { localStorage.setItem("prime-audit-theme", next); } catch { /* as above */ }
    drawChart(false);
  });
  byId("theme").hidden = false;
}

function startCopy() {
  const button = byId("copy");
  if (!button) return;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const code = byId("command");
    getSelection().selectAllChildren(code);
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Selected: press Ctrl+C";
    }
  });
}

/** On paper: every task's table, the chart in black on white, and what was folded away unfolded. */
function startPrint() {
  const PAPER = 660;
  let before = null;
  addEventListener("beforeprint", () => {
    before = { theme: document.documentElement.dataset.theme ?? "auto", folded: [...document.querySelectorAll("details:not([open])")] };
    setTheme("light");
    before.folded.forEach((part) => (part.open = true));
    data.tasks.forEach((_, place) => drawTable(place));
    chart?.resize({ width: PAPER });
    drawChart(false);
  });
  addEventListener("afterprint", () => {
    setTheme(before.theme);
    before.folded.forEach((part) => (part.open = false));
    chart?.resize({ width: "auto" });
    drawChart(false);
  });
}

function start() {
  startTheme();
  startCopy();
  if (!data.tasks.length) return;
  for (const id of ["tools", "frontier", "count"]) byId(id).hidden = false;
  const task = recall();
  makeTabs();
  listen();
  showTask(task);
  startChart();
  startPrint();
}

start();
document.documentElement.dataset.started = "";
