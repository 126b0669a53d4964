# SPDX-License-Identifier: GPL-2.0-only
"""The file: self-contained, bounded, and nothing that a guest said is markup."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.unit.report.page_records import HOSTILE, hostile, lost, run

from ktstr.report.page import html
from ktstr.report.page.assets import embedded, live_index_html, live_run_html
from ktstr.report.page.html import MAX_BYTES, dump_text_of, page_html
from ktstr.report.page.index import IndexRow, index_html
from ktstr.session.wrap_up import DUMP_TEXT


class Elements(HTMLParser):
    """Start tags, and the content of scripts and styles by a browser's rules."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.raw: list[tuple[str, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem is not None:
            self.raw.append((self.cdata_elem, data))

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [found for name, found in self.tags if name == tag]

    def content(self, tag: str, place: int = 0) -> str:
        """Of the element ``place`` of that kind; scripts: first the data, then the code."""
        return [text for name, text in self.raw if name == tag][place]


def digest(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


PAGES = {
    "run": lambda: page_html(run()),
    "hostile": lambda: page_html(hostile()),
    "lost": lambda: page_html(lost()),
    "index": lambda: index_html([IndexRow(HOSTILE, "fail", HOSTILE, 1.0, href="a.runs/b.html")]),
    "live index": live_index_html,
    "live run": lambda: live_run_html("20260101-000000-abcd"),
}


@pytest.mark.parametrize("name", PAGES)
def test_the_policy_names_the_script_and_the_style_and_allows_nothing_else(name: str) -> None:
    found = Elements(PAGES[name]())
    (policy,) = [
        meta["content"]
        for meta in found.attributes("meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    ]
    connect = "'self'" if name.startswith("live") else "'none'"
    assert policy == (
        f"default-src 'none'; script-src {digest(found.content('script', 1))}; "
        f"style-src {digest(found.content('style'))}; connect-src {connect}; "
        "base-uri 'none'; form-action 'none'"
    )


@pytest.mark.parametrize("name", PAGES)
def test_a_page_asks_for_nothing_from_elsewhere(name: str) -> None:
    found = Elements(PAGES[name]())
    assert len(found.attributes("script")) == 2 and len(found.attributes("style")) == 1
    for tag, attributes in found.tags:
        assert tag not in ("img", "link", "iframe", "object", "embed", "base", "form"), tag
        assert "src" not in attributes and not any(a.startswith("on") for a in attributes)
        assert not (attributes.get("href") or "").startswith(("http", "//", "javascript"))


def test_what_a_guest_says_stays_data() -> None:
    found = Elements(page_html(hostile()))
    data = json.loads(found.content("script", 0))
    # Only what could turn a reader's eye around is replaced.
    kept = HOSTILE.replace("\u202e", "?")
    assert data["data"]["name"].startswith(kept[:80])
    assert any(kept in cgroup["name"] for cgroup in data["data"]["cgroups"])


def test_json_cannot_end_its_element() -> None:
    text = embedded({"x": "</script><!--<script>&\u2028\u2029é"})
    assert not re.search("[<>&\u2028\u2029]", text) and text.isascii()
    assert json.loads(text) == {"x": "</script><!--<script>&\u2028\u2029é"}


def test_a_large_run_is_drawn_coarser_until_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    record = run(samples=30, readings=1400, cpus=8, cgroups=4, counters=100, latencies=50)
    whole = page_html(record)
    assert len(whole.encode()) <= MAX_BYTES
    monkeypatch.setattr(html, "MAX_BYTES", len(whole.encode()) // 2)
    small = page_html(record)
    assert len(small.encode()) <= len(whole.encode()) // 2
    data = json.loads(Elements(small).content("script", 0))["data"]
    assert data["cpus"]["readings"] == 1400 > len(data["cpus"]["at_ms"])
    assert data["reasons"], "what failed stays"


def test_a_page_of_the_hardest_run_is_within_its_bound() -> None:
    record = run(
        samples=64, readings=400, cpus=128, cgroups=30, counters=380, steps=8, latencies=50
    )
    record.console_tail = ("k" * 900,) * 400
    assert len(page_html(record).encode()) <= MAX_BYTES


def with_dump(folder: Path, text: str | None) -> Path:
    evidence = folder / "made_up-x.evidence"
    evidence.mkdir()
    if text is not None:
        (evidence / html.DUMP_TEXT).write_text(text)
    return evidence


def test_the_failure_dump_comes_along(tmp_path: Path) -> None:
    record = run()
    record.sidecar = tmp_path / "made_up.ktstr.json"
    record.evidence = with_dump(tmp_path, "scx dump\n</script> <b>\n")
    data = json.loads(Elements(page_html(record)).content("script", 0))["data"]
    assert data["logs"][0]["title"] == "failure dump"
    assert data["logs"][0]["lines"][:2] == ["scx dump", "</script> <b>"]
    assert html.DUMP_TEXT == DUMP_TEXT, "as the evidence calls it"


def test_only_the_evidence_beside_the_record_is_read(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    evidence = with_dump(elsewhere, "secret")
    record = run()
    record.sidecar = tmp_path / "made_up.ktstr.json"
    record.evidence = evidence
    assert dump_text_of(record) is None
    (tmp_path / evidence.name).symlink_to(evidence)
    assert dump_text_of(record) is None, "through a link"
    (tmp_path / evidence.name).unlink()
    mine = with_dump(tmp_path, None)
    (mine / html.DUMP_TEXT).symlink_to(evidence / html.DUMP_TEXT)
    assert dump_text_of(record) is None, "a link in the folder"
    (mine / html.DUMP_TEXT).unlink()
    (mine / html.DUMP_TEXT).write_text("mine")
    assert dump_text_of(record) == "mine"


def test_readers_without_scripts_see_the_verdict_and_why() -> None:
    text = page_html(run())
    assert "<h1>FAIL made_up</h1>" in text
    assert "<li>[Unfair] Step[1] step 2 cg1: unfair cgroup: spread=80.0%</li>" in text


def test_a_list_puts_first_what_did_not_pass() -> None:
    rows = [IndexRow("good", "pass"), IndexRow("bad", "fail", "why"), IndexRow("out", "skip")]
    data = json.loads(Elements(index_html(rows)).content("script", 0))["data"]
    assert [row["label"] for row in data["rows"]] == ["bad", "good", "out"]
    assert data["title"] == "3 runs: 1 pass, 1 fail, 1 skip"
