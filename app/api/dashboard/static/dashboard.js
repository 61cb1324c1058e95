// Charts, copying, panels that load themselves again, signing in and out. Text from the server is only ever set as text.
"use strict";
(() => {
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const plots = new Set();

  // A chart is drawn from the table beside it, so both say the same.
  function numbers(figure) {
    const rows = [...figure.querySelectorAll("tbody tr")];
    const width = rows.length ? rows[0].querySelectorAll("td").length : 0;
    const columns = [rows.map((row) => Number(row.dataset.at))];
    for (let column = 0; column < width; column += 1) {
      columns.push(rows.map((row) => {
        const text = row.querySelectorAll("td")[column].dataset.value;
        return text === "" ? null : Number(text);
      }));
    }
    return columns;
  }

  function draw(figure) {
    const place = figure.querySelector(".plot");
    place.replaceChildren();
    const names = [...figure.querySelectorAll("thead th")].slice(1).map((cell) => cell.textContent);
    const axis = { stroke: colour("--faint"), grid: { stroke: colour("--line"), width: 1 } };
    const say = (value) => (figure.dataset.kind === "usd" ? "$" + value : value.toLocaleString("en"));
    const plot = new uPlot({
      width: Math.max(place.clientWidth, 200),
      height: 200,
      legend: { show: names.length > 1, live: false },
      cursor: { show: false },
      scales: { y: { range: (_plot, _least, most) => [0, most > 0 ? most * 1.1 : 1] } },
      axes: [axis, { ...axis, size: 70, values: (_plot, ticks) => ticks.map(say) }],
      series: [{}, ...names.map((label, at) => ({
        label, stroke: colour(at ? "--second" : "--first"), width: 2, points: { size: 4 },
      }))],
    }, numbers(figure), place);
    plots.add({ figure, plot, place });
  }

  function drawAll() {
    for (const figure of document.querySelectorAll("figure.chart")) {
      if (!figure.dataset.drawn) { figure.dataset.drawn = "yes"; draw(figure); }
    }
  }

  function redrawAll() {
    for (const { figure, plot } of plots) {
      plot.destroy();
      delete figure.dataset.drawn;
    }
    plots.clear();
    drawAll();
  }

  const csrf = () => document.querySelector('meta[name="csrf-token"]')?.content;

  function tell(message) {
    const said = document.createElement("p");
    said.className = "refusal";
    said.textContent = message;
    document.getElementById("notice").replaceChildren(said);
  }

  async function session(method, body) {
    const headers = { "content-type": "application/json" };
    if (csrf()) headers["x-csrf-token"] = csrf();
    return fetch("/admin/v1/session", { method, headers, body: body && JSON.stringify(body) });
  }

  async function signIn(form) {
    const answer = await session("POST", { key: new FormData(form).get("key").trim() });
    if (answer.ok) { location.assign(form.dataset.next); return; }
    const problem = await answer.json().catch(() => ({}));
    tell(problem.detail || "The sign-in failed.");
  }

  document.addEventListener("submit", (event) => {
    if (event.target.id !== "sign-in") return;
    event.preventDefault();
    signIn(event.target).catch(() => tell("The gateway does not answer."));
  });

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.id === "sign-out") {
      await session("DELETE");
      location.assign("/sign-in");
    } else if (button.dataset.copies) {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copies).textContent);
      button.textContent = "Copied";
    }
  });

  // A page that is only left open asks nothing by itself, or its session would never end.
  const PATIENCE_MS = 5 * 60 * 1000;
  let lastUsed = Date.now();
  for (const name of ["pointerdown", "pointermove", "keydown"]) {
    addEventListener(name, () => { lastUsed = Date.now(); }, { passive: true });
  }
  const isLeft = (panel) => panel.dataset.polls && !panel.querySelector(".waiting")
    && (document.hidden || Date.now() - lastUsed > PATIENCE_MS);

  document.addEventListener("htmx:config:request", (event) => {
    if (isLeft(event.detail.ctx.sourceElement)) { event.preventDefault(); return; }
    document.getElementById("notice").replaceChildren();
    if (csrf()) event.detail.ctx.request.headers["X-CSRF-Token"] = csrf();
  });
  document.addEventListener("htmx:after:swap", drawAll);
  document.addEventListener("DOMContentLoaded", drawAll);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawAll);
  let pending = 0;
  addEventListener("resize", () => { clearTimeout(pending); pending = setTimeout(redrawAll, 150); });
})();
