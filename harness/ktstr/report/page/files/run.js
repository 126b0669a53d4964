// SPDX-License-Identifier: GPL-2.0-only
// The page of one run, put together.

const HEATS = [
  { id: "runnable", rows: "nr_running", title: "Runnable tasks", words: "on each CPU's run queue", unit: "tasks" },
  { id: "busy", rows: "busy_pct", title: "Utilisation", words: "share of the time since the reading before", unit: "%", most: 100, interval: true, mean: true },
  { id: "dsq", rows: "local_dsq", title: "Local DSQ depth", words: "tasks waiting in the CPU's local dispatch queue", unit: "tasks" },
];

const verdictWord = (data) => (data.running ? data.state ?? "running" : data.word ?? (data.verdict === "lost" ? "guest lost" : data.verdict));

class RunPage {
  constructor(data) {
    this.data = data;
    this.view = new View(data.end_ms);
    this.marquee = makeMarquee();
    this.finding = -1;
    this.heats = [];
    this.lines = new Map();
    this.line = h("div", { class: "cursor" });
    this.counterLine = h("div", { class: "cursor" });
    this.timeline = h("section", { id: "timeline", class: "timeline", "aria-label": "timeline" });
    this.counters = h("section", { class: "timeline", "aria-label": "counters over time" });
    this.badge = h("span", {});
    this.exit = h("span", { class: "quiet" });
    this.main = h("main", { id: "main" });
    const zoom = (label, words, act) => h("button", { type: "button", title: words, "aria-label": words, onclick: act }, label);
    this.top = h("header", { class: "top" },
      h("div", { class: "title" }, this.badge, this.heading = h("h1", {}, data.name), this.exit, h("span", { class: "quiet" }, data.run_id),
        h("span", { class: "tools" }, ...(data.home ? [h("a", { href: data.home }, "queue")] : []),
          zoom("−", "zoom out", () => this.view.zoom(2)), zoom("+", "zoom in", () => this.view.zoom(.5)), zoom("all", "the whole run", () => this.view.fit()),
          shadeButton(), zoom("?", "help: keys", () => this.help.showModal()))));
    this.ruler = ruler(this.view, this.marquee, {
      data: () => this.data, cursors: [this.line, this.counterLine], timeOf: (pin) => this.timeOf(pin), show: (number) => this.show(number, false),
    });
    this.top.append(h("div", {}, this.ruler.element));
    this.view.add(this.ruler);
    this.view.onCursor.push(() => this.ruler.point());
    shade.listeners.push(() => { for (const chart of this.heats) chart.paint(); this.view.redraw(); });
    document.body.replaceChildren(h("a", { class: "skip", href: "#main" }, "to the findings"), this.top, this.main);
    this.help = runKeys(this);
    // What nobody scrolled to has not been drawn yet, and there is no frame before paper.
    addEventListener("beforeprint", () => this.view.drawAll());
    this.build();
    const resized = new ResizeObserver(() => this.fitWidth());
    resized.observe(this.ruler.plot);
    this.fitWidth();
  }

  fitWidth() {
    const box = this.ruler.plot.getBoundingClientRect();
    if (box.width < 1) return;
    this.view.width = box.width;
    for (const line of [this.line, this.counterLine]) {
      if (line.isConnected) line.style.left = box.left - line.parentElement.getBoundingClientRect().left + "px";
    }
    this.view.redraw();
  }

  /** Where a finding is pinned: its moment, else where its phase begins. */
  timeOf(pin) {
    return pin.at_ms ?? this.windowOf(pin)?.[0] ?? null;
  }

  windowOf(pin) {
    const phase = this.data.phases.find((each) => each.step === pin.step);
    return phase && phase.start_ms !== null ? [phase.start_ms, phase.end_ms] : null;
  }

  /** Go to a finding: the cursor to its moment, and its line, or with `charts` the charts, into sight. */
  show(number, charts) {
    const pin = this.data.reasons[number];
    this.finding = number;
    const at = this.timeOf(pin);
    if (at !== null) this.view.moveTo(at);
    const target = charts
      ? (pin.cpu !== null && this.heats[0]?.element) || (pin.cgroup !== null && this.timeline.querySelector(`.lanes [data-cgroup="${CSS.escape(pin.cgroup)}"]`)) || this.timeline
      : document.getElementById(`finding-${number}`);
    target?.scrollIntoView({ block: charts ? "nearest" : "center" });
    if (charts) this.ruler.axis.focus({ preventScroll: true });
    else (target?.querySelector("button") ?? target)?.focus({ preventScroll: true });
  }

  nextFinding(by) {
    const count = this.data.reasons.length;
    if (count) this.show((this.finding + by + count + (this.finding < 0 && by < 0 ? 1 : 0)) % count, false);
  }

  focusFilter() {
    const input = document.getElementById("filter");
    input?.focus();
    input?.select();
  }

  title() {
    const data = this.data;
    this.badge.className = `badge ${data.running ? data.state ?? "running" : LEVELS[data.verdict] ?? data.verdict}`;
    this.badge.textContent = verdictWord(data);
    this.heading.textContent = data.name;
    this.exit.textContent = data.exit_code === null ? "" : `exit ${data.exit_code}`;
    document.title = `${verdictWord(data)}: ${data.name}`;
  }

  build() {
    const data = this.data;
    this.title();
    this.view.setStops([...(data.cpus?.at_ms ?? data.captures.at_ms), ...(data.cpus ? [] : data.freezes.map((freeze) => freeze.at_ms ?? 0))]);
    this.charts();
    const distributions = this.distributions();
    const held = data.passes ? `${counted(data.passes, "check")} held` : data.reasons.length ? "" : "no check was evaluated";
    this.ruler.element.hidden = !data.running && data.end_ms === 0;
    this.main.replaceChildren(...[
      this.banner = h("p", { class: "banner", role: "status", hidden: true }),
      data.description ? h("p", { class: "quiet" }, data.description) : null,
      data.error && !data.reasons.length ? h("pre", { class: "log", tabindex: "0" }, data.error) : null,
      reasonList(data, (pin) => this.timeOf(pin), (number, charts) => this.show(number, charts)),
      data.running || !held ? null : h("p", { class: "quiet" }, held),
      factList(data), commandLine(data),
      data.notes.length ? h("section", { "aria-label": "notes" }, h("h2", {}, data.running ? "So far" : "Notes"), noteList(data)) : null,
      h("h2", {}, "Timeline"),
      this.timeline,
      ...(data.cgroups.length ? [h("h2", {}, "Cgroups"), carrierTable(data)] : []),
      ...distributions,
      ...(this.counters.childElementCount ? [h("h2", {}, "Counters"), this.counters] : []),
      ...(!data.running && (data.metrics.length || data.phases.length) ? [h("h2", {}, "Figures"),
        fold("Metrics of the run and its phases", () => metricTable(data)),
        data.freezes.length ? fold("Snapshots", () => freezeTable(data)) : null] : []),
      ...(data.logs.length ? [h("h2", {}, "Logs"), ...data.logs.map(logFold)] : []),
      data.left_out.length ? h("p", { class: "quiet" }, `Left out of this page: ${data.left_out.join("; ")}.`) : null,
    ].flat().filter((part) => part !== null));
  }

  charts() {
    const data = this.data;
    const pins = () => this.data.reasons, windowOf = (pin) => this.windowOf(pin);
    this.view.drop(this.view.charts.filter((chart) => chart !== this.ruler));
    this.heats = [];
    this.lines = new Map();
    const figures = [];
    if (data.cpus) {
      for (const heat of HEATS) {
        const measured = data.running || data.cpus[heat.rows].some((row) => row.some((value) => value !== null));
        if (!measured) continue;
        const chart = heatMap(this.view, this.marquee, { ...heat, pins, windowOf, phases: () => this.data.phases });
        chart.take(data.cpus);
        this.heats.push(chart);
        this.view.add(chart);
        figures.push(chart.element);
      }
      figures.unshift(this.sourceLine());
      const block = lineBlock(this.view, this.marquee, { id: "machine", unfolded: true, title: "Imbalance", words: "longest run queue over shortest, the shortest counted as 1 at least",
        times: data.cpus.at_ms, series: [{ name: "imbalance", values: data.cpus.imbalance, times: data.cpus.at_ms }] });
      this.lines.set("imbalance", block.rows[0]);
      figures.push(block.element);
    } else if (!data.running) figures.push(h("p", { class: "quiet" }, "No reading of the CPUs is in the record."));
    figures.push(...this.cgroupCharts());
    this.timeline.replaceChildren(this.line, ...figures);
    const counters = [];
    const events = Object.entries(data.cpus?.events ?? {});
    if (events.length) {
      counters.push(lineBlock(this.view, this.marquee, { id: "events", title: "sched_ext events of the kernel", words: "growth since the first reading; at the cursor its value and rate",
        times: data.cpus.at_ms, rate: true, series: events.map(([name, values]) => ({ name, values, times: data.cpus.at_ms })) }).element);
    }
    if (data.counters.length) {
      counters.push(lineBlock(this.view, this.marquee, { id: "counters", title: "Counters of the scheduler",
        words: "its global variables and statistics at each snapshot; at the cursor value and rate since the one before",
        times: data.captures.at_ms, rate: true, filter: (rows) => this.filter(rows),
        series: data.counters.map((counter) => ({ ...counter, times: data.captures.at_ms })) }).element);
    }
    this.counters.replaceChildren(...(counters.length ? [this.counterLine, ...counters] : []));
  }

  sourceLine() {
    const cpus = this.data.cpus;
    const words = { monitor: ["reading", " of the monitor while steps were held"], snapshots: ["snapshot", "; the monitor did not run, and each is drawn up to the next"], live: ["reading", " so far"] }[cpus.source];
    const more = cpus.readings > cpus.at_ms.length ? `; ${cpus.at_ms.length} columns, of every stretch the lowest and the highest value` : "";
    const out = cpus.left_out ? `; ${whole.format(cpus.left_out)} between steps are not shown` : "";
    this.source = h("p", { class: "quiet" }, `${counted(cpus.readings, words[0])}${words[1]}${more}${out}.`);
    return this.source;
  }

  filter(rows) {
    const said = h("span", { class: "quiet", role: "status" });
    const input = h("input", { id: "filter", type: "search", placeholder: "filter ( / )", "aria-label": "filter counters by name",
      oninput: () => {
        const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
        let shown = 0;
        for (const row of rows) {
          const fits = words.every((word) => row.element.dataset.name.includes(word));
          row.element.hidden = !fits;
          row.element.style.display = fits ? "" : "none";
          shown += fits;
        }
        const constant = document.querySelector("#counters details.constant");
        if (constant && words.length) constant.open = true;
        said.textContent = words.length ? `${shown} of ${rows.length}` : "";
      },
      onkeydown: (event) => {
        if (event.key !== "Escape") return;
        event.preventDefault();
        if (input.value) { input.value = ""; input.dispatchEvent(new Event("input")); }
        else input.blur();
      } });
    return h("div", { class: "filter" }, input, said);
  }

  cgroupCharts() {
    const data = this.data;
    const cgroups = data.cgroups.filter((cgroup) => cgroup.phases.some((carrier) => carrier.step !== null));
    if (!cgroups.length) return [];
    const common = { cgroups, pins: () => this.data.reasons, phaseOf: (step) => this.data.phases.find((phase) => phase.step === step) };
    return [
      lanes(this.view, this.marquee, { ...common, id: "throughput", title: "Throughput of the cgroups", words: "iterations per second in each phase; each lane by its own highest",
        value: (carrier) => carrier.iterations_per_s, text: (value) => `${brief(value)} iter/s` }).element,
      lanes(this.view, this.marquee, { ...common, id: "off-cpu", title: "Off-CPU time of the cgroups", words: "share of wall time, mean of the workers; the mark goes from the lowest to the highest",
        top: 100, value: (carrier) => carrier.off_cpu_pct, low: (carrier) => carrier.off_cpu_min_pct, high: (carrier) => carrier.off_cpu_max_pct, text: (value) => `${figure(value)} %` }).element,
    ];
  }

  distributions() {
    const made = [["wake", "Wake latencies", "from being woken to running; log scale, height is the square root of the count"],
      ["timer", "Timer latencies", "how late timers were; log scale, height is the square root of the count"]].map(([name, title, words]) => {
      const rows = this.data.cgroups.flatMap((cgroup) => cgroup.phases.filter((carrier) => carrier[name] !== null)
        .map((carrier) => ({ cgroup: cgroup.name, phase: phaseTitle(this.data, carrier.step), found: carrier[name] })));
      return rows.length ? latencies(this.view, { id: name, title, words, rows, binsPerDecade: 10 }).element : null;
    }).filter((element) => element !== null);
    return made.length ? [h("h2", {}, "Latencies"), ...made] : [];
  }

  /** Another state of the same run that goes on: what is there is kept, only its data change. */
  update(data) {
    const same = this.data.cpus && data.cpus && this.data.cpus.cpus.length === data.cpus.cpus.length;
    this.data = data;
    this.view.grow(data.end_ms);
    if (!same || !data.running) {
      this.build();
    } else {
      this.title();
      this.view.setStops(data.cpus.at_ms);
      for (const chart of this.heats) chart.take(data.cpus);
      this.lines.get("imbalance")?.take(data.cpus.imbalance, data.cpus.at_ms);
      if (this.source) this.source.textContent = `${counted(data.cpus.readings, "reading")} so far.`;
    }
    this.fitWidth();
  }

  say(words) {
    this.banner.hidden = !words;
    this.banner.textContent = words;
  }
}
