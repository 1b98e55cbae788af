// Draws the charts of the page, keeps the address in step with the controls, and fills tables that are open.
"use strict";
(() => {
  const darkOf = new Map(Object.entries(JSON.parse(document.getElementById("dark-of").textContent)));
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const coarse = matchMedia("(pointer: coarse)").matches;

  let shown = null; // the view that the page shows
  let last = null; // the control that moved last
  const known = new Map(); // every chart as it was drawn last, by name

  /** The same value with every colour for a dark background; numbers are left as they are. */
  const darkened = (value) => {
    if (typeof value === "string") return darkOf.get(value) ?? value;
    if (Array.isArray(value)) {
      return typeof value[0] === "number" ? value : value.map(darkened);
    }
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, darkened(part)]));
  };

  const NARROW = 560; // width of a chart [px] below which it has smaller texts and fewer of them

  /** A chart for a phone's width: the names of its roofs would hide one another, and stand in the table below. */
  const narrowed = (figure) => {
    const { layout } = figure;
    const annotations = layout.annotations?.filter((one) => one.xref.endsWith("domain")) ?? [];
    const margin = { ...layout.margin, l: Math.min(layout.margin.l, 50), t: Math.min(layout.margin.t, 28) };
    if (annotations.length === 1) annotations.pop(); // the page names the device itself
    const slim = { ...layout, annotations, margin, font: { ...layout.font, size: 11 } };
    if (layout.margin.t > margin.t) slim.showlegend = false; // it stood above the chart
    return { data: figure.data, layout: slim };
  };

  /** A layout whose logarithmic axes of many decades have a label a decade: more would touch, and take long to draw. */
  const calmed = ({ data, layout }) => {
    const found = { ...layout };
    for (const [key, axis] of Object.entries(layout)) {
      if (axis?.dtick !== "D2") continue;
      const own = data.filter((trace) => (trace.yaxis ?? "y").replace("y", "yaxis") === key);
      const values = own.flatMap((trace) => trace.y).filter((value) => value > 0);
      if (Math.max(...values) > 100 * Math.min(...values)) found[key] = { ...axis, dtick: 1 };
    }
    return found;
  };

  const options = {
    responsive: true,
    displaylogo: false,
    displayModeBar: coarse ? false : "hover",
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  };

  const boxOf = (name) => document.getElementById(`chart-${name}`);
  const visible = (name) => {
    const place = boxOf(name).getBoundingClientRect();
    return place.top < innerHeight && place.bottom > 0;
  };

  const draw = async (name, chart) => {
    const box = boxOf(name);
    const note = document.getElementById(`note-${name}`);
    note.textContent = chart.notes.join(" ");
    document.getElementById(`subtitle-${name}`).textContent = chart.subtitle.replaceAll("\n", " · ");
    box.hidden = chart.figure === null;
    document.getElementById(`numbers-${name}`).hidden = chart.figure === null;
    if (chart.height) box.style.height = `${chart.height}px`;
    if (chart.figure === null) return;
    const fitted = box.clientWidth < NARROW && innerWidth < 600 ? narrowed(chart.figure) : chart.figure;
    const figure = prefersDark.matches ? darkened(fitted) : fitted;
    const layout = { ...calmed(figure), autosize: true };
    if (coarse) layout.dragmode = false; // so that a finger scrolls the page
    const heading = document.getElementById(`heading-${name}`).textContent;
    box.setAttribute("aria-label", `${heading}: ${chart.subtitle.replaceAll("\n", ", ")}. The numbers stand below.`);
    await Plotly.react(box, figure.data, layout, options);
  };

  /** Time for the browser to show what is ready; a page out of sight gets no frames, and does not wait for one. */
  const pause = () =>
    new Promise((resolve) => (document.hidden ? setTimeout(resolve) : requestAnimationFrame(() => setTimeout(resolve))));
  const waiting = new Map(); // charts that are to be drawn, by name; a newer one takes the place of an older
  let drawing = false;

  /** Draw the charts that wait, those in sight first, with time between them for the browser to show what is ready. */
  const drawWaiting = async () => {
    if (drawing || !window.Plotly) return;
    drawing = true; // at once: what else the page asks for is worked out while it draws the charts out of sight
    while (waiting.size) {
      const name = [...waiting.keys()].find(visible) ?? waiting.keys().next().value;
      const chart = waiting.get(name);
      waiting.delete(name);
      try {
        await draw(name, chart);
        boxOf(name).dataset.query = chart.query; // what it is of, for whoever looks on
      } finally {
        await pause();
      }
    }
    drawing = false;
  };

  /** Charts by name, each the text of a JSON object, of the state that the query tells. */
  const drawAll = (charts, query) => {
    for (const [name, text] of Object.entries(charts)) {
      const chart = { query, ...JSON.parse(text) };
      known.set(name, chart);
      waiting.set(name, chart);
    }
    drawWaiting();
  };

  const drawAgain = () => {
    for (const [name, chart] of known) waiting.set(name, chart);
    drawWaiting();
  };

  /** Menus are reached by Tab and called by their labels; Dash leaves both out. */
  const named = () => {
    for (const menu of document.querySelectorAll("button.dash-dropdown")) {
      menu.tabIndex = 0;
      menu.setAttribute("aria-labelledby", `${menu.id}-label ${menu.id}-value`);
    }
  };

  /** One entry of the history for each control that is moved, however often it moves. */
  const address = (view) => {
    const query = `?${view.query}`;
    if (query === location.search) return;
    const keep = last === null || !view.moved || view.moved === last;
    history[keep ? "replaceState" : "pushState"](null, "", query);
  };

  const openTables = () =>
    [...document.querySelectorAll("details.data[open]")].map((one) => one.id.replace("numbers-", ""));

  const tables = () => {
    const open = openTables();
    if (open.length && shown) dash_clientside.set_props("open-tables", { data: { query: shown.query, open } });
  };

  document.addEventListener("toggle", (event) => event.target.matches?.("details.data") && tables(), true);
  addEventListener("popstate", () => (last = null));
  prefersDark.addEventListener("change", drawAgain);

  addEventListener("load", drawWaiting); // the library that draws may come after the first charts

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    explorer: {
      show(view) {
        if (!view) return dash_clientside.no_update;
        shown = view;
        named();
        address(view);
        last = view.moved;
        drawAll(view.charts, view.query);
        tables();
        return view.query;
      },
      follow(rest) {
        if (!rest) return dash_clientside.no_update;
        drawAll(rest.charts, rest.query);
        return rest.query;
      },
      async copy(_command, _link, command) {
        const what = dash_clientside.callback_context.triggered_id;
        const text = what === "copy-link" ? location.href : command;
        try {
          await navigator.clipboard.writeText(text);
          return what === "copy-link" ? "Link copied." : "Command copied.";
        } catch {
          const range = document.createRange();
          range.selectNodeContents(document.getElementById("command"));
          getSelection().removeAllRanges();
          getSelection().addRange(range);
          return "The browser does not let a page copy; the command is selected.";
        }
      },
    },
  });
})();
