// SPDX-License-Identifier: GPL-2.0-only
// The queue of the daemon: what waits, what runs, how it went.

const ORDER = { running: 0, kept: 1, starting: 2, queued: 3, finished: 4, lost: 4, cancelled: 4 };
const MAX_SHOWN = 500;

const clock = (time) => (time === null || time === undefined ? null : new Date(time * 1000).toLocaleTimeString("en-GB"));
const lasted = (from, to) => (from === null || from === undefined ? null : `${Math.max((to ?? Date.now() / 1000) - from, 0).toFixed(1)} s`);

class Queue {
  constructor() {
    this.runs = new Map();
    this.rows = new Map();
    this.counts = h("span", { class: "quiet", role: "status" });
    this.banner = h("p", { class: "banner", role: "status", hidden: true });
    this.input = h("input", { id: "filter", type: "search", placeholder: "filter ( / )", "aria-label": "filter runs", oninput: () => this.sort() });
    this.body = h("tbody", {});
    const columns = ["scenario", "state", "verdict", "share", "priority", "submitted", "waited", "took", "reason", "run", ""];
    document.body.replaceChildren(
      h("header", { class: "top" }, h("div", { class: "title" }, h("h1", {}, "ktstr"), this.counts,
        h("span", { class: "tools" }, shadeButton(), h("button", { type: "button", "aria-label": "help: keys", onclick: () => this.help.showModal() }, "?")))),
      h("main", {}, this.banner, h("div", { class: "filter" }, this.input),
        h("div", { class: "scroll" }, h("table", { class: "queue" }, h("caption", {}, "runs: those that run, then those that wait, then what is over"),
          h("thead", {}, h("tr", {}, columns.map((name) => h("th", { scope: "col", class: ["priority", "waited", "took"].includes(name) ? "" : "l" }, name)))), this.body))));
    document.title = "ktstr";
    this.help = makeHelp("queue");
    rowKeys(this);
    this.follow();
    setInterval(() => { if (!document.hidden) this.tick(); }, 1000);
  }

  follow() {
    // First the stream, then the list: a change between the two is not lost, also one that comes
    // while the list is on its way and has the run as it was.
    const source = new EventSource("/v1/events");
    const changed = new Map();
    let listed = false;
    const load = async () => {
      try {
        const found = await getJson("/v1/runs?limit=500");
        this.runs.clear();
        for (const row of found.runs ?? found) this.runs.set(row.id, row);
        for (const row of changed.values()) this.runs.set(row.id, row);
        changed.clear();
        listed = true;
        this.say("");
        this.sort();
        document.documentElement.dataset.loaded = "";
      } catch (error) { this.say(`The daemon does not answer: ${error.message}`); }
    };
    source.onopen = load;
    source.addEventListener("run", (event) => {
      const row = JSON.parse(event.data);
      this.runs.set(row.id, row);
      if (!listed) changed.set(row.id, row);
      this.soon();
    });
    source.onerror = () => {
      this.say("The daemon is away; this page goes on by itself when it is back.");
      source.close();
      setTimeout(() => this.follow(), 1000);
    };
  }

  say(words) { this.banner.hidden = !words; this.banner.textContent = words; }

  soon() {
    this.timer ??= setTimeout(() => { this.timer = null; this.sort(); }, 100);
  }

  make(id) {
    const cells = Array.from({ length: 11 }, (_, place) => h("td", { class: [4, 6, 7].includes(place) ? "" : place === 8 ? "l wide" : "l" }));
    const link = h("a", { href: `/runs/${encodeURIComponent(id)}`, tabindex: "-1" });
    cells[0].append(link);
    const cancel = h("button", { type: "button", onclick: async (event) => {
      event.stopPropagation();
      cancel.disabled = true;
      try {
        const what = this.runs.get(id)?.state === "kept" ? "release" : "cancel";
        const answer = await fetch(`/v1/runs/${encodeURIComponent(id)}/${what}`, { method: "POST" });
        if (!answer.ok) throw new Error((await answer.json().catch(() => null))?.detail ?? String(answer.status));
      } catch (error) {
        this.say(`${id}: ${error.message}`);
      }
      cancel.disabled = false;
    } });
    cells[10].append(cancel);
    const badge = h("span", {});
    cells[1].append(badge);
    const element = h("tr", { "data-run": id, tabindex: "0", onclick: (event) => { if (!event.target.closest("a, button")) location.assign(link.href); } }, cells);
    return { element, cells, link, badge, cancel };
  }

  fill({ element, cells, link, badge, cancel }, run) {
    const put = (place, text) => { if (cells[place].textContent !== (text ?? NOT_MEASURED)) cells[place].textContent = text ?? NOT_MEASURED; };
    if (link.textContent !== run.name) link.textContent = run.name;
    element.dataset.state = run.state;
    element.setAttribute("aria-label", `${run.name}, ${run.verdict ?? run.state}`);
    badge.className = `badge ${run.state}`;
    badge.textContent = run.state;
    put(2, run.verdict);
    cells[2].className = `l ${LEVELS[run.verdict] ?? run.verdict ?? ""}`;
    put(3, run.submission?.share ?? "default");
    put(4, String(run.submission?.priority ?? 0));
    put(5, clock(run.submitted_at));
    const over = ORDER[run.state] === 4;
    put(6, lasted(run.submitted_at, run.started_at ?? (over ? run.ended_at : null)));
    put(7, lasted(run.started_at, run.ended_at));
    put(8, run.error ?? "");
    put(9, run.id);
    // A kept guest is let go; its run is over and has its verdict.
    const act = run.state === "kept" ? "Release" : "Cancel";
    if (cancel.textContent !== act) cancel.textContent = act;
    cancel.hidden = over;
  }

  sort() {
    const words = this.input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (run) => words.every((word) => `${run.name} ${run.state} ${run.verdict ?? ""} ${run.submission?.share ?? ""} ${run.id}`.toLowerCase().includes(word));
    const order = (a, b) => ORDER[a.state] - ORDER[b.state] || (ORDER[a.state] === 4 ? b.submitted_at - a.submitted_at : a.submitted_at - b.submitted_at);
    const shown = [...this.runs.values()].filter(fits).sort(order).slice(0, MAX_SHOWN);
    const focused = document.activeElement;
    for (const [id, row] of this.rows) if (!this.runs.has(id)) { row.element.remove(); this.rows.delete(id); }
    const elements = shown.map((run) => {
      if (!this.rows.has(run.id)) this.rows.set(run.id, this.make(run.id));
      const row = this.rows.get(run.id);
      this.fill(row, run);
      return row.element;
    });
    const before = [...this.body.children];
    if (elements.length !== before.length || elements.some((element, place) => element !== before[place])) {
      this.body.replaceChildren(...elements);
      if (focused?.isConnected && focused !== document.body) focused.focus({ preventScroll: true });
    }
    this.count();
  }

  count() {
    const states = {};
    for (const run of this.runs.values()) states[run.state] = (states[run.state] ?? 0) + 1;
    const words = Object.keys(ORDER).filter((state) => states[state]).map((state) => `${states[state]} ${state}`).join(", ") || "no runs yet";
    if (this.counts.textContent !== words) this.counts.textContent = words;
  }

  tick() {
    for (const run of this.runs.values()) if (ORDER[run.state] < 4 && this.rows.has(run.id)) this.fill(this.rows.get(run.id), run);
  }
}
