# SPDX-License-Identifier: GPL-2.0-only
"""Texts that a guest may have written, made fit for an XML document."""

import re
from collections.abc import Mapping
from typing import Final
from xml.sax.saxutils import escape, quoteattr

MAX_TEXT: Final = 64 * 1024
"""Characters of one element or attribute."""

# What XML 1.0 allows as a character (section 2.2); not even as a reference may others appear.
_ILLEGAL: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def attributes(values: Mapping[str, str]) -> str:
    """The attributes of an element, each with a space before it."""
    return "".join(f" {name}={quoteattr(_legal(value))}" for name, value in values.items())


def content(text: str) -> str:
    """Text between tags."""
    return escape(_legal(text))


def _legal(text: str) -> str:
    cut = text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "\n[cut here]"
    return _ILLEGAL.sub("\N{REPLACEMENT CHARACTER}", cut)
