// SPDX-License-Identifier: GPL-2.0-only
// Colours. The ramp grows steadily in lightness, so it reads without colour vision and in grey;
// the highest value is the one furthest from the background, in both shades.

const RAMP = [[11, 4, 5], [56, 42, 84], [57, 93, 156], [52, 151, 169], [96, 206, 172], [222, 245, 229]];

const isDark = () => document.documentElement.dataset.shade === "dark";

/** Red, green and blue of `share`, from 0 to 1. */
const rampColour = (share) => {
  const along = (isDark() ? .1 + .9 * share : .13 + .87 * (1 - share)) * (RAMP.length - 1);
  const place = Math.min(Math.floor(along), RAMP.length - 2);
  const part = along - place;
  return RAMP[place].map((low, channel) => Math.round(low + (RAMP[place + 1][channel] - low) * part));
};

const rampCss = () => {
  const stops = [0, .2, .4, .6, .8, 1].map((share) => `rgb(${rampColour(share).join(" ")})`);
  return `linear-gradient(to right, ${stops.join(", ")})`;
};

const colours = {};
/** Read the style sheet's colours again; canvases cannot use variables. */
const readColours = () => {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["bg", "fg", "muted", "line", "accent", "fail", "doubt", "mark", "void", "band-b", "cold"]) {
    colours[name] = style.getPropertyValue("--" + name).trim();
  }
};

const shadeQuery = matchMedia("(prefers-color-scheme: dark)");
const shade = {
  choice: "auto",
  listeners: [],
  apply() {
    const dark = this.choice === "dark" || (this.choice === "auto" && shadeQuery.matches);
    document.documentElement.dataset.shade = dark ? "dark" : "light";
    readColours();
    for (const listener of this.listeners) listener();
  },
  next() {
    this.choice = { auto: "light", light: "dark", dark: "auto" }[this.choice];
    try { localStorage.setItem("ktstr-shade", this.choice); } catch { /* a file has no storage */ }
    this.apply();
  },
  start() {
    try { this.choice = localStorage.getItem("ktstr-shade") ?? "auto"; } catch { /* as above */ }
    if (!["auto", "light", "dark"].includes(this.choice)) this.choice = "auto";
    shadeQuery.addEventListener("change", () => this.apply());
    addEventListener("beforeprint", () => { document.documentElement.dataset.shade = "light"; readColours(); for (const l of this.listeners) l(); });
    addEventListener("afterprint", () => this.apply());
    this.apply();
  },
};

const shadeButton = () => {
  const label = () => `Colours: ${shade.choice}`;
  const button = h("button", { type: "button", title: "light, dark, or as the system has it", onclick: () => shade.next() }, label());
  shade.listeners.push(() => { button.textContent = label(); });
  return button;
};
