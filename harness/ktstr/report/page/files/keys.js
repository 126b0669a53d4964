// SPDX-License-Identifier: GPL-2.0-only
// The keyboard of a page, and the help that tells of it.

const HELP = {
  run: [
    ["← →", "cursor to the reading before or after; with Shift ten of them"],
    ["Home End", "cursor to the first or last reading"],
    ["+ −", "look closer, or from further away, around the cursor"],
    ["0", "the whole run"],
    ["n p", "next or previous finding"],
    ["/", "filter counters"],
    ["c", "colours: as the system has it, light, dark"],
    ["?", "this help"],
    ["Esc", "close, clear the filter, take the cursor away, show the whole run"],
    ["drag", "on the charts: choose a stretch of time; two clicks show all"],
  ],
  queue: [
    ["↓ ↑ or j k", "next or previous run"],
    ["Enter", "open it"],
    ["/", "filter runs"],
    ["c", "colours: as the system has it, light, dark"],
    ["?", "this help"],
    ["Esc", "close, clear the filter"],
  ],
};

const makeHelp = (which) => {
  const dialog = h("dialog", { "aria-labelledby": "help-title" },
    h("h3", { id: "help-title" }, "Keys"),
    h("table", {}, h("tbody", {}, HELP[which].map(([keys, words]) => h("tr", {},
      h("th", { scope: "row", class: "l" }, keys.split(" ").flatMap((key, place) => [place ? " " : "", key === "or" ? "or" : h("kbd", {}, key)])),
      h("td", { class: "l wide" }, words))))),
    h("form", { method: "dialog" }, h("button", {}, "Close")));
  document.body.append(dialog);
  return dialog;
};

const isTyping = (target) => target instanceof Element && target.closest("input, textarea, select, dialog") !== null;

/** Where arrows and the like mean the time: the page itself and its charts, but no other widget. */
const isOnCharts = (target) => target === document.body || target === document.documentElement ||
  (target instanceof Element && target.closest(".timeline, .ruler") !== null && !target.closest("summary, .scroll"));

const runKeys = (page) => {
  const dialog = makeHelp("run");
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || dialog.open) return;
    const view = page.view;
    if (event.key === "Escape" && !isTyping(event.target)) {
      if (view.cursor !== null) view.moveTo(null);
      else view.fit();
      return;
    }
    if (isTyping(event.target)) return;
    const onCharts = isOnCharts(event.target);
    const act = {
      ArrowLeft: onCharts && (() => view.step(event.shiftKey ? -10 : -1)),
      ArrowRight: onCharts && (() => view.step(event.shiftKey ? 10 : 1)),
      Home: onCharts && (() => view.toFirst()),
      End: onCharts && (() => view.toLast()),
      "+": () => view.zoom(.5), "=": () => view.zoom(.5), "-": () => view.zoom(2), 0: () => view.fit(),
      n: () => page.nextFinding(1), p: () => page.nextFinding(-1),
      "/": () => page.focusFilter(), c: () => shade.next(), "?": () => dialog.showModal(),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  return dialog;
};

/** The keyboard of a list of runs: {body, input, help}. */
const rowKeys = (list) => {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || list.help.open) return;
    if (event.key === "Escape" && event.target === list.input) {
      if (list.input.value) {
        list.input.value = "";
        list.input.dispatchEvent(new Event("input"));
      } else list.input.blur();
      event.preventDefault();
      return;
    }
    if (isTyping(event.target)) return;
    const rows = [...list.body.children].filter((row) => row.style.display !== "none");
    const focused = document.activeElement?.closest("tr");
    const place = rows.indexOf(focused);
    const go = (by) => rows[Math.min(Math.max(place + by, 0), rows.length - 1)]?.focus();
    const link = document.activeElement?.matches("tr") ? focused.querySelector("a") : null;
    const act = {
      ArrowDown: () => go(1), j: () => go(1), ArrowUp: () => go(-1), k: () => go(-1),
      Enter: link ? () => location.assign(link.href) : undefined,
      "/": () => list.input.focus(), c: () => shade.next(), "?": () => list.help.showModal(),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
};
