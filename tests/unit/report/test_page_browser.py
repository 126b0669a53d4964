# SPDX-License-Identifier: GPL-2.0-only
"""Pages in a real browser: what they show, by keyboard and pointer, in light, dark and narrow."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.unit.report.page_records import hostile, lost, run

from ktstr.report.page.html import page_html
from ktstr.report.page.index import IndexRow, index_html
from ktstr.session.record import RunRecord

pytestmark = pytest.mark.timeout(120)

Open = Callable[..., Page]


@pytest.fixture
def said() -> list[str]:
    """What pages complained of or asked for."""
    return []


@pytest.fixture
def opened(browser: Browser, tmp_path: Path, said: list[str]) -> Iterator[Open]:
    """Opens a record's page, or a text; fails for anything the page complains of or asks for."""
    contexts = []

    def open_page(what: RunRecord | str, ready: bool = True, **options: Any) -> Page:
        file = tmp_path / "page.html"
        file.write_text(what if isinstance(what, str) else page_html(what), "utf-8")
        viewport = {"width": options.pop("width", 1280), "height": options.pop("height", 900)}
        context = browser.new_context(viewport=viewport, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda r: None if r.url == file.as_uri() else said.append(r.url))
        page.goto(file.as_uri())
        if ready:
            page.wait_for_selector("html[data-ready]", state="attached")
        return page

    yield open_page
    for context in contexts:
        context.close()
    # To read pixels back, as these tests do, costs the browser more than it likes.
    assert [text for text in said if "willReadFrequently" not in text] == []


def cursor(page: Page) -> float | None:
    """Where the time cursor is, ms."""
    found: float | None = page.evaluate("ktstr.page.view.cursor")
    return found


def drawn(page: Page) -> None:
    """Wait until what changed is on the screen: the second frame from now has it."""
    page.evaluate("new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))")


def text_of(page: Page, selector: str) -> list[str]:
    return [found.strip() for found in page.locator(selector).all_text_contents()]


PIXEL = """([id, row, time]) => {
  const page = ktstr.page, canvas = document.querySelector(`#${id} canvas`);
  const tall = canvas.height / page.data.cpus.cpus.length;
  const x = Math.round(page.view.x(time) * canvas.width / page.view.width);
  return [...canvas.getContext("2d").getImageData(x, Math.round((row + .4) * tall), 1, 1).data];
}"""


def lightness(page: Page, chart: str, cpu: int, time: float) -> float:
    red, green, blue, alpha = page.evaluate(PIXEL, [chart, cpu, time])
    assert alpha == 255
    return float(0.2126 * red + 0.7152 * green + 0.0722 * blue)


def test_the_verdict_and_its_reasons_come_first(opened: Open) -> None:
    page = opened(run())
    expect(page).to_have_title("fail: made_up")
    assert text_of(page, ".badge") == ["fail"]
    assert text_of(page, ".reasons li > b") == ["Stuck", "Unfair", "Other (inconclusive)"]
    assert text_of(page, ".reasons li > button") == [
        "2.900 s · cg0 · cpu 1",
        "Step[1] step 2 · cg1",
    ]
    first = page.locator("main h2").first
    assert first.text_content() == "What failed"
    facts = dict(zip(text_of(page, "dl.facts dt"), text_of(page, "dl.facts dd"), strict=True))
    assert facts["kernel"] == "7.2 (debian:7)" and facts["topology"] == "1n2l2c1t, 512 MiB"
    assert facts["clock"] == "wall" and facts["scheduler"] == "scx_made_up"
    assert text_of(page, ".command code") == ["""ktstr-run '/tmp/it'"'"'s.toml'"""]


def test_charts_share_one_axis_of_time(opened: Open) -> None:
    page = opened(run())
    assert text_of(page, ".ruler .band") == ["Step[0] step 1", "Step[1] step 2", "Step[2] step 3"]
    lefts = page.evaluate(
        "[...document.querySelectorAll('.ruler .plot, .timeline .plot')]"
        ".filter((plot) => plot.offsetParent)"
        ".map((plot) => plot.getBoundingClientRect()).map((box) => [box.left, box.width])"
    )
    assert len(lefts) > 12 and all(place == lefts[0] for place in lefts)
    bands = page.evaluate(
        "[...document.querySelectorAll('.band')].map((band) => [band.offsetLeft, band.offsetWidth])"
    )
    width = lefts[0][1]
    for place, (left, wide) in enumerate(bands):
        assert left == pytest.approx(place * width / 3, abs=1.5)
        assert wide == pytest.approx(width / 3, abs=1.5)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_heat_maps_have_the_values_where_they_belong(opened: Open, scheme: str) -> None:
    # CPU k was busy for k quarters of the time, all along.
    page = opened(run(), color_scheme=scheme)
    found = [lightness(page, "busy", cpu, 3050.0) for cpu in range(4)]
    # The highest value is furthest from the background.
    assert found == sorted(found, reverse=scheme == "light") and len(set(found)) == 4
    # Local queues go 0, 1, 2, 0 … from reading to reading, and from CPU to CPU.
    assert [lightness(page, "dsq", 0, t) for t in (3050.0, 3150.0, 3250.0)] == [
        lightness(page, "dsq", cpu, 3050.0) for cpu in (0, 1, 2)
    ]
    assert lightness(page, "dsq", 0, 3050.0) != lightness(page, "dsq", 0, 3150.0)


def test_what_was_not_measured_is_not_drawn_as_zero(opened: Open) -> None:
    page = opened(run())
    # A share of time is of what lies before a reading; behind the last there is none.
    assert page.evaluate(PIXEL, ["busy", 0, 5990.0]) != page.evaluate(PIXEL, ["busy", 0, 3000.0])


def test_arrows_move_the_cursor_through_the_readings_in_all_charts(opened: Open) -> None:
    page = opened(run())
    assert cursor(page) is None
    page.keyboard.press("ArrowRight")
    assert cursor(page) == 0
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert cursor(page) == 300
    page.keyboard.press("Shift+ArrowRight")
    assert cursor(page) == 1300
    page.keyboard.press("ArrowLeft")
    assert cursor(page) == 1200
    # Reading 12: 2 + 2 sin(12/9 + cpu) rounds to 4, 3, 2, 0; queues are 0, 1, 2, 0 deep.
    assert text_of(page, "#runnable .readout") == ["Σ 9, max 4 @ 0"]
    assert text_of(page, "#dsq .readout") == ["Σ 3, max 2 @ 2"]
    assert text_of(page, "#busy .readout") == ["mean 38, max 75 @ 3"]
    assert text_of(page, "#throughput .readout") == ["500 iter/s", "500 iter/s"]
    slider = page.locator("[role=slider]")
    expect(slider).to_have_attribute("aria-valuenow", "1200")
    expect(slider).to_have_attribute("aria-valuetext", re.compile(r"^1\.200 s, Step\[0\] step 1"))
    lines = page.evaluate(
        "[...document.querySelectorAll('.cursor')].map((line) =>"
        " [line.style.visibility, line.getBoundingClientRect().left])"
    )
    assert [visibility for visibility, _ in lines] == ["visible"] * 3
    assert len({round(left) for _, left in lines}) == 1
    box = page.locator(".ruler .plot").bounding_box()
    assert box is not None and lines[0][1] == pytest.approx(box["x"] + box["width"] / 5, abs=1)
    page.keyboard.press("End")
    assert cursor(page) == 5900
    page.keyboard.press("ArrowRight")
    assert cursor(page) == 5900
    page.keyboard.press("Home")
    assert cursor(page) == 0
    page.keyboard.press("Escape")
    assert cursor(page) is None
    assert page.locator(".cursor").first.is_hidden()


def test_counters_tell_value_and_rate_at_the_cursor(opened: Open) -> None:
    page = opened(run())
    page.locator("#counters").scroll_into_view_if_needed()
    # Snapshots at 250, 750 …: nr_2 grows by 3 in half a second.
    page.evaluate("ktstr.page.view.moveTo(1300)")
    row = page.locator("#counters .row", has_text="nr_2")
    expect(row.locator(".readout")).to_have_text("6  +6/s")
    page.evaluate("ktstr.page.view.moveTo(100)")
    expect(row.locator(".readout")).to_have_text("–")
    huge = page.locator("#counters .row", has_text="huge").locator(".readout")
    page.evaluate("ktstr.page.view.moveTo(800)")
    expect(huge).to_contain_text("9223372036854775809")


def test_zoom_keeps_the_cursor_and_shows_less(opened: Open) -> None:
    page = opened(run())
    page.evaluate("ktstr.page.view.moveTo(1500)")
    page.keyboard.press("+")
    page.keyboard.press("+")
    window = page.evaluate("[ktstr.page.view.from, ktstr.page.view.to]")
    assert window == [1125, 2625]
    expect(page.locator(".band")).to_have_count(2)
    page.keyboard.press("-")
    assert page.evaluate("ktstr.page.view.to - ktstr.page.view.from") == 3000
    page.keyboard.press("0")
    expect(page.locator(".band")).to_have_count(3)
    page.keyboard.press("+")
    page.keyboard.press("Escape")
    assert cursor(page) is None and page.evaluate("ktstr.page.view.zoomed") is True
    page.keyboard.press("Escape")
    assert page.evaluate("ktstr.page.view.zoomed") is False


def test_a_drag_chooses_a_stretch_and_two_clicks_show_all(opened: Open) -> None:
    page = opened(run())
    box = page.locator(".ruler .plot").bounding_box()
    assert box is not None
    y = box["y"] + 30
    page.mouse.move(box["x"] + box["width"] / 3, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, y)
    page.mouse.move(box["x"] + box["width"] * 2 / 3, y)
    page.mouse.up()
    window = page.evaluate("[ktstr.page.view.from, ktstr.page.view.to]")
    assert window == pytest.approx([2000, 4000], abs=20)
    page.mouse.dblclick(box["x"] + 100, y)
    assert page.evaluate("ktstr.page.view.zoomed") is False


def test_the_pointer_tells_one_cpu(opened: Open) -> None:
    page = opened(run())
    box = page.locator("#busy .plot").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] * 0.9)
    assert text_of(page, "#busy .readout") == ["cpu 3: 75 %"]


def test_findings_are_pinned_and_lead_to_their_place(opened: Open) -> None:
    page = opened(run())
    pins = page.locator(".pin")
    expect(pins).to_have_count(2)
    page.locator(".reasons button").first.click()
    assert cursor(page) == 2900
    expect(page.locator("#runnable")).to_be_in_viewport()
    expect(page.locator("[role=slider]")).to_be_focused()
    page.keyboard.press("p")
    expect(page.locator("#finding-2")).to_be_in_viewport()
    page.keyboard.press("n")
    expect(page.locator("#finding-0 button")).to_be_focused()
    pin = page.get_by_role(
        "button", name="[Unfair] Step[1] step 2 cg1: unfair cgroup: spread=80.0%"
    )
    pin.click()
    assert cursor(page) == 2000
    # Where the CPU's row is, the finding's mark covers the cell; beside it the cell shows.
    marked = page.evaluate(PIXEL, ["runnable", 1, 2900.0])
    assert marked != page.evaluate(PIXEL, ["runnable", 1, 2960.0])
    assert marked[0] > marked[2] + 60, "a failure is red"


def test_a_phase_too_narrow_for_its_name_has_its_number(opened: Open) -> None:
    page = opened(run(steps=20, samples=20))
    assert text_of(page, ".band") == [str(number) for number in range(20)]
    assert page.locator(".band").nth(3).get_attribute("title") == (
        "Step[3] step 4: 6.000 s to 8.000 s; ops=0, 2 cgroups, 4 workers"
    )


def test_the_filter_finds_counters_also_those_folded_away(opened: Open) -> None:
    page = opened(run())
    page.keyboard.press("/")
    expect(page.locator("#filter")).to_be_focused()
    page.keyboard.type("made_up const")
    rows = page.locator("#counters .row:visible")
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text("constant")
    page.keyboard.press("Escape")
    assert page.locator("#counters .row:visible").count() > 6
    page.keyboard.press("Escape")
    expect(page.locator("#filter")).not_to_be_focused()


def test_help_opens_and_closes_and_keys_rest_meanwhile(opened: Open) -> None:
    page = opened(run())
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keys")
    expect(dialog).to_be_visible()
    page.keyboard.press("ArrowRight")
    assert cursor(page) is None
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_everything_can_be_reached_by_tab_and_shows_its_focus(opened: Open) -> None:
    page = opened(run())
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        found = page.evaluate(
            "(() => { const e = document.activeElement, s = getComputedStyle(e);"
            " return [e.tagName + (e.id && '#' + e.id) + (e.className && '.' + e.className),"
            " s.outlineStyle, parseFloat(s.outlineWidth)]; })()"
        )
        if found[0].startswith("BODY"):
            break
        reached.append(found[0])
        assert found[1] != "none" and found[2] >= 1, found
    assert {"DIV#time.axis", "INPUT#filter", "SUMMARY", "A.skip", "BUTTON.pin fail"} <= set(reached)
    assert reached.index("A.skip") == 0


def test_arrows_belong_to_what_has_the_focus(opened: Open) -> None:
    page = opened(run())
    page.locator("#filter").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.type("+0")
    assert cursor(page) is None and page.evaluate("ktstr.page.view.zoomed") is False


def test_every_picture_has_words_and_a_table(opened: Open) -> None:
    page = opened(run())
    nameless = page.evaluate(
        "[...document.querySelectorAll('canvas:not([aria-hidden])')]"
        ".filter((c) => c.getAttribute('role') !== 'img' || !c.getAttribute('aria-label')).length"
    )
    assert nameless == 0
    label = page.locator("#runnable canvas").get_attribute("aria-label")
    assert label == "Runnable tasks: 4 CPUs, 60 readings, up to 4 tasks"
    for button in page.locator("button").all():
        assert button.get_attribute("aria-label") or (button.text_content() or "").strip()
    page.locator("#dsq summary").click()
    tables = page.locator("#dsq table")
    expect(tables).to_have_count(2)
    # Of 20 readings 0, 1, 2, 0 …: CPU 0 in the first step has 19 in 20, CPU 2 has 21.
    assert text_of(page, "#dsq table >> nth=0 >> tbody tr >> nth=0 >> td")[0] == "0.95 / 2"
    cells = text_of(page, "#dsq table >> nth=1 >> tbody tr >> nth=1 >> th, td")[:1]
    assert cells == ["0.100 s"]
    row = page.locator("#dsq table").nth(1).locator("tbody tr").nth(1).locator("td")
    assert row.all_text_contents() == ["1", "2", "0", "1"]


def test_latencies_are_told_on_one_logarithmic_scale(opened: Open) -> None:
    page = opened(run())
    rows = page.locator("#wake .row[data-cgroup]")
    expect(rows).to_have_count(6)
    data = page.evaluate("ktstr.page.data.cgroups[1].phases[2].wake")
    label = rows.nth(5).locator("canvas").get_attribute("aria-label") or ""
    assert label.startswith("Wake latencies, cg1, Step[2] step 3: 1,000 of them, median ")
    page.locator("#wake").scroll_into_view_if_needed()
    drawn(page)
    # The median's line stands where the scale, of whole decades, has it.
    dark = page.evaluate(
        """([p50]) => {
          const rows = ktstr.page.data.cgroups.flatMap((c) => c.phases.map((p) => p.wake));
          const low = Math.floor(Math.min(...rows.map((r) => r.first_bin)) / 10);
          const high = Math.ceil(Math.max(...rows.map((r) => r.first_bin + r.counts.length)) / 10);
          const canvas = document.querySelectorAll('#wake canvas')[6];
          const x = (Math.log10(p50) - low) / (high - low) * canvas.width;
          const at = canvas.getContext('2d').getImageData(Math.round(x) - 2, 2, 5, 1).data;
          return Math.max(...[0, 1, 2, 3, 4].map((i) => at[4 * i + 3]));
        }""",
        [data["p50"]],
    )
    assert dark > 120


CONTRASTS = """() => {
  const parse = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255).map((c) =>
    c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, at) => sum + c * [.2126, .7152, .0722][at], 0);
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
  };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !element.checkVisibility()) continue;
    const a = light(parse(getComputedStyle(element).color)), b = light(behind(element));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    const where = element.tagName + '.' + element.className;
    found.push([ratio, where, walk.currentNode.data.slice(0, 30)]);
  }
  return found.sort((a, b) => a[0] - b[0]);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read(opened: Open, scheme: str) -> None:
    page = opened(run(), color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    page.keyboard.press("?")
    found = page.evaluate(CONTRASTS)
    assert len(found) > 100 and found[0][0] >= 4.5, found[:5]
    # What canvases write is in these two colours on these grounds.
    ratio = """([ink, ground]) => {
      const probe = document.createElement('span');
      document.body.append(probe);
      const get = (name) => {
        probe.style.color = `var(--${name})`;
        return getComputedStyle(probe).color;
      };
      const found = [get(ink), get(ground)];
      probe.remove();
      return found;
    }"""
    for ink in ("fg", "muted"):
        for ground in ("bg", "band-b", "void"):
            a, b = (_luminance(text) for text in page.evaluate(ratio, [ink, ground]))
            assert (max(a, b) + 0.05) / (min(a, b) + 0.05) >= 4.5, (ink, ground)


def _luminance(text: str) -> float:
    channels = [int(part) / 255 for part in re.findall(r"\d+", text)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_switch_goes_from_the_systems_shade_to_light_and_dark(opened: Open) -> None:
    page = opened(run(), color_scheme="dark")
    html = page.locator("html")
    expect(html).to_have_attribute("data-shade", "dark")
    button = page.get_by_role("button", name="Colours: auto")
    before = lightness(page, "busy", 3, 3050.0)
    button.click()
    expect(html).to_have_attribute("data-shade", "light")
    drawn(page)
    assert lightness(page, "busy", 3, 3050.0) < before
    page.keyboard.press("c")
    expect(html).to_have_attribute("data-shade", "dark")
    expect(page.locator(".tools button", has_text="Colours")).to_have_text("Colours: dark")
    page.keyboard.press("c")
    page.emulate_media(color_scheme="light")
    expect(html).to_have_attribute("data-shade", "light")


@pytest.mark.parametrize("record", [run, hostile, lost])
def test_a_telephone_is_wide_enough(opened: Open, record: Callable[[], RunRecord]) -> None:
    page = opened(record(), width=360, height=740)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    page.wait_for_timeout(50)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_from_between_two_readings_a_step_leads_to_either(opened: Open) -> None:
    page = opened(run())
    before, after = page.evaluate("ktstr.page.view.stops.slice(3, 5)")
    for key, place in (("ArrowLeft", before), ("ArrowRight", after)):
        page.evaluate(f"ktstr.page.view.moveTo({(before + after) / 2})")
        page.keyboard.press(key)
        assert cursor(page) == place


def test_who_wants_less_motion_gets_none(opened: Open) -> None:
    page = opened(run(), reduced_motion="reduce")
    style = "getComputedStyle(document.documentElement).scrollBehavior"
    assert page.evaluate(style) == "auto"
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate(style) == "smooth"


def test_on_paper_nothing_sticks_and_no_button_is_left(opened: Open) -> None:
    page = opened(run(), color_scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.querySelector('.top')).position") == "static"
    assert page.locator(".tools").is_hidden() and page.locator(".filter").is_hidden()
    undrawn = (
        "[...document.querySelectorAll('.latency canvas')].filter((c) => c.width < 400).length"
    )
    assert page.evaluate(undrawn) > 0
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(undrawn) == 0, "what was never scrolled to is on paper as well"
    expect(page.locator("html")).to_have_attribute("data-shade", "light")


def test_without_scripts_the_verdict_is_there(opened: Open) -> None:
    page = opened(run(), ready=False, java_script_enabled=False)
    expect(page.locator("h1")).to_have_text("FAIL made_up")
    expect(page.locator("ol li")).to_have_count(3)


def test_what_a_guest_named_is_only_ever_text(opened: Open) -> None:
    page = opened(hostile())
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    for key in ("n", "ArrowRight", "End"):
        page.keyboard.press(key)
    page.locator(".reasons button").first.click()
    page.wait_for_timeout(100)
    assert page.locator("img").count() == 0 and page.locator("script").count() == 0
    assert page.title().startswith("fail: <img src=x onerror=document.title=1></script>")
    body = page.locator("body").inner_text()
    for word in ("cg0", "step 1", "nr_0", "a word of the run", "the kernel", "served"):
        assert f"&\"'{word}" in body or f"&\"'[1.0] {word}" in body, word


def test_the_policy_holds_against_a_script_in_the_page(opened: Open, said: list[str]) -> None:
    page = opened(run())
    refused = page.evaluate(
        """new Promise((done) => {
          document.addEventListener('securitypolicyviolation',
            (event) => done(event.violatedDirective));
          const script = document.createElement('script');
          script.textContent = 'document.title = 3';
          document.body.append(script);
        })"""
    )
    assert refused.startswith("script-src") and page.title() == "fail: made_up"
    # The browser says so on the console as well.
    (complaint,) = said
    assert "Content Security Policy" in complaint
    said.clear()


def test_a_lost_guest_has_a_page_without_charts(opened: Open) -> None:
    page = opened(lost())
    assert text_of(page, ".badge") == ["guest lost"]
    assert "no sign of life" in page.locator(".reasons").inner_text()
    assert page.locator(".ruler").is_hidden() and page.locator(".timeline canvas").count() == 0
    page.locator("summary", has_text="kernel log").click()
    expect(page.locator(".log")).to_have_text("[2.0] the last word")


def test_the_list_of_runs_is_filtered_and_opened_by_keys(opened: Open, tmp_path: Path) -> None:
    (tmp_path / "x.runs").mkdir()
    (tmp_path / "x.runs" / "b.html").write_text("<title>the page</title>")
    rows = [
        IndexRow("good", "pass", wall_s=1.25, kernel="7.2"),
        IndexRow("bad", "fail", "why", href="x.runs/b.html"),
        IndexRow("none", "cannot run", "no such file"),
    ]
    page = opened(index_html(rows))
    assert text_of(page, ".queue tbody tr td:first-child") == ["bad", "none", "good"]
    page.keyboard.press("/")
    page.keyboard.type("7.2")
    expect(page.locator(".queue tbody tr:visible")).to_have_count(1)
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    expect(page.locator(".queue tbody tr").first).to_be_focused()
    link = page.locator(".queue tbody tr").first.locator("a").get_attribute("href")
    assert link == "x.runs/b.html"
