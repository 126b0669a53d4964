// SPDX-License-Identifier: GPL-2.0-only
// Distributions of latencies, all on one logarithmic scale, with their percentiles marked.

const ROW_PX = 30;
const AXIS_PX = 18;

/** `rows`: {cgroup, phase, found}; drawn once per size and shade, not by the window of time. */
const latencies = (view, of) => {
  const perDecade = of.binsPerDecade;
  let low = Infinity, high = -Infinity;
  for (const { found } of of.rows) {
    low = Math.min(low, found.first_bin);
    high = Math.max(high, found.first_bin + found.counts.length);
  }
  low = Math.floor(low / perDecade) * perDecade;
  high = Math.max(Math.ceil(high / perDecade) * perDecade, low + perDecade);
  const x = (ns) => (Math.log10(Math.max(ns, 1)) * perDecade - low) / (high - low) * view.width;
  const binX = (bin) => (bin - low) / (high - low) * view.width;

  const grid = (context, height) => {
    context.strokeStyle = colours.line;
    context.beginPath();
    for (let bin = low; bin <= high; bin += perDecade) {
      context.moveTo(Math.min(binX(bin), view.width - .5) + .5, 0);
      context.lineTo(Math.min(binX(bin), view.width - .5) + .5, height);
    }
    context.stroke();
  };

  const axis = h("canvas", { "aria-hidden": "true" });
  const axisChart = {
    element: h("div", { class: "row" }, h("div", { class: "name" }), h("div", { class: "plot" }, axis), h("div", { class: "readout quiet" }, "p50 · p99 · p99.9")),
    draw() {
      const context = prepare(axis, view, AXIS_PX);
      context.fillStyle = colours.muted;
      context.font = "11px system-ui, sans-serif";
      let free = -1;
      for (let bin = low; bin <= high; bin += perDecade) {
        const text = latency(10 ** (bin / perDecade));
        const wide = context.measureText(text).width;
        const left = Math.min(Math.max(binX(bin) - wide / 2, 0), view.width - wide);
        if (left < free) continue;
        context.fillText(text, left, 12);
        free = left + wide + 6;
      }
      grid(context, 0);
    },
    point() {},
  };

  const element = h("figure", { class: "latency", id: of.id },
    h("figcaption", {}, h("h3", {}, of.title), h("span", { class: "quiet" }, of.words)), axisChart.element);
  const charts = [axisChart];
  let last = null;
  for (const { cgroup, phase, found } of of.rows) {
    const canvas = h("canvas", { role: "img", "aria-label":
      `${of.title}, ${cgroup}, ${phase}: ${figure(found.total)} of them, median ${latency(found.p50)}, ` +
      `99th percentile ${latency(found.p99)}, 99.9th ${latency(found.p999)}, highest ${latency(found.max)}` });
    const row = h("div", { class: "row" + (cgroup === last ? "" : " first"), "data-cgroup": cgroup },
      h("div", { class: "name", title: `${cgroup} ${phase}` }, cgroup === last ? phase : `${cgroup} ${phase}`),
      h("div", { class: "plot" }, canvas),
      h("div", { class: "readout" }, `${latency(found.p50)} · ${latency(found.p99)} · ${latency(found.p999)}`));
    last = cgroup;
    element.append(row);
    const most = Math.max(...found.counts);
    charts.push({
      element: row,
      draw() {
        const context = prepare(canvas, view, ROW_PX);
        grid(context, ROW_PX);
        // The square root: a tail of a few among thousands can still be seen.
        const tall = (count) => (count ? Math.max(Math.sqrt(count / most) * (ROW_PX - 5), 1.5) : 0);
        context.fillStyle = colours["band-b"];
        context.strokeStyle = colours.accent;
        context.beginPath();
        context.moveTo(binX(found.first_bin), ROW_PX - 1);
        found.counts.forEach((count, place) => {
          context.lineTo(binX(found.first_bin + place), ROW_PX - 1 - tall(count));
          context.lineTo(binX(found.first_bin + place + 1), ROW_PX - 1 - tall(count));
        });
        context.lineTo(binX(found.first_bin + found.counts.length), ROW_PX - 1);
        context.closePath();
        context.fill();
        context.stroke();
        context.fillStyle = colours.fg;
        context.font = "10px system-ui, sans-serif";
        let free = -1;
        for (const [ns, dash, text] of [[found.p50, [], "50"], [found.p99, [4, 2], "99"], [found.p999, [1.5, 2], "99.9"]]) {
          context.setLineDash(dash);
          context.strokeStyle = colours.fg;
          context.lineWidth = 1.5;
          context.beginPath();
          context.moveTo(x(ns), 0);
          context.lineTo(x(ns), ROW_PX);
          context.stroke();
          const left = Math.min(x(ns) + 3, view.width - 22);
          if (left >= free) { context.fillText(text, left, 9); free = left + 20; }
        }
        context.setLineDash([]);
      },
      point() {},
    });
  }
  for (const chart of charts) view.add(chart);
  element.append(fold("Table", () => h("div", { class: "scroll" }, table(of.title, [
    ["cgroup", true, (row) => row.cgroup], ["phase", true, (row) => row.phase],
    ["samples", false, ({ found }) => figure(found.samples)], ["of", false, ({ found }) => figure(found.total)],
    ...["min", "p50", "p99", "p999", "max"].map((name) => [name === "p999" ? "p99.9" : name, false, ({ found }) => latency(found[name])]),
  ], of.rows))));
  return { element, charts };
};
