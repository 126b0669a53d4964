# SPDX-License-Identifier: GPL-2.0-only
"""Names and reasons in Markdown: text that stays text, whoever wrote it."""

import html

from ktstr.report.printable import LINE_CHARS, one_line


def escaped(text: str, limit: int = LINE_CHARS) -> str:
    """Text that can neither end a line or cell nor become markup, a link or a mention.

    :param limit: characters kept.
    """
    safe = html.escape(one_line(text, limit), quote=False)
    for char in "\\`*_[]|":
        safe = safe.replace(char, "\\" + char)
    return safe.replace("@", "@\u200b").replace("#", "&#35;")


def as_code(text: str) -> str:
    """Text as code; a backtick would end it, and a pipe the cell."""
    return "`" + one_line(text).replace("`", "'").replace("|", "\\|") + "`"
