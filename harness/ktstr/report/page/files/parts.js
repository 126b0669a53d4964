// SPDX-License-Identifier: GPL-2.0-only
// The parts of a run's page that are words and tables.

const LEVELS = { fail: "fail", inconclusive: "inconclusive", skip: "skipped", "cannot run": "fail" };

const phaseTitle = (data, step) => (step === null ? "whole run" : data.phases.find((phase) => phase.step === step)?.title ?? `step ${step}`);

const reasonList = (data, timeOf, show) => {
  const items = data.reasons.map((pin, number) => {
    const at = timeOf(pin);
    const where = [pin.at_ms === null ? phaseTitle(data, pin.step) : seconds(pin.at_ms), pin.cgroup, pin.cpu === null ? null : `cpu ${pin.cpu}`].filter((part) => part !== null).join(" · ");
    return h("li", { id: `finding-${number}` }, h("b", { class: LEVELS[pin.level] }, pin.level === "fail" ? pin.kind : `${pin.kind} (${LEVELS[pin.level]})`), h("span", {}, pin.message),
      at === null ? null : h("button", { type: "button", title: "show it on the timeline", onclick: () => show(number, true) }, where || "show"));
  });
  const titles = { fail: "what failed", inconclusive: "what could not be judged", skip: "what did not apply" };
  const title = data.reasons.length ? titles[data.reasons[0].level] : null;
  return title === null ? null : h("section", { "aria-label": title }, h("h2", {}, title[0].toUpperCase() + title.slice(1)), h("ol", { class: "reasons" }, items));
};

const factList = (data) => h("dl", { class: "facts" }, data.facts.map(([label, text]) => [h("dt", {}, label), h("dd", {}, text)]));

const commandLine = (data) => {
  if (data.command === null) return null;
  const button = h("button", { type: "button", onclick: async () => {
    try { await navigator.clipboard.writeText(data.command); button.textContent = "Copied"; }
    catch { getSelection().selectAllChildren(code); button.textContent = "Selected"; }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  } }, "Copy");
  const code = h("code", {}, data.command);
  return h("div", { class: "command" }, h("span", { class: "quiet" }, "again:"), code, button);
};

const carrierTable = (data) => {
  const rows = data.cgroups.flatMap((cgroup) => cgroup.phases.map((carrier) => ({ cgroup: cgroup.name, ...carrier })));
  rows.sort((a, b) => (a.step ?? Infinity) - (b.step ?? Infinity));
  const lat = (name, which) => (row) => (row[name] === null ? null : latency(row[name][which]));
  return h("div", { class: "scroll" }, table("one row per phase and cgroup; – is not measured", [
    ["phase", true, (row) => phaseTitle(data, row.step)], ["cgroup", true, (row) => row.cgroup], ["workers", false, (row) => figure(row.workers)],
    ["cpus", true, (row) => row.cpus], ["iterations", false, (row) => figure(row.iterations)], ["iter/s", false, (row) => figure(row.iterations_per_s)],
    ["off-CPU %", false, (row) => figure(row.off_cpu_pct)], ["min – max", false, (row) => (row.off_cpu_min_pct === null ? null : `${figure(row.off_cpu_min_pct)} – ${figure(row.off_cpu_max_pct)}`)],
    ["gap ms", false, (row) => (row.gap_cpu === null ? figure(row.gap_ms) : `${figure(row.gap_ms)} @ ${row.gap_cpu}`)], ["migrations", false, (row) => figure(row.migrations)],
    ["wake p50", false, lat("wake", "p50")], ["p99", false, lat("wake", "p99")], ["timer p50", false, lat("timer", "p50")], ["p99", false, lat("timer", "p99")],
    ["run delay µs", false, (row) => figure(row.run_delay_us)], ["", true, (row) => (row.stripped ? "samples left out" : "")],
  ], rows));
};

const metricTable = (data) => {
  const names = new Map(data.metrics.map((metric) => [metric.name, metric]));
  for (const phase of data.phases) for (const name of Object.keys(phase.metrics)) if (!names.has(name)) names.set(name, { name, unit: "", value: null });
  return h("div", { class: "scroll tall" }, table("of the whole run, and of each phase", [
    ["metric", true, (metric) => metric.name], ["unit", true, (metric) => metric.unit], ["run", false, (metric) => figure(metric.value)],
    ...data.phases.map((phase) => [phase.title, false, (metric) => figure(phase.metrics[metric.name])]),
  ], [...names.values()]));
};

const freezeTable = (data) => h("div", { class: "scroll tall" }, table("snapshots: the guest stood still for each", [
  ["tag", true, (freeze) => freeze.tag], ["time", false, (freeze) => seconds(freeze.at_ms)], ["phase", true, (freeze) => phaseTitle(data, freeze.step)],
  ["stood still, ms", false, (freeze) => figure(freeze.paused_ms)], ["", true, (freeze) => freeze.error ?? freeze.trigger ?? ""],
], data.freezes));

const noteList = (data) => h("ul", {}, data.notes.map((note) => h("li", {}, (note.step === null ? "" : phaseTitle(data, note.step) + ": ") + note.message)));

const logFold = (log) => h("details", {}, h("summary", {}, `${log.title}: ${counted(log.lines.length, "line")}`),
  log.left_out > 0 ? h("p", { class: "quiet" }, `${log.left_out} lines more in the evidence`) : null,
  h("pre", { class: "log", tabindex: "0" }, log.lines.join("\n")));
