# SPDX-License-Identifier: GPL-2.0-only
"""Many runs as one page that links to theirs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Final

from ktstr.report.page.assets import document
from ktstr.report.printable import one_line

MAX_ROWS: Final = 5000
_REASON_CHARS: Final = 300


@dataclass(frozen=True, slots=True)
class IndexRow:
    """One run in the list.

    :param wall_s: how long it took; ``None`` when that is not known.
    :param href: its page, relative to the list; empty where it has none.
    """

    label: str
    verdict: str
    reason: str = ""
    wall_s: float | None = None
    kernel: str = ""
    topology: str = ""
    scheduler: str = ""
    href: str = ""


def index_html(rows: Sequence[IndexRow]) -> str:
    """The list of all runs; what did not pass stands first."""
    kept = sorted(rows, key=lambda row: row.verdict in ("pass", "skip"))[:MAX_ROWS]
    plain = [_harmless(row) for row in kept]
    ends = Counter(row.verdict for row in rows)
    title = ", ".join(f"{count} {verdict}" for verdict, count in ends.most_common())
    data = {
        "title": f"{len(rows)} run{'' if len(rows) == 1 else 's'}: {title}",
        "rows": plain,
        "left_out": len(rows) - len(kept),
    }
    return document(f"ktstr: {title}", "index", data, summary=_summary(plain))


def _harmless(row: IndexRow) -> dict[str, object]:
    found = asdict(row)
    texts = {
        name: one_line(text, _REASON_CHARS) for name, text in found.items() if type(text) is str
    }
    # A link is shortened by nothing, or it leads nowhere.
    return {**found, **texts, "href": row.href}


def _summary(rows: Sequence[dict[str, object]]) -> str:
    lines = []
    for row in rows:
        label = escape(str(row["label"]))
        link = f'<a href="{escape(str(row["href"]))}">{label}</a>' if row["href"] else label
        cells = (link, escape(str(row["verdict"])), escape(str(row["reason"])))
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return f"<table>{''.join(lines)}</table>"
