// SPDX-License-Identifier: GPL-2.0-only
// A list of runs that are over, with links to their pages.

class Index {
  constructor(data) {
    const input = h("input", { id: "filter", type: "search", placeholder: "filter ( / )", "aria-label": "filter runs", oninput: () => this.filter(input.value) });
    const said = this.said = h("span", { class: "quiet", role: "status" });
    const columns = [["scenario", true], ["verdict", true], ["s", false], ["kernel", true], ["topology", true], ["scheduler", true], ["reason", true]];
    this.rows = data.rows.map((row) => {
      const cells = [row.href ? h("a", { href: row.href, tabindex: "-1" }, row.label) : row.label, row.verdict, row.wall_s === null ? null : row.wall_s.toFixed(1), row.kernel, row.topology, row.scheduler, row.reason];
      const element = h("tr", { tabindex: "0", "data-run": row.label }, cells.map((cell, place) =>
        h("td", { class: `${columns[place][1] ? "l" : ""} ${place === 6 ? "wide" : ""} ${place === 1 ? LEVELS[row.verdict] ?? row.verdict.split(" ").at(-1) : ""}` }, cell ?? NOT_MEASURED)));
      if (row.href) element.addEventListener("click", (event) => { if (!event.target.closest("a")) location.assign(row.href); });
      return { element, words: Object.values(row).join(" ").toLowerCase() };
    });
    this.body = h("tbody", {}, this.rows.map((row) => row.element));
    this.input = input;
    document.body.replaceChildren(
      h("header", { class: "top" }, h("div", { class: "title" }, h("h1", {}, "ktstr"), h("span", { class: "quiet" }, data.title),
        h("span", { class: "tools" }, shadeButton(), h("button", { type: "button", "aria-label": "help: keys", onclick: () => this.help.showModal() }, "?")))),
      h("main", {}, h("div", { class: "filter" }, input, said),
        h("div", { class: "scroll" }, h("table", { class: "queue" }, h("caption", {}, "runs; what did not pass stands first"),
          h("thead", {}, h("tr", {}, columns.map(([name, text]) => h("th", { scope: "col", class: text ? "l" : "" }, name)))), this.body)),
        data.left_out > 0 ? h("p", { class: "quiet" }, `${data.left_out} more runs are not listed.`) : null));
    this.help = makeHelp("queue");
    rowKeys(this);
  }

  filter(text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of this.rows) {
      const fits = words.every((word) => row.words.includes(word));
      row.element.style.display = fits ? "" : "none";
      shown += fits;
    }
    this.said.textContent = words.length ? `${shown} of ${this.rows.length}` : "";
  }
}
