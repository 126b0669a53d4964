// SPDX-License-Identifier: GPL-2.0-only
// One lane per cgroup: what its workers came to in each phase, as bars as wide as the phase.

const LANE_PX = 24;

/** `of`: title, words, value(carrier), low/high(carrier) for a whisker, top (of the scale), text. */
const lanes = (view, marquee, of) => {
  const element = h("figure", { class: "lanes", id: of.id },
    h("figcaption", {}, h("h3", {}, of.title), h("span", { class: "quiet" }, of.words)));
  const charts = of.cgroups.map((cgroup) => {
    const canvas = h("canvas", { role: "img" });
    const plot = h("div", { class: "plot" }, canvas);
    const readout = h("div", { class: "readout" });
    const row = h("div", { class: "row", "data-cgroup": cgroup.name },
      h("div", { class: "name", title: cgroup.name }, cgroup.name), plot, readout);
    element.append(row);
    const parts = cgroup.phases
      .map((carrier) => ({ carrier, phase: of.phaseOf(carrier.step), value: of.value(carrier) }))
      .filter(({ phase }) => phase && phase.start_ms !== null);
    const top = of.top ?? Math.max(...parts.map(({ value }) => value ?? 0), 0);
    canvas.setAttribute("aria-label", `${of.title}, ${cgroup.name}: ` +
      (parts.map(({ phase, value }) => `${phase.title} ${value === null ? "not measured" : of.text(value)}`).join("; ") || "no phase"));
    pointable(plot, view, marquee);
    return {
      element: row,
      draw() {
        const context = prepare(canvas, view, LANE_PX);
        context.font = "11px system-ui, sans-serif";
        context.textBaseline = "middle";
        for (const { carrier, phase, value } of parts) {
          const x = view.x(phase.start_ms), wide = Math.max(view.x(phase.end_ms) - x - 1, 1);
          if (x > view.width || x + wide < 0) continue;
          const tall = value === null || top <= 0 ? 0 : Math.max(value / top * (LANE_PX - 4), value > 0 ? 1 : 0);
          context.fillStyle = colours.void;
          context.fillRect(x, 2, wide, LANE_PX - 4);
          context.fillStyle = colours["band-b"];
          context.fillRect(x, LANE_PX - 2 - tall, wide, tall);
          context.fillStyle = colours.accent;
          context.fillRect(x, LANE_PX - 2 - tall, wide, 1.5);
          const low = of.low?.(carrier), high = of.high?.(carrier);
          if (low !== null && low !== undefined && high !== undefined && wide > 12) {
            const middle = Math.min(Math.max(x + wide - 8, 0), view.width - 4);
            const y = (share) => LANE_PX - 2 - share / top * (LANE_PX - 4);
            context.fillRect(middle, y(high), 1.5, Math.max(y(low) - y(high), 1));
            context.fillRect(middle - 3, y(high), 7, 1);
            context.fillRect(middle - 3, y(low) - 1, 7, 1);
          }
          const bad = of.pins().find((pin) => pin.cgroup === cgroup.name && pin.step === carrier.step);
          if (bad) {
            context.strokeStyle = colours[bad.level === "fail" ? "fail" : "doubt"];
            context.lineWidth = 2;
            context.strokeRect(x + 1, 3, wide - 2, LANE_PX - 6);
          }
          context.fillStyle = colours.fg;
          const text = value === null ? NOT_MEASURED : of.text(value);
          const left = Math.max(x, 0) + 5;
          if (context.measureText(text).width < Math.min(x + wide, view.width) - left - 14) {
            context.strokeStyle = colours.bg;
            context.lineWidth = 3;
            context.strokeText(text, left, LANE_PX / 2);
            context.fillText(text, left, LANE_PX / 2);
          }
        }
      },
      point(time) {
        const part = time === null ? undefined : parts.find(({ phase }) => time >= phase.start_ms && time < phase.end_ms) ??
          parts.findLast(({ phase }) => time === phase.end_ms);
        readout.textContent = part ? (part.value === null ? NOT_MEASURED : of.text(part.value)) : "";
      },
    };
  });
  for (const chart of charts) view.add(chart);
  return { element, charts };
};
