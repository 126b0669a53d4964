// SPDX-License-Identifier: GPL-2.0-only
// The head of the time axis: phases as bands, freezes as marks, findings as pins, the cursor.

/** The longest step of 1, 2 or 5 that gives a label for every `least` pixels or more. */
const tickStep = (span, width, least) => {
  const aim = span / Math.max(width / least, 1);
  const size = 10 ** Math.floor(Math.log10(Math.max(aim, 1e-3)));
  return [1, 2, 5, 10].map((part) => part * size).find((step) => step >= aim) ?? 10 * size;
};

const ruler = (view, marquee, of) => {
  const bands = h("div", {});
  const pins = h("div", {});
  const canvas = h("canvas", { "aria-hidden": "true" });
  const cursor = h("div", { class: "cursor" });
  // Readers of the screen take a slider as one thing, so the pins stand beside it.
  const axis = h("div", { class: "axis", id: "time", role: "slider", tabindex: "0", "aria-label": "time cursor of all charts",
    "aria-valuemin": "0", "aria-valuemax": "0", "aria-valuenow": "0", "aria-valuetext": "no time chosen" },
    bands, canvas);
  const plot = h("div", { class: "plot" }, axis, pins, marquee.element, cursor);
  const readout = h("div", { class: "readout" });
  const element = h("div", { class: "row ruler" }, h("div", { class: "name" }, "time"), plot, readout);
  pointable(plot, view, marquee);

  const phaseAt = (time) => of.data().phases.find((phase) => phase.start_ms !== null && time >= phase.start_ms && time < phase.end_ms) ??
    of.data().phases.findLast((phase) => phase.end_ms !== null && time >= phase.end_ms && time - phase.end_ms < 1);

  const chart = {
    element,
    plot,
    axis,
    draw() {
      const data = of.data();
      const worst = new Map();
      for (const pin of data.reasons) {
        if (pin.step !== null && (pin.level === "fail" || !worst.has(pin.step))) worst.set(pin.step, pin.level);
      }
      bands.replaceChildren(...data.phases.filter((phase) => phase.start_ms !== null && phase.start_ms < view.to && phase.end_ms > view.from).map((phase, place) => {
        const level = worst.get(phase.step);
        const band = h("div", { class: `band${place % 2 ? " odd" : ""}${level === "fail" ? " bad" : level === "inconclusive" ? " vague" : ""}`,
          title: `${phase.title}: ${seconds(phase.start_ms)} to ${seconds(phase.end_ms)}; ${phase.detail}` });
        const left = Math.max(view.x(phase.start_ms), 0);
        const wide = Math.max(Math.min(view.x(phase.end_ms), view.width) - left, 1);
        // Where the name does not fit, the step's number may.
        band.textContent = wide > 64 ? phase.title : wide > 18 && phase.step > 0 ? String(phase.step - 1) : "";
        band.style.left = left + "px";
        band.style.width = wide + "px";
        return band;
      }));
      const tall = 21;
      const context = prepare(canvas, view, tall);
      const step = tickStep(view.to - view.from, view.width, 70);
      context.font = "11px system-ui, sans-serif";
      for (let tick = Math.ceil(view.from / step) * step; tick <= view.to; tick += step) {
        const at = view.x(tick);
        context.fillStyle = colours.line;
        context.fillRect(at, 0, 1, 6);
        context.fillStyle = colours.muted;
        const text = step < 10 ? (tick / 1000).toFixed(3) : step < 100 ? (tick / 1000).toFixed(2) : (tick / 1000).toFixed(1);
        const wide = context.measureText(text).width + 12;
        context.fillText(text + " s", Math.min(at + 3, view.width - wide), 16);
      }
      for (const freeze of data.freezes) {
        if (freeze.at_ms === null) continue;
        const at = view.x(freeze.at_ms);
        if (at < 0 || at > view.width) continue;
        context.fillStyle = freeze.error === null ? colours.mark : colours.fail;
        context.beginPath();
        context.moveTo(at, 0);
        context.lineTo(at + 3.5, 4.5);
        context.lineTo(at, 9);
        context.lineTo(at - 3.5, 4.5);
        context.closePath();
        context.fill();
      }
      let free = new Map();
      pins.replaceChildren(...data.reasons.map((pin, number) => [pin, number, of.timeOf(pin)]).filter(([, , at]) => at !== null && at >= view.from && at <= view.to).map(([pin, number, at]) => {
        const spot = Math.round(view.x(at) / 10);
        if (free.has(spot)) return null;
        free.set(spot, true);
        const near = data.reasons.filter((other) => of.timeOf(other) !== null && Math.round(view.x(of.timeOf(other)) / 10) === spot);
        const said = near.length > 1 ? `${near.length} findings at ${seconds(at)}, the first: ` : "";
        const button = h("button", { type: "button", class: `pin ${pin.level}`, title: near.slice(0, 12).map((other) => `[${other.kind}] ${other.message}`).join("\n"),
          "aria-label": `${said}[${pin.kind}] ${pin.message}`, onclick: () => of.show(number) }, "▲");
        button.style.left = view.x(at) + "px";
        return button;
      }).filter((button) => button !== null));
      axis.setAttribute("aria-valuemax", Math.round(view.end));
    },
    point() {
      const time = view.cursor;
      const shown = time !== null && time >= view.from && time <= view.to;
      const left = shown ? `translateX(${view.x(time)}px)` : "";
      for (const line of [cursor, ...of.cursors]) {
        line.style.visibility = shown ? "visible" : "hidden";
        line.style.transform = left;
      }
      if (time === null) {
        readout.textContent = view.zoomed ? `${seconds(view.from)} – ${seconds(view.to)}` : "";
        axis.setAttribute("aria-valuetext", "no time chosen");
        return;
      }
      const phase = phaseAt(time);
      const freeze = of.data().freezes.find((each) => each.at_ms !== null && Math.abs(view.x(each.at_ms) - view.x(time)) < 4);
      const text = [seconds(time), phase?.title ?? "between phases", ...(freeze ? [freeze.tag + (freeze.paused_ms === null ? "" : ` stood ${figure(freeze.paused_ms)} ms`)] : [])];
      readout.textContent = text.join(" · ");
      readout.title = readout.textContent;
      axis.setAttribute("aria-valuenow", Math.round(time));
      axis.setAttribute("aria-valuetext", text.join(", "));
    },
  };
  return chart;
};

/** The rectangle that a drag draws over the ruler. */
const makeMarquee = () => {
  const element = h("div", { class: "marquee" });
  return {
    element,
    show(from, to) {
      element.style.visibility = "visible";
      element.style.left = from + "px";
      element.style.width = to - from + "px";
    },
    hide() { element.style.visibility = "hidden"; },
  };
};
