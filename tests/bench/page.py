# SPDX-License-Identifier: GPL-2.0-only
"""The page of a large run: writing it, opening it in Chromium, moving in it."""

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import sync_playwright
from tests.unit.report.browser import launch
from tests.unit.report.page_records import run

from ktstr.report.page.html import page_html

MOVES = 200
# From the start of the navigation to the frame after the first that was drawn.
READY = "performance.getEntriesByName('ktstr-ready')[0].startTime"
MOVE = """(moves) => {
  const view = ktstr.page.view, took = [];
  for (let at = 0; at < moves; at++) {
    const began = performance.now();
    view.step(at % 7 ? 1 : 3);
    took.push(performance.now() - began);
  }
  return took;
}"""
ZOOM = """async () => {
  const view = ktstr.page.view, took = [];
  for (let at = 0; at < 20; at++) {
    view.zoom(at % 2 ? 2 : .5);
    cancelAnimationFrame(view.pending);
    view.pending = 0;
    const began = performance.now();
    for (const chart of view.charts) if (chart.seen) view.freshen(chart);
    took.push(performance.now() - began);
  }
  return took;
}"""


@dataclass
class Figures:
    """Seconds of each repetition, ms of each move and zoom of 1 000 readings, bytes of the page."""

    write_s: list[float] = field(default_factory=list)
    ready_s: list[float] = field(default_factory=list)
    move_ms: list[float] = field(default_factory=list)
    zoom_ms: list[float] = field(default_factory=list)
    size_mb: float = 0.0
    large_mb: float = 0.0


def measure(runs: int) -> Figures:
    """64 samples, 16 CPUs, 8 cgroups; and for moves and zooms 1 000 readings of each CPU."""
    figures = Figures()
    record = run(samples=64, readings=64, cpus=16, cgroups=8, steps=4, counters=120, latencies=5000)
    large = run(
        samples=64, readings=1000, cpus=16, cgroups=8, steps=4, counters=120, latencies=5000
    )
    with tempfile.TemporaryDirectory(prefix="ktstr-bench-") as scratch, sync_playwright() as play:
        browser = launch(play)
        page_file, large_file = Path(scratch) / "page.html", Path(scratch) / "large.html"
        for _ in range(runs):
            began = time.perf_counter()
            text = page_html(record)
            figures.write_s.append(time.perf_counter() - began)
            page_file.write_text(text, "utf-8")
            page = browser.new_page()
            page.goto(page_file.as_uri())
            page.wait_for_selector("html[data-ready]", state="attached")
            figures.ready_s.append(page.evaluate(READY) / 1000)
            page.close()
        figures.size_mb = page_file.stat().st_size / 1e6
        large_file.write_text(page_html(large), "utf-8")
        figures.large_mb = large_file.stat().st_size / 1e6
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(large_file.as_uri())
        page.wait_for_selector("html[data-ready]", state="attached")
        page.evaluate("document.getElementById('runnable').scrollIntoView()")
        page.wait_for_timeout(300)
        figures.move_ms = page.evaluate(MOVE, MOVES)
        figures.zoom_ms = page.evaluate(ZOOM)
        browser.close()
    return figures
