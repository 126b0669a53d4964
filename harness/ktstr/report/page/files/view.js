// SPDX-License-Identifier: GPL-2.0-only
// The window of time that all charts share, and the cursor in it.

class View {
  constructor(end) {
    this.end = Math.max(end, 1);
    this.from = 0;
    this.to = this.end;
    this.cursor = null;
    this.width = 600;
    this.stops = [];
    this.charts = [];
    this.onCursor = [];
    this.pending = 0;
    this.watch = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        const chart = entry.target.chart;
        chart.seen = entry.isIntersecting;
        if (chart.seen) this.freshen(chart);
      }
    }, { rootMargin: "300px" });
  }

  x(time) {
    return (time - this.from) / (this.to - this.from) * this.width;
  }

  timeAt(x) {
    return this.from + x / this.width * (this.to - this.from);
  }

  /** Follow a chart: {element, draw(), point(time)}; drawn and pointed only while it can be seen. */
  add(chart) {
    chart.element.chart = chart;
    chart.seen = false;
    chart.stale = true;
    this.charts.push(chart);
    this.watch.observe(chart.element);
  }

  drop(charts) {
    for (const chart of charts) this.watch.unobserve(chart.element);
    this.charts = this.charts.filter((chart) => !charts.includes(chart));
  }

  freshen(chart) {
    if (chart.stale) {
      chart.stale = false;
      chart.draw();
    }
    if (chart.pointed !== this.cursor) {
      chart.pointed = this.cursor;
      chart.point(this.cursor);
    }
  }

  /** Draw everything again, once per frame however often this is called. */
  redraw() {
    for (const chart of this.charts) {
      chart.stale = true;
      chart.pointed = undefined;
    }
    if (!this.pending) {
      this.pending = requestAnimationFrame(() => {
        this.pending = 0;
        for (const chart of this.charts) if (chart.seen) this.freshen(chart);
        for (const told of this.onCursor) told();
      });
    }
  }

  /** Draw everything now, also what cannot be seen. */
  drawAll() {
    for (const chart of this.charts) {
      chart.stale = true;
      this.freshen(chart);
    }
  }

  setStops(times) {
    this.stops = [...new Set(times)].sort((a, b) => a - b);
  }

  /** Put the cursor at a time; null takes it away. */
  moveTo(time) {
    this.cursor = time === null ? null : Math.min(Math.max(time, 0), this.end);
    if (this.cursor !== null && (this.cursor < this.from || this.cursor > this.to)) {
      const span = this.to - this.from;
      this.zoomTo(this.cursor - span / 2, this.cursor + span / 2);
    }
    for (const chart of this.charts) if (chart.seen && !chart.stale) this.freshen(chart);
    for (const told of this.onCursor) told();
  }

  /** Go on by so many readings. */
  step(count) {
    if (!this.stops.length) return this.moveTo((this.cursor ?? 0) + count * this.end / 100);
    let place = placeAt(this.stops, this.cursor ?? -1);
    if (this.cursor === null) place = count > 0 ? -1 : this.stops.length;
    // Between two readings, the one before is the first step back.
    else if (count < 0 && place >= 0 && this.stops[place] < this.cursor) place++;
    const next = Math.min(Math.max(place + count, 0), this.stops.length - 1);
    this.moveTo(this.stops[next]);
  }

  toFirst() { this.moveTo(this.stops[0] ?? 0); }

  toLast() { this.moveTo(this.stops.at(-1) ?? this.end); }

  zoomTo(from, to) {
    const span = Math.min(Math.max(to - from, this.end / 500, 1), this.end);
    from = Math.min(Math.max(from, 0), this.end - span);
    this.from = from;
    this.to = from + span;
    this.redraw();
  }

  /** Make the window `factor` times as long, around the cursor or the middle. */
  zoom(factor) {
    const at = this.cursor !== null && this.cursor >= this.from && this.cursor <= this.to ? this.cursor : (this.from + this.to) / 2;
    const span = Math.min((this.to - this.from) * factor, this.end);
    const share = (at - this.from) / (this.to - this.from);
    this.zoomTo(at - share * span, at + (1 - share) * span);
  }

  fit() { this.zoomTo(0, this.end); }

  get zoomed() { return this.to - this.from < this.end * .999; }

  grow(end) {
    const whole = !this.zoomed;
    this.end = Math.max(end, 1);
    if (whole) { this.from = 0; this.to = this.end; }
  }
}

/** A canvas as wide as the view and `height` pixels high, cleared; its context draws in pixels. */
const prepare = (canvas, view, height) => {
  const scale = devicePixelRatio || 1;
  const [width, tall] = [Math.max(Math.round(view.width * scale), 1), Math.round(height * scale)];
  if (canvas.width !== width || canvas.height !== tall) {
    canvas.width = width;
    canvas.height = tall;
    canvas.style.height = height + "px";
  }
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, view.width, height);
  return context;
};

/** How long a reading speaks: to the next one, but not across a gap. */
const reach = (times) => {
  const gaps = times.slice(1).map((time, place) => time - times[place]).filter((gap) => gap > 0).sort((a, b) => a - b);
  return gaps.length ? gaps[gaps.length >> 1] * 3 : Infinity;
};

/** Pointer on a plot: moves the cursor, a drag chooses a window of time, two clicks show all. */
const pointable = (plot, view, marquee, over) => {
  let began = null;
  const place = (event) => event.clientX - plot.getBoundingClientRect().left;
  plot.addEventListener("pointermove", (event) => {
    const x = place(event);
    if (began !== null && Math.abs(x - began) > 6) {
      marquee.show(Math.min(began, x), Math.max(began, x));
      return;
    }
    if (event.pointerType === "mouse" || began !== null) view.moveTo(view.timeAt(Math.min(Math.max(x, 0), view.width)));
    over?.(event);
  });
  plot.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.target.closest("button")) return;
    began = place(event);
    view.moveTo(view.timeAt(began));
    if (event.pointerType === "mouse") plot.setPointerCapture(event.pointerId);
  });
  plot.addEventListener("pointerup", (event) => {
    const x = place(event);
    if (began !== null && Math.abs(x - began) > 6 && event.pointerType === "mouse") view.zoomTo(...[view.timeAt(began), view.timeAt(x)].sort((a, b) => a - b));
    began = null;
    marquee.hide();
  });
  plot.addEventListener("pointercancel", () => { began = null; marquee.hide(); });
  plot.addEventListener("pointerleave", () => over?.(null));
  plot.addEventListener("dblclick", () => view.fit());
};
