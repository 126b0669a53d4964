# SPDX-License-Identifier: GPL-2.0-only
"""A run as one HTML file that needs no network."""

from html import escape
from pathlib import Path
from typing import Final

from ktstr.report.page.assets import document
from ktstr.report.page.data import DEFAULT, page_data
from ktstr.report.page.limits import Limits
from ktstr.report.page.schema import PageData
from ktstr.session.record import RunRecord

MAX_BYTES: Final = 1_500_000
"""Largest page, in bytes. A run that would take more is drawn in fewer columns and shorter logs."""

MAX_DUMP: Final = 1 << 20
"""Bytes of a failure dump that are read."""

DUMP_TEXT: Final = "failure-dump.txt"
"""Name of the failure dump in words, in the evidence."""

_HALVINGS: Final = 8


def page_html(record: RunRecord) -> str:
    """The page of one run, whole: at most :data:`MAX_BYTES`.

    The failure dump beside the record comes along where there is one.
    """
    dump = dump_text_of(record)
    limits = DEFAULT
    text = _page(record, dump, limits)
    for _ in range(_HALVINGS):
        # The page is ASCII but for the style's and script's few signs.
        if len(text.encode()) <= MAX_BYTES:
            break
        limits = limits.halved()
        text = _page(record, dump, limits)
    return text


def _page(record: RunRecord, dump: str | None, limits: Limits) -> str:
    data = page_data(record, dump=dump, limits=limits)
    return document(f"{data['verdict']}: {data['name']}", "run", data, summary=_summary(data))


def _summary(data: PageData) -> str:
    """The verdict and its reasons, for who reads the file where scripts do not run."""
    items = "".join(
        f"<li>[{escape(pin['kind'])}] {escape(pin['message'])}</li>" for pin in data["reasons"]
    )
    facts = "".join(
        f"<dt>{escape(label)}</dt><dd>{escape(text)}</dd>" for label, text in data["facts"]
    )
    return (
        f"<h1>{escape(data['verdict'].upper())} {escape(data['name'])}</h1>"
        f"<ol>{items}</ol><dl>{facts}</dl>"
        "<noscript><p>The charts need scripts, which are not run here.</p></noscript>"
    )


def dump_text_of(record: RunRecord) -> str | None:
    """The failure dump in words, out of the evidence beside the record.

    Only there: a record may come from anybody, and names no other file to read.
    """
    if record.sidecar is None or record.evidence is None:
        return None
    folder = record.sidecar.parent / record.evidence.name
    return _read(folder / DUMP_TEXT)


def _read(path: Path) -> str | None:
    if path.is_symlink() or path.parent.is_symlink():
        return None
    try:
        with path.open("rb") as file:
            return file.read(MAX_DUMP).decode("utf-8", "replace")
    except OSError:
        return None
