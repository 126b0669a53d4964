// SPDX-License-Identifier: GPL-2.0-only
// A heat map: one row per CPU, one column per reading. Its cells are drawn once, one pixel each,
// into a canvas of its own, which zooming only stretches.

/** Columns of `cpus` as a chart. `of.interval`: a value speaks for the time before its reading. */
const heatMap = (view, marquee, of) => {
  const cells = document.createElement("canvas");
  const canvas = h("canvas", { role: "img" });
  const names = h("div", { class: "name", "aria-hidden": "true" });
  const readout = h("div", { class: "readout" });
  const plot = h("div", { class: "plot" }, canvas);
  const [low, bar, high] = [h("span", {}), h("i", { "aria-hidden": "true" }), h("span", {})];
  const caption = h("figcaption", {}, h("h3", {}, of.title), h("span", { class: "quiet" }, of.words),
    h("span", { class: "legend" }, low, bar, high));
  const element = h("figure", { class: "heat", id: of.id }, caption, h("div", { class: "row" }, names, plot, readout));
  let data, rows, most, tall, hovered = null, bound = Infinity, hasRoot = false;

  const share = (value) => {
    if (most <= 0) return 0;
    const part = Math.min(value / most, 1);
    return hasRoot ? Math.sqrt(part) : part;
  };

  const paint = () => {
    const count = data.at_ms.length;
    cells.width = Math.max(count, 1);
    cells.height = Math.max(rows.length, 1);
    const context = cells.getContext("2d");
    const image = context.createImageData(cells.width, cells.height);
    const steps = Array.from({ length: 256 }, (_, step) => rampColour(step / 255));
    rows.forEach((row, place) => {
      for (let at = 0; at < count; at++) {
        const value = row[at];
        if (value === null || value === undefined) continue;
        const colour = steps[Math.round(share(value) * 255)];
        const offset = 4 * (place * cells.width + at);
        image.data.set(colour, offset);
        image.data[offset + 3] = 255;
      }
    });
    context.putImageData(image, 0, 0);
    bar.style.background = rampCss();
  };

  const chart = {
    element,
    take(series) {
      data = series;
      rows = series[of.rows];
      most = of.most ?? 0;
      let measured = 0;
      if (of.most === undefined) for (const row of rows) for (const value of row) if (value > most) most = value;
      for (const row of rows) for (const value of row) if (value !== null) measured++;
      hasRoot = of.most === undefined && most > 16;
      tall = rows.length > 64 ? Math.max(2, Math.floor(320 / rows.length)) : Math.min(18, Math.max(6, Math.floor(240 / Math.max(rows.length, 1))));
      canvas.style.height = rows.length * tall + "px";
      bound = reach(data.at_ms);
      low.textContent = "0";
      high.textContent = `${figure(most)} ${of.unit}${hasRoot ? " (√ scale)" : ""}`;
      canvas.setAttribute("aria-label", measured
        ? `${of.title}: ${rows.length} CPUs, ${data.at_ms.length} readings, up to ${figure(most)} ${of.unit}`
        : `${of.title}: not measured`);
      const every = 2 ** Math.max(Math.ceil(Math.log2(11 / tall)), 0);
      names.replaceChildren(...data.cpus.map((cpu, place) => [cpu, place]).filter(([, place]) => place % every === 0).map(([cpu, place]) => {
        const label = h("span", {}, place === 0 ? `cpu ${cpu}` : String(cpu));
        label.style.top = place * tall + Math.max((tall - 11) / 2, 0) + "px";
        return label;
      }));
      paint();
    },
    paint,
    draw() {
      const height = rows.length * tall;
      const context = prepare(canvas, view, height);
      const times = data.at_ms;
      context.fillStyle = colours.void;
      context.fillRect(0, 0, view.width, height);
      context.imageSmoothingEnabled = false;
      for (let at = 0; at < times.length; at++) {
        let from, to;
        if (of.interval) {
          from = at ? Math.max(times[at - 1], times[at] - bound) : times[at];
          to = times[at];
        } else {
          from = times[at];
          to = at + 1 < times.length ? Math.min(times[at + 1], times[at] + bound) : Math.min(from + bound / 3, view.end);
        }
        if (to < view.from || from > view.to) continue;
        const x = view.x(from);
        context.drawImage(cells, at, 0, 1, rows.length, x, 0, Math.max(view.x(to) - x, 1), height);
      }
      if (tall >= 6) {
        context.fillStyle = colours.bg;
        for (let row = 1; row < rows.length; row++) context.fillRect(0, row * tall, view.width, 1);
      }
      for (const pin of of.pins()) {
        const row = data.cpus.indexOf(pin.cpu);
        if (row < 0) continue;
        const at = pin.at_ms ?? of.windowOf(pin)?.[0];
        if (at === null || at === undefined) continue;
        const x = Math.min(Math.max(view.x(at), 0), view.width), y = row * tall;
        context.fillStyle = colours[pin.level === "fail" ? "fail" : "doubt"];
        context.strokeStyle = colours.bg;
        context.beginPath();
        context.moveTo(x - 6, y);
        context.lineTo(x + 6, y);
        context.lineTo(x, y + Math.max(tall * .8, 7));
        context.closePath();
        context.fill();
        context.stroke();
      }
    },
    point(time) {
      const at = this.placeAt(time);
      if (at < 0) { readout.textContent = ""; return; }
      if (hovered !== null) {
        readout.textContent = `cpu ${data.cpus[hovered]}: ${figure(rows[hovered]?.[at])} ${of.unit}`;
        return;
      }
      let sum = 0, top = null, where = -1, measured = 0;
      rows.forEach((row, place) => {
        const value = row[at];
        if (value === null || value === undefined) return;
        measured++;
        sum += value;
        if (top === null || value > top) { top = value; where = place; }
      });
      if (!measured) { readout.textContent = NOT_MEASURED; return; }
      const all = of.mean ? `mean ${figure(Math.round(sum / measured))}` : `Σ ${figure(sum)}`;
      readout.textContent = `${all}, max ${figure(top)} @ ${data.cpus[where]}`;
    },
    placeAt(time) {
      if (time === null) return -1;
      const at = placeAt(data.at_ms, time);
      return of.interval && at >= 0 && at + 1 < data.at_ms.length && data.at_ms[at] < time ? at + 1 : at;
    },
    cell: (row, at) => rows[row]?.[at],
  };

  pointable(plot, view, marquee, (event) => {
    const row = event === null ? null : Math.floor((event.clientY - canvas.getBoundingClientRect().top) / tall);
    hovered = row !== null && row >= 0 && row < rows.length ? row : null;
    chart.point(view.cursor);
  });
  element.append(fold("Table", () => heatTables(view, data, rows, of)));
  return chart;
};

const MAX_ROWS = 256;

/** What the picture shows, in figures: each CPU in each phase, and the readings of the window. */
const heatTables = (view, data, rows, of) => {
  const inPhase = (phase, row) => {
    let sum = 0, count = 0, most = null;
    data.at_ms.forEach((time, at) => {
      const value = row[at];
      if (value === null || value === undefined || time < phase.start_ms || (time >= phase.end_ms && time > phase.start_ms)) return;
      sum += value;
      count++;
      if (most === null || value > most) most = value;
    });
    return count ? `${figure(sum / count)} / ${figure(most)}` : null;
  };
  const phases = of.phases().filter((phase) => phase.start_ms !== null);
  const places = data.at_ms.map((_, at) => at).filter((at) => data.at_ms[at] >= view.from && data.at_ms[at] <= view.to);
  const shown = places.slice(0, MAX_ROWS);
  const more = places.length > shown.length ? `, the first ${shown.length} of ${places.length}` : "";
  return h("div", {},
    h("div", { class: "scroll" }, table(`${of.title} in ${of.unit}: mean / highest of each CPU's readings in each phase`,
      [["CPU", true, (place) => String(data.cpus[place])], ...phases.map((phase) => [phase.title, false, (place) => inPhase(phase, rows[place])])],
      data.cpus.map((_, place) => place))),
    h("div", { class: "scroll tall" }, table(`readings from ${seconds(view.from)} to ${seconds(view.to)}${more}`,
      [["time", true, (at) => seconds(data.at_ms[at])], ...data.cpus.map((cpu, place) => [`cpu ${cpu}`, false, (at) => figure(rows[place][at])])],
      shown)));
};
