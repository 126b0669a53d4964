// SPDX-License-Identifier: GPL-2.0-only
// A run that goes on: its events become the data of a page, until its record is there.

const MAX_LIVE = 3000;
const DRAW_MS = 250;

const emptyRun = (runId) => ({
  schema: 1, run_id: runId, name: runId, description: "", verdict: "", exit_code: null, error: null, running: true, state: "queued",
  reasons: [], passes: 0, notes: [], facts: [], command: null, end_ms: 1000, phases: [], freezes: [], cpus: null, cgroups: [],
  captures: { at_ms: [], tags: [] }, counters: [], metrics: [], logs: [], left_out: [], home: "/",
});

const getJson = async (url) => {
  const answer = await fetch(url, { headers: { Accept: "application/json" } });
  const found = await answer.json().catch(() => null);
  if (!answer.ok) throw new Error(found?.detail ?? `${url}: ${answer.status}`);
  return found;
};

/** Events of a run as page data; plain: events in, data out. */
class LiveData {
  constructor(runId) { this.data = emptyRun(runId); this.stages = []; }

  row(row) {
    const data = this.data;
    data.name = row.name || data.run_id;
    data.state = row.state;
    data.facts = [["run id", data.run_id], ["share", row.submission?.share ?? "default"], ["priority", String(row.submission?.priority ?? 0)]];
  }

  take(type, event) {
    const data = this.data;
    if (type === "reading") this.reading(event);
    else if (type === "step_started") {
      const start = data.phases.at(-1)?.end_ms ?? 0, label = `Step[${event.index - 1}]`;
      if (!data.phases.some((phase) => phase.step === event.index)) {
        data.phases.push({ step: event.index, label, title: event.name ? `${label} ${event.name}` : label, start_ms: start, end_ms: start + event.hold_s * 1000,
          detail: `${event.index} of ${event.of}`, captures: 0, metrics: {} });
      }
    } else if (type === "froze") {
      data.freezes.push({ tag: event.tag, at_ms: event.offset_ms, paused_ms: event.paused_ms, step: data.phases.at(-1)?.step ?? null, error: event.error, trigger: event.trigger || null });
    } else if (type === "note" || type === "stage_done") {
      this.stages.push(type === "note" ? event.text : `${event.text} (${event.seconds.toFixed(1)} s)`);
      data.notes = this.stages.slice(-100).map((message) => ({ message, step: null }));
      return true;
    } else if (type === "state") { data.state = event.state ?? data.state; return true; }
    data.end_ms = Math.max(data.end_ms, data.phases.at(-1)?.end_ms ?? 0, data.cpus?.at_ms.at(-1) ?? 0);
    return type === "step_started";
  }

  reading(event) {
    const count = event.cpus.length;
    let cpus = this.data.cpus;
    if (!cpus || cpus.cpus.length !== count) {
      const rows = () => Array.from({ length: count }, () => []);
      cpus = this.data.cpus = { source: "live", at_ms: [], readings: 0, left_out: 0, cpus: [...Array(count).keys()], cpus_left_out: 0,
        nr_running: rows(), busy_pct: rows(), local_dsq: rows(), imbalance: [], events: {} };
    }
    cpus.at_ms.push(event.elapsed_ms);
    cpus.readings++;
    event.cpus.forEach(([running, busy, depth], cpu) => {
      cpus.nr_running[cpu].push(running);
      cpus.busy_pct[cpu].push(busy === null ? null : Math.round(busy * 100));
      cpus.local_dsq[cpu].push(depth);
    });
    const lengths = event.cpus.map(([running]) => running).filter((running) => running !== null);
    cpus.imbalance.push(lengths.length ? Math.max(...lengths) / Math.max(Math.min(...lengths), 1) : null);
    if (cpus.at_ms.length > MAX_LIVE) this.thin(cpus);
  }

  /** Every other reading of the older half goes: the whole is in the record. */
  thin(cpus) {
    const half = cpus.at_ms.length >> 1;
    const keep = (values) => values.filter((_, place) => place > half || place % 2 === 0);
    for (const name of ["at_ms", "imbalance"]) cpus[name] = keep(cpus[name]);
    for (const name of ["nr_running", "busy_pct", "local_dsq"]) cpus[name] = cpus[name].map(keep);
  }
}

class LiveRun {
  constructor(runId) {
    this.url = `/v1/runs/${encodeURIComponent(runId)}`;
    this.live = new LiveData(runId);
    this.page = new RunPage(this.live.data);
    this.timer = 0;
    this.over = false;
    this.begin();
  }

  get view() { return this.page.view; }

  async begin() {
    try {
      const row = await getJson(this.url);
      this.live.row(row);
      this.draw(true);
      if (["finished", "cancelled", "lost"].includes(row.state)) return this.finish(row);
    } catch (error) { this.page.say(`The daemon does not answer: ${error.message}`); }
    this.follow();
  }

  follow() {
    this.source?.close();
    const source = this.source = new EventSource(`${this.url}/events?after=${this.seen ?? 0}`);
    source.onopen = () => this.page.say("");
    for (const type of ["state", "stage_done", "step_started", "step_ended", "froze", "note", "reading"]) {
      source.addEventListener(type, (event) => {
        if (event.lastEventId) {
          // After a restart the daemon may tell again what it told before.
          if (Number(event.lastEventId) <= (this.seen ?? 0)) return;
          this.seen = Number(event.lastEventId);
        }
        this.draw(this.live.take(type, JSON.parse(event.data)));
      });
    }
    source.addEventListener("end", (event) => { source.close(); this.finish(JSON.parse(event.data)); });
    source.onerror = () => {
      if (this.over) return;
      this.page.say("The daemon is away; this page goes on by itself when it is back.");
      source.close();
      setTimeout(() => this.begin(), 1000);
    };
  }

  /** Draw soon; at once and whole with `all`. */
  draw(all) {
    this.all = this.all || all;
    if (this.timer || this.over) return;
    this.timer = setTimeout(() => {
      this.timer = 0;
      if (this.over) return;
      if (this.all) {
        // The page compares old with new data, so it is given a new shell around them.
        this.page.data = { ...this.live.data, cpus: null };
        this.all = false;
      }
      this.page.update({ ...this.live.data });
    }, DRAW_MS);
  }

  async finish(row) {
    this.over = true;
    clearTimeout(this.timer);
    this.source?.close();
    try {
      const data = await getJson(`${this.url}/data`);
      this.page.update({ ...data, home: "/" });
      this.page.say("");
    } catch (error) {
      this.live.row(row);
      this.page.update({ ...this.live.data, running: false, verdict: row.verdict ?? row.state, word: row.verdict ?? row.state, exit_code: row.exit_code, error: row.error, facts: this.live.data.facts });
      this.page.say(`There is no record to show: ${row.error ?? error.message}`);
    }
    document.documentElement.dataset.over = "";
  }
}
