# SPDX-License-Identifier: GPL-2.0-only
"""Scripts and styles of the pages, and the pages that the daemon serves while runs go on.

Every page is one document without a word from elsewhere: script and style are in it, and its
content security policy names them by their digests, so that nothing else is ever executed,
whatever gets into it. What it draws is JSON in a block that is no script.
"""

import base64
import hashlib
import json
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any, Final

_DRAWING: Final = (
    "dom",
    "colour",
    "view",
    "heat",
    "lines",
    "lanes",
    "latency",
    "ruler",
    "keys",
    "parts",
    "run",
    "index",
)
_LIVE: Final = ("live", "queue")


@cache
def style() -> str:
    """The style sheet of all pages."""
    return _file("page.css")


@cache
def script(*, live: bool) -> str:
    """The script; :param live: with what follows the daemon."""
    names = (*_DRAWING, *(_LIVE if live else ()), "start")
    parts = [_file(f"{name}.js") for name in names]
    if not live:
        parts.insert(-1, "class LiveRun {}\nclass Queue {}\n")
    return "(() => {\n" + '"use strict";\n' + "\n".join(parts) + "})();\n"


def _file(name: str) -> str:
    text = files(__package__).joinpath("files", name).read_text("utf-8")
    # A browser ends these elements at such a word, wherever it stands.
    assert "</script" not in text.lower() and "</style" not in text.lower(), name
    return text


def _digest(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def document(title: str, page: str, data: object, *, live: bool = False, summary: str = "") -> str:
    """A whole page.

    :param page: which one the script makes: run, live or queue.
    :param data: what it draws, as JSON can carry it.
    :param live: whether it may talk with the daemon that served it.
    :param summary: HTML for readers without scripts.
    """
    code, sheet = script(live=live), style()
    policy = (
        "default-src 'none'",
        f"script-src {_digest(code)}",
        f"style-src {_digest(sheet)}",
        "connect-src 'self'" if live else "connect-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{"; ".join(policy)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(title)}</title>\n<style>{sheet}</style>\n</head>\n<body>\n"
        f"<main>{summary}</main>\n"
        f'<script type="application/json" id="data">{embedded({"page": page, "data": data})}'
        f"</script>\n<script>{code}</script>\n</body>\n</html>\n"
    )


def embedded(value: Any) -> str:
    """``value`` as JSON that may stand in a script element: no text in it can end that."""
    # ASCII only, so that the separators U+2028 and U+2029 are escaped as well.
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def live_index_html() -> str:
    """The page of the queue: reads ``/v1/runs`` and follows ``/v1/events``."""
    return document("ktstr", "queue", None, live=True, summary=_NO_SCRIPT)


def live_run_html(run_id: str) -> str:
    """The page of one run: follows ``/v1/runs/ID/events``, then draws ``/v1/runs/ID/data``."""
    return document(run_id, "live", {"run_id": run_id}, live=True, summary=_NO_SCRIPT)


_NO_SCRIPT: Final = "<noscript>This page needs scripts: it follows runs as they go on.</noscript>"
