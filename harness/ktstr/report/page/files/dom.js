// SPDX-License-Identifier: GPL-2.0-only
// Elements and words. Text from a run only ever becomes a text node or the value of an attribute
// that holds text.

const h = (tag, attributes, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined));
  return element;
};

const NOT_MEASURED = "–";
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

/** A figure: three digits that count, all of a whole number. */
const figure = (value) => {
  if (value === null || value === undefined || value === "") return NOT_MEASURED;
  const number = Number(value);
  if (!Number.isFinite(number)) return NOT_MEASURED;
  if (Math.abs(number) > Number.MAX_SAFE_INTEGER) return String(value);
  return Math.abs(number) >= 100 || Number.isInteger(number) ? whole.format(number) : short.format(number);
};

/** A figure in few letters: 197k, 1.2M. */
const brief = (value) => {
  if (value === null || value === undefined) return NOT_MEASURED;
  for (const [unit, size] of [["G", 1e9], ["M", 1e6], ["k", 1e3]]) {
    if (Math.abs(value) >= size) return short.format(value / size) + unit;
  }
  return short.format(value);
};

/** A number of things. */
const counted = (count, thing) => `${whole.format(count)} ${thing}${count === 1 ? "" : "s"}`;

const seconds = (ms) => (ms === null || ms === undefined ? NOT_MEASURED : (ms / 1000).toFixed(3) + " s");

/** A latency in ns with the unit that fits. */
const latency = (ns) => {
  if (ns === null || ns === undefined) return NOT_MEASURED;
  for (const [unit, size] of [["s", 1e9], ["ms", 1e6], ["µs", 1e3]]) {
    if (ns >= size) return short.format(ns / size) + " " + unit;
  }
  return whole.format(ns) + " ns";
};

/** A table whose columns are [title, isText, value of a row]. */
const table = (caption, columns, rows) =>
  h("table", {},
    h("caption", {}, caption),
    h("thead", {}, h("tr", {}, columns.map(([title, text]) => h("th", { scope: "col", class: text ? "l" : "" }, title)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, columns.map(([, text, of], place) => {
      const cell = of(row);
      const shown = cell === null || cell === undefined ? NOT_MEASURED : cell;
      return place ? h("td", { class: text ? "l" : "" }, shown) : h("th", { scope: "row", class: "l" }, shown);
    })))));

/** A fold whose content is made when it is opened. */
const fold = (title, make) => {
  const holder = h("div", {});
  return h("details", { ontoggle: (event) => {
    if (event.target.open) holder.replaceChildren(make());
  } }, h("summary", {}, title), holder);
};

/** The place of the last of the ascending `times` that is not after `time`; -1 before the first. */
const placeAt = (times, time) => {
  let low = 0, high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= time) low = middle + 1;
    else high = middle;
  }
  return low - 1;
};
