// SPDX-License-Identifier: GPL-2.0-only
// What a page begins with: its data lie in the page.

shade.start();
const whatToDraw = JSON.parse(document.getElementById("data").textContent);
const pages = { run: (data) => new RunPage(data), live: (data) => new LiveRun(data.run_id), queue: () => new Queue(), index: (data) => new Index(data) };
globalThis.ktstr = { page: pages[whatToDraw.page](whatToDraw.data) };
requestAnimationFrame(() => requestAnimationFrame(() => {
  performance.mark("ktstr-ready");
  document.documentElement.dataset.ready = "";
}));
