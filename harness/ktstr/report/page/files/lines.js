// SPDX-License-Identifier: GPL-2.0-only
// Small lines, one per row: a counter over time, with its value and its rate at the cursor.

const LINE_PX = 22;

const numbers = (values) => values.map((value) => (value === null ? null : Number(value)));

/** One row. `of`: name, holder, values, times, rate (whether a rate makes sense), unit. */
const lineRow = (view, marquee, of) => {
  const canvas = h("canvas", { role: "img" });
  const plot = h("div", { class: "plot" }, canvas);
  const readout = h("div", { class: "readout" });
  const title = of.holder ? `${of.name} (${of.holder})` : of.name;
  const element = h("div", { class: "row", "data-name": title.toLowerCase() },
    h("div", { class: "name tail", title }, h("bdi", { dir: "ltr" }, of.name)), plot, readout);
  let shown = of.values, values = numbers(shown), times = of.times, low, high, measured;

  const measure = () => {
    low = Infinity; high = -Infinity; measured = 0;
    for (const value of values) {
      if (value === null) continue;
      measured++;
      if (value < low) low = value;
      if (value > high) high = value;
    }
    canvas.setAttribute("aria-label", measured
      ? `${title}: ${figure(low)} to ${figure(high)}${of.unit ? " " + of.unit : ""}, ${measured} readings`
      : `${title}: not measured`);
  };
  measure();
  pointable(plot, view, marquee);

  return {
    element,
    take(newValues, newTimes) { shown = newValues; values = numbers(newValues); times = newTimes; measure(); },
    draw() {
      const context = prepare(canvas, view, LINE_PX);
      context.strokeStyle = colours.line;
      context.beginPath();
      context.moveTo(0, LINE_PX - 2.5);
      context.lineTo(view.width, LINE_PX - 2.5);
      context.stroke();
      if (!measured) return;
      const span = high - low || 1;
      const y = (value) => (high === low ? LINE_PX / 2 : LINE_PX - 3 - (value - low) / span * (LINE_PX - 6));
      context.strokeStyle = context.fillStyle = colours.accent;
      context.lineWidth = 1.25;
      context.beginPath();
      let pen = false;
      const first = Math.max(placeAt(times, view.from) - 1, 0);
      for (let at = first; at < times.length; at++) {
        if (values[at] === null) { pen = false; continue; }
        const x = view.x(times[at]);
        if (pen) context.lineTo(x, y(values[at]));
        else context.moveTo(x, y(values[at]));
        pen = true;
        if (x > view.width) break;
      }
      context.stroke();
      if (times.length <= 128) {
        times.forEach((time, at) => {
          if (values[at] !== null) context.fillRect(view.x(time) - 1, y(values[at]) - 1, 2.5, 2.5);
        });
      }
    },
    point(time) {
      const at = time === null ? values.length - 1 : placeAt(times, time);
      if (at < 0) { readout.textContent = NOT_MEASURED; return; }
      const value = shown[at];
      let text = figure(value) + (of.unit && value !== null ? " " + of.unit : "");
      if (of.rate && at > 0 && values[at] !== null && values[at - 1] !== null && times[at] > times[at - 1]) {
        const rate = (values[at] - values[at - 1]) / (times[at] - times[at - 1]) * 1000;
        text += `  ${rate > 0 ? "+" : ""}${brief(rate)}/s`;
      }
      readout.textContent = text;
    },
  };
};

/** A block of such rows with those that never changed folded away. */
const lineBlock = (view, marquee, of) => {
  const rows = of.series.map((series) => lineRow(view, marquee, { ...series, rate: of.rate }));
  const changes = (values) => new Set(values.filter((value) => value !== null).map(String)).size > 1;
  const holders = new Map(rows.map((row, place) => [row, of.series[place].holder]));
  const moving = rows.filter((_, place) => of.unfolded || changes(of.series[place].values));
  const constant = rows.filter((row) => !moving.includes(row));
  const element = h("figure", { class: "lines", id: of.id },
    h("figcaption", {}, h("h3", {}, of.title), h("span", { class: "quiet" }, of.words)));
  if (of.filter) element.append(of.filter(rows));
  let holder;
  for (const row of moving) {
    if (holders.get(row) && holders.get(row) !== holder) element.append(h("div", { class: "holder" }, holder = holders.get(row)));
    element.append(row.element);
  }
  for (const row of moving) view.add(row);
  if (constant.length) {
    let followed = false;
    element.append(h("details", { class: "constant", ontoggle: () => {
      if (followed) return;
      followed = true;
      for (const row of constant) view.add(row);
    } }, h("summary", {}, `${constant.length} that never changed`), constant.map((row) => row.element)));
  }
  element.append(fold("Table", () => h("div", { class: "scroll tall" }, table(of.title,
    [["time", true, (at) => seconds(of.times[at])], ...of.series.map((series) => [series.name, false, (at) => figure(series.values[at])])],
    of.times.map((_, at) => at).slice(0, MAX_ROWS)))));
  return { element, rows };
};
