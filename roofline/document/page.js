// Draws the charts of the page, keeps their colours those of the background, and makes commands easy to copy.
"use strict";
(() => {
  const NARROW = 600; // width of a chart [px] below which its legend stands under it
  const PAPER = 680; // width of a chart on paper [px]: A4 and Letter without their margins
  const SHEET = 780; // most height of a chart on paper [px], with its title on the same sheet
  const TITLE = 40; // height of a title in a figure's top margin, and of each line below it [px]: the page shows both
  const SUBTITLE = 16; // above the chart instead

  const parsed = (element) => (element ? JSON.parse(element.textContent) : {});
  const theme = document.documentElement.dataset.theme;
  const darkOf = new Map(Object.entries(parsed(document.getElementById("dark-of"))));
  const lightOf = new Map([...darkOf].map(([light, dark]) => [dark, light]));
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const onPaper = matchMedia("print");
  const coarse = matchMedia("(pointer: coarse)").matches;
  let printing = false;

  const isDark = () => !printing && (theme === "dark" || (theme === "auto" && prefersDark.matches));

  /** The same value with every colour exchanged. */
  const exchanged = (value, colours) => {
    if (typeof value === "string") return colours.get(value) ?? value;
    if (Array.isArray(value)) return value.map((part) => exchanged(part, colours));
    if (value === null || typeof value !== "object" || ArrayBuffer.isView(value)) return value;
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, exchanged(part, colours)]));
  };

  /** How much of a figure's top margin its title takes [px]. */
  const titleHeight = ({ title }) => {
    const below = title?.subtitle?.text;
    return title ? TITLE + SUBTITLE * (below ? below.split(/<br\s*\/?>/).length : 0) : 0;
  };

  const legendsOf = (layout) => Object.keys(layout).filter((key) => /^legend\d*$/.test(key));

  /** Height of a chart [px]: a figure's meta may ask for more on a narrow page, where panels stand below each other. */
  const heightOf = ({ figure, height }, narrow) => (narrow && figure.layout.meta?.narrow?.height) || height;

  /**
   * The parts of the layout that depend on how wide the chart is. legends: their heights [px], once they are known;
   * now: the present layout, whose sliders keep their places; anew: whether the chart was of the other kind before.
   */
  const fitted = (chart, narrow, legends, now, anew) => {
    const { layout } = chart.figure;
    const margin = { l: 70, r: 24, t: 84, b: 60, ...layout.margin };
    margin.t = Math.max(28, margin.t - titleHeight(layout));
    const parts = { margin, font: { ...layout.font } };
    for (const key of legendsOf(layout)) parts[key] = { ...layout[key] };
    for (const [key, change] of anew ? Object.entries(layout.meta?.narrow ?? {}) : []) {
      if (Array.isArray(change)) {
        parts[key] = narrow ? change : (layout[key] ?? []);
        if (key === "sliders")
          parts[key] = parts[key].map((own, place) => {
            const active = now[key]?.[place]?.active ?? own.active ?? 0;
            return { ...own, active, visible: !printing }; // nobody moves them on paper
          });
      } else if (typeof change === "object") parts[key] = { ...layout[key], ...(narrow ? change : {}) };
    }
    if (!narrow) return parts;
    Object.assign(margin, { l: Math.min(margin.l, 44), r: Math.min(margin.r, 12) });
    parts.font.size = 11;
    const above = Boolean(layout.sliders?.length || layout.updatemenus?.length); // these stand below
    const total = legends.reduce((sum, height) => sum + height, 0);
    let taken = 0;
    legendsOf(layout).forEach((key, place) => {
      const share = total ? taken / (heightOf(chart, narrow) + total) : 0;
      taken += legends[place] ?? 0;
      const y = above ? 1 - share : share;
      Object.assign(parts[key], { orientation: "h", xref: "paper", x: 0, xanchor: "left" });
      Object.assign(parts[key], { yref: "container", y, yanchor: above ? "top" : "bottom" });
    });
    return parts;
  };

  const options = (chart) => ({
    responsive: true,
    displaylogo: false,
    displayModeBar: coarse ? false : "hover",
    modeBarButtonsToRemove: ["toImage", "select2d", "lasso2d", "autoScale2d"],
    modeBarButtonsToAdd: [
      {
        name: "Save as PNG",
        icon: Plotly.Icons.camera,
        click: (box) =>
          Plotly.downloadImage(
            {
              data: box.data,
              layout: {
                ...box.layout,
                ...exchanged({ title: chart.figure.layout.title ?? "" }, isDark() ? darkOf : new Map()),
                margin: { ...box.layout.margin, t: box.layout.margin.t + titleHeight(chart.figure.layout) },
              },
            },
            { format: "png", scale: 2, width: box.clientWidth, height: box.clientHeight, filename: box.id },
          ),
      },
    ],
  });

  /** Draw a chart for the present width and background; what the reader chose in it stays. */
  const draw = (chart) => {
    const { box } = chart;
    const width = printing ? PAPER : box.clientWidth;
    const narrow = printing || width < NARROW;
    const dark = isDark();
    const now = chart.drawn ? { data: box.data, layout: box.layout } : chart.figure;
    const anew = !chart.drawn || narrow !== chart.narrow || printing !== chart.printed;
    const change = dark === chart.dark ? new Map() : dark ? darkOf : lightOf;
    const layout = (legends) => {
      const { title, width: _, height: __, ...rest } = now.layout;
      const fit = exchanged(fitted(chart, narrow, legends, rest, anew), dark ? darkOf : new Map());
      const whole = { ...exchanged(rest, change), ...fit, ...(printing ? { width: PAPER } : {}), autosize: true };
      return coarse ? { ...whole, dragmode: false } : whole; // so that a finger scrolls the page
    };
    const data = exchanged(now.data, change);
    const frames = exchanged(chart.figure.frames ?? [], dark ? darkOf : new Map());
    const show = (legends) =>
      chart.drawn
        ? Plotly.react(box, data, layout(legends)) // with options that hold a function it would go round for ever
        : Plotly.newPlot(box, { data, layout: layout(legends), frames, config: options(chart) });
    box.style.height = `${heightOf(chart, narrow)}px`;
    show([]);
    if (chart.drawn && frames.length && dark !== chart.dark) Plotly.addFrames(box, frames);
    const first = !chart.drawn;
    Object.assign(chart, { drawn: true, dark, narrow, printed: printing });
    if (!narrow) return;
    // A legend below gets a place of its own instead of the plot's.
    const legends = legendsOf(chart.figure.layout).map((key) => box.querySelector(`.${key}`)?.getBBox().height ?? 0);
    const more = legends.reduce((sum, height) => sum + height, 0);
    if (!more) return;
    const whole = heightOf(chart, narrow) + more;
    box.style.height = `${printing ? Math.min(whole, SHEET) : whole}px`;
    Plotly.react(box, first ? box.data : data, layout(legends));
  };

  const charts = [...document.querySelectorAll("script.figure")].map((element) => {
    const box = document.getElementById(element.dataset.of);
    const figure = parsed(element);
    figure.layout ??= {};
    figure.layout.legend ??= {};
    return { box, figure, height: box.clientHeight, drawn: false, dark: false, narrow: false };
  });

  const drawAll = (which = () => true) => {
    for (const chart of charts.filter(which)) {
      try {
        draw(chart);
      } catch (error) {
        console.error(error);
        chart.box.style.height = "auto";
        chart.box.textContent = "This chart could not be drawn here; its numbers are below.";
        chart.box.parentElement.querySelector("details").open = true;
      }
    }
  };
  // A chart in a closed part has no size yet: it is drawn when the part opens.
  const seen = ({ box }) => !box.closest("details:not([open])");
  drawAll(seen);
  document.addEventListener("toggle", () => drawAll((chart) => !chart.drawn && seen(chart)), true);
  prefersDark.addEventListener("change", () => drawAll(({ drawn }) => drawn));
  addEventListener("resize", () => {
    if (!printing) drawAll(({ box, drawn, narrow }) => drawn && box.clientWidth < NARROW !== narrow);
  });

  // On paper: light, as wide as the paper, and nothing folded but the numbers under the charts.
  let opened = [];
  const paper = (wanted) => {
    if (wanted === printing) return;
    printing = wanted;
    if (wanted) {
      opened = [...document.querySelectorAll("details.section:not([open])")];
      for (const part of opened) part.open = true;
    }
    drawAll((chart) => chart.drawn || seen(chart));
    if (!wanted) for (const part of opened.splice(0)) part.open = false;
  };
  paper(onPaper.matches);
  addEventListener("beforeprint", () => paper(true));
  addEventListener("afterprint", () => paper(false));
  onPaper.addEventListener("change", ({ matches }) => paper(matches));

  // A link into a closed part opens it.
  const reveal = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target instanceof HTMLDetailsElement) target.open = true;
  };
  addEventListener("hashchange", reveal);
  reveal();

  for (const command of document.querySelectorAll(".command")) {
    const code = command.querySelector("code");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.setAttribute("aria-live", "polite");
    button.addEventListener("click", async () => {
      let done = false;
      try {
        await navigator.clipboard.writeText(code.textContent);
        done = true;
      } catch {
        getSelection().selectAllChildren(code);
        done = document.execCommand("copy");
      }
      button.textContent = done ? "Copied" : "Selected: press Ctrl+C";
      setTimeout(() => (button.textContent = "Copy"), 2000);
    });
    command.append(button);
  }
})();
