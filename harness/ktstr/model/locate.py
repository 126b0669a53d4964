# SPDX-License-Identifier: GPL-2.0-only
"""Line numbers for the keys of a TOML text.

``tomllib`` parses but forgets where things stood. The scan here only finds positions: it is meant
for text that ``tomllib`` has accepted, and leaves values and grammar to it.
"""

import re
import tomllib
from bisect import bisect_left
from typing import Final

KeyPath = tuple[str | int, ...]
"""Keys and list indices from the top of the document."""

_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE: Final = re.compile(r"[ \t]*")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
# The long forms come first, and take up to two quotes that belong to the text before the end.
_STRING: Final = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})'
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_SCALAR: Final = re.compile(r"[^,\]}#\n]*")


def locate_keys(text: str) -> dict[KeyPath, int]:
    """Map every key path and list element of a valid TOML text to its 1-based line.

    A table that is only implied by a longer header has the line of the first such header.

    :raises RecursionError: when values are nested too deeply.
    """
    return _Scan(text).run()


class _Scan:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line_ends = [m.start() for m in re.finditer("\n", text)]
        self._lines: dict[KeyPath, int] = {}
        self._elements: dict[KeyPath, int] = {}

    def run(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while self._skip(_BLANK) < len(self._text):
            start = self._at
            if self._peek("[["):
                table = self._header(2)
            elif self._peek("["):
                table = self._header(1)
            else:
                self._pair(table)
            if self._at == start:  # not TOML after all
                break
        return self._lines

    def _header(self, brackets: int) -> KeyPath:
        start = self._at
        self._at += brackets
        keys = self._keys()
        self._at += brackets
        path: KeyPath = ()
        for key in keys[:-1]:
            path = self._note((*path, key), start)
            if path in self._elements:
                path = (*path, self._elements[path] - 1)
        path = self._note((*path, keys[-1]), start)
        if brackets == 2:
            index = self._elements.get(path, 0)
            self._elements[path] = index + 1
            path = self._note((*path, index), start)
        return path

    def _pair(self, table: KeyPath) -> None:
        start = self._at
        path = table
        for key in self._keys():
            path = self._note((*path, key), start)
        self._skip(_SPACE)
        self._at += 1  # the equals sign
        self._skip(_SPACE)
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        if self._peek("["):
            self._array(path)
        elif self._peek("{"):
            self._inline_table(path)
        elif self._peek('"') or self._peek("'"):
            self._skip(_STRING)
        else:
            self._skip(_SCALAR)

    def _array(self, path: KeyPath) -> None:
        self._at += 1
        index = 0
        while self._skip(_BLANK) < len(self._text) and not self._peek("]"):
            start = self._at
            self._value(self._note((*path, index), start))
            index += 1
            self._skip(_BLANK)
            self._at += self._peek(",")
            if self._at == start:  # not TOML after all
                break
        self._at += 1

    def _inline_table(self, path: KeyPath) -> None:
        self._at += 1
        while self._skip(_BLANK) < len(self._text) and not self._peek("}"):
            self._pair(path)
            self._skip(_BLANK)
            self._at += self._peek(",")
        self._at += 1

    def _keys(self) -> list[str]:
        keys = []
        while True:
            self._skip(_SPACE)
            start = self._at
            if self._peek('"') or self._peek("'"):
                literal = self._text[start : self._skip(_STRING)]
                keys.append(str(tomllib.loads(f"k = {literal}")["k"]))
            else:
                keys.append(self._text[start : self._skip(_BARE_KEY)])
            self._skip(_SPACE)
            if not self._peek("."):
                return keys
            self._at += 1

    def _peek(self, token: str) -> bool:
        return self._text.startswith(token, self._at)

    def _skip(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self._text, self._at)
        if match is not None:
            self._at = match.end()
        return self._at

    def _note(self, path: KeyPath, offset: int) -> KeyPath:
        self._lines.setdefault(path, bisect_left(self._line_ends, offset) + 1)
        return path
