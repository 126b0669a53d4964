# SPDX-License-Identifier: GPL-2.0-only
"""The daemon's pages in a real browser, before a daemon made of lists."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.unit.report.fake_daemon import FakeDaemon, row
from tests.unit.report.page_records import HOSTILE, run

from ktstr.report.page.data import page_data

pytestmark = pytest.mark.timeout(120)

A, B, C = (f"20260101-00000{n}-abcd{n}" for n in (1, 2, 3))


@pytest.fixture
def daemon() -> Iterator[FakeDaemon]:
    """A daemon that listens."""
    found = FakeDaemon()
    found.start()
    yield found
    found.stop()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page that fails for exceptions."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    found = context.new_page()
    errors: list[str] = []
    found.on("pageerror", lambda error: errors.append(str(error)))
    yield found
    context.close()
    assert errors == []


def reading(at_ms: int, *cpus: tuple[int | None, float | None, int | None]) -> dict[str, Any]:
    return {"elapsed_ms": at_ms, "cpus": [list(cpu) for cpu in cpus]}


def states(page: Page) -> list[tuple[str, str]]:
    found = page.evaluate(
        "[...document.querySelectorAll('.queue tbody tr')]"
        ".map((row) => [row.dataset.run, row.dataset.state])"
    )
    return [(run_id, state) for run_id, state in found]


def test_the_queue_shows_what_runs_what_waits_and_what_is_over(
    page: Page, daemon: FakeDaemon
) -> None:
    daemon.set(
        row(
            A,
            "finished",
            verdict="fail",
            exit_code=1,
            error="why",
            started_at=1767225610.0,
            ended_at=1767225612.5,
        )
    )
    daemon.set(row(B))
    daemon.set(row(C, "running", started_at=1767225610.0))
    page.goto(daemon.url)
    expect(page.locator(".queue tbody tr")).to_have_count(3)
    assert states(page) == [(C, "running"), (B, "queued"), (A, "finished")]
    over = page.locator(f"tr[data-run='{A}'] td").all_text_contents()
    assert over[:5] == ["scenario_1", "finished", "fail", "ci", "2"] and over[6:9] == [
        "9.0 s",
        "2.5 s",
        "why",
    ]
    expect(page.locator("header [role=status]")).to_have_text("1 running, 1 queued, 1 finished")
    # A change comes by itself, and a new run as well.
    daemon.set({**daemon.runs[B], "state": "running", "started_at": 1767225620.0})
    daemon.set(row("20260101-000004-abcd4"))
    expect(page.locator(f"tr[data-run='{B}']")).to_have_attribute("data-state", "running")
    expect(page.locator(".queue tbody tr")).to_have_count(4)
    assert [state for _, state in states(page)] == ["running", "running", "queued", "finished"]


def test_a_change_that_overtakes_the_list_is_not_lost(page: Page, daemon: FakeDaemon) -> None:
    daemon.set(row(A, "running"))
    daemon.set(row(B))
    daemon.meanwhile = [row(A, "finished", verdict="pass")]
    page.goto(daemon.url)
    expect(page.locator("html")).to_have_attribute("data-loaded", "")
    expect(page.locator(".queue tbody tr")).to_have_count(2)
    # Whichever comes first, list or change: a change that was lost would never show.
    expect(page.locator(f"tr[data-run='{A}']")).to_have_attribute("data-state", "finished")
    assert states(page) == [(B, "queued"), (A, "finished")]


def test_runs_are_walked_filtered_opened_and_cancelled(page: Page, daemon: FakeDaemon) -> None:
    for run_id in (A, B, C):
        daemon.set(row(run_id))
    page.goto(daemon.url)
    expect(page.locator(".queue tbody tr")).to_have_count(3)
    page.keyboard.press("j")
    page.keyboard.press("ArrowDown")
    expect(page.locator(f"tr[data-run='{B}']")).to_be_focused()
    # The focus stays with the run when its place changes.
    daemon.set({**daemon.runs[B], "state": "running"})
    expect(page.locator(".queue tbody tr").first).to_have_attribute("data-run", B)
    expect(page.locator(f"tr[data-run='{B}']")).to_be_focused()
    page.keyboard.press("/")
    page.keyboard.type("scenario_3")
    expect(page.locator(".queue tbody tr")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator(".queue tbody tr")).to_have_count(3)
    page.keyboard.press("Escape")
    page.locator(f"tr[data-run='{C}'] button").click()
    expect(page.locator(f"tr[data-run='{C}']")).to_have_attribute("data-state", "cancelled")
    assert daemon.cancelled == [C] and page.url == daemon.url + "/"
    expect(page.locator(f"tr[data-run='{C}'] button")).to_be_hidden()
    page.keyboard.press("k")
    page.locator(f"tr[data-run='{A}']").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"{daemon.url}/runs/{A}")


def test_a_kept_guest_is_let_go(page: Page, daemon: FakeDaemon) -> None:
    daemon.set(row(A, "kept", verdict="fail"))
    page.goto(daemon.url)
    page.get_by_role("button", name="Release").click()
    expect(page.locator(f"tr[data-run='{A}']")).to_have_attribute("data-state", "finished")
    assert (daemon.released, daemon.cancelled) == ([A], [])


def test_the_queue_goes_on_after_the_daemon_was_away(page: Page, daemon: FakeDaemon) -> None:
    daemon.set(row(A, "running"))
    page.goto(daemon.url)
    expect(page.locator(".queue tbody tr")).to_have_count(1)
    daemon.stop()
    expect(page.locator(".banner")).to_contain_text("away")
    # While nobody told, one run ended and one came.
    daemon.runs[A] = row(A, "lost")
    daemon.runs[B] = row(B)
    daemon.start()
    expect(page.locator(".queue tbody tr")).to_have_count(2, timeout=15_000)
    assert states(page) == [(B, "queued"), (A, "lost")]
    expect(page.locator(".banner")).to_be_hidden()


def test_a_run_grows_as_its_events_come_and_ends_as_its_record(
    page: Page, daemon: FakeDaemon
) -> None:
    daemon.set(row(A, "running"))
    daemon.tell(A, "stage_done", key="boot", text="booted", seconds=3.25)
    page.goto(f"{daemon.url}/runs/{A}")
    expect(page.locator(".badge")).to_have_text("running")
    expect(page.locator("h1")).to_have_text("scenario_1")
    expect(page.locator("main li", has_text="booted (3.3 s)")).to_be_visible()
    daemon.tell(A, "step_started", index=1, of=2, name="steady", hold_s=2.0)
    daemon.tell(A, "reading", **reading(100, (1, None, 0), (3, None, 1)))
    daemon.tell(A, "reading", **reading(300, (2, 0.5, 0), (None, 1.0, None)))
    expect(page.locator(".band")).to_have_text(["Step[0] steady"])
    expect(page.locator(".timeline p")).to_have_text("2 readings so far.")
    canvas = page.locator("#runnable canvas")
    expect(canvas).to_have_attribute(
        "aria-label", "Runnable tasks: 2 CPUs, 2 readings, up to 3 tasks"
    )
    page.keyboard.press("End")
    assert page.evaluate("ktstr.page.view.cursor") == 300
    expect(page.locator("#busy .readout")).to_have_text("mean 75, max 100 @ 1")
    # What grows leaves cursor and charts where they are.
    page.evaluate("document.querySelector('#runnable canvas').mine = true")
    daemon.tell(A, "reading", **reading(500, (9, 0.1, 0), (0, 0.2, 0)))
    daemon.tell(
        A,
        "froze",
        tag="periodic_000",
        offset_ms=450.0,
        paused_ms=1.5,
        maps=3,
        error=None,
        trigger="",
    )
    expect(page.locator(".timeline p")).to_have_text("3 readings so far.")
    assert page.evaluate(
        "[ktstr.page.view.cursor, document.querySelector('#runnable canvas').mine]"
    ) == [300, True]
    daemon.records[A] = page_data(run())
    daemon.tell(A, "end", **{**daemon.runs[A], "state": "finished", "verdict": "fail"})
    expect(page.locator(".badge")).to_have_text("fail")
    expect(page.locator(".band")).to_have_count(3)
    expect(page.locator(".reasons li")).to_have_count(3)
    expect(page.locator("#counters .row", has_text="nr_2")).to_have_count(1)
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("ktstr.page.view.cursor") == 100


def test_a_run_goes_on_after_the_daemon_was_away(page: Page, daemon: FakeDaemon) -> None:
    daemon.set(row(A, "running"))
    daemon.tell(A, "step_started", index=1, of=1, name="", hold_s=5.0)
    daemon.tell(A, "reading", **reading(100, (1, None, 0)))
    page.goto(f"{daemon.url}/runs/{A}")
    expect(page.locator(".timeline p")).to_have_text("1 reading so far.")
    daemon.stop()
    expect(page.locator(".banner")).to_contain_text("away")
    daemon.tell(A, "reading", **reading(300, (2, 0.5, 0)))
    daemon.start()
    expect(page.locator(".timeline p")).to_have_text("2 readings so far.", timeout=15_000)
    expect(page.locator(".banner")).to_be_hidden()
    assert page.evaluate("ktstr.page.page.data.cpus.at_ms") == [100, 300], "nothing twice"
    assert daemon.asked[-1] == "after=2"


def test_readings_that_were_thinned_out_are_told_as_they_are_drawn(
    page: Page, daemon: FakeDaemon
) -> None:
    daemon.set(row(A, "running"))
    for at_ms, most in ((100, 2), (300, 5), (500, 7)):
        daemon.tell(A, "reading", **reading(at_ms, (most, None, 0), (1, None, 0)))
    page.goto(f"{daemon.url}/runs/{A}")
    expect(page.locator(".timeline p")).to_have_text("3 readings so far.")
    # In one go, before the page takes its own data again.
    told = page.evaluate(
        "(() => { const row = ktstr.page.page.lines.get('imbalance');"
        " row.take([2, 7], [100, 500]); row.point(500);"
        " return row.element.querySelector('.readout').textContent; })()"
    )
    assert told == "7"


def test_a_run_that_left_no_record_says_why(page: Page, daemon: FakeDaemon) -> None:
    daemon.set(row(A, "lost", error="the process that ran it is gone"))
    page.goto(f"{daemon.url}/runs/{A}")
    expect(page.locator(".badge")).to_have_text("lost")
    expect(page.locator(".banner")).to_contain_text("the process that ran it is gone")


def test_a_run_that_is_over_is_shown_at_once(page: Page, daemon: FakeDaemon) -> None:
    daemon.set(row(A, "finished", verdict="fail", exit_code=1))
    daemon.records[A] = page_data(run())
    page.goto(f"{daemon.url}/runs/{A}")
    expect(page.locator(".reasons li")).to_have_count(3)
    page.get_by_role("link", name="queue").click()
    page.wait_for_url(daemon.url + "/")


def test_what_a_guest_says_is_text_on_live_pages_too(page: Page, daemon: FakeDaemon) -> None:
    daemon.set(row(A, "running", name=HOSTILE, error=HOSTILE))
    daemon.tell(A, "note", text=HOSTILE, warning=True)
    daemon.tell(A, "step_started", index=1, of=1, name=HOSTILE, hold_s=2.0)
    page.goto(daemon.url)
    expect(page.locator(".queue tbody a")).to_have_text(HOSTILE)
    page.goto(f"{daemon.url}/runs/{A}")
    expect(page.locator("main li")).to_have_text(HOSTILE)
    expect(page.locator(".band")).to_contain_text("<img")
    assert page.locator("img").count() == 0


@pytest.mark.parametrize("path", ["/", f"/runs/{A}"])
def test_a_telephone_is_wide_enough(page: Page, daemon: FakeDaemon, path: str) -> None:
    daemon.set(row(A, "running"))
    daemon.tell(A, "reading", **reading(100, (1, None, 0)))
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(daemon.url + path)
    expect(page.locator(".queue tbody tr, .timeline p").first).to_be_attached()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
