# SPDX-License-Identifier: GPL-2.0-only
"""Key positions: documents are written together with the lines they put their keys on."""

import json
import tomllib
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ktstr.model.locate import KeyPath, locate_keys

KEY_TEXT = st.text(st.sampled_from("ab.#=[]\"' \\\tü\n"), max_size=4)
BLANKS = st.sampled_from(["", " ", "\n", "\n\n", " # ] } \" ''' x\n", "\t# [a]\n"])
SCALARS = st.sampled_from(
    ["1", "-2.5", "1_000", "true", "inf", "1979-05-27 07:32:00", "1979-05-27", "0xff", "07:32:00"]
)
BASIC = st.text(st.sampled_from("ab#[]{}=,.\"'\\\n\tü"), max_size=8).map(json.dumps)
LITERAL = st.text(st.sampled_from('ab#[]{}=,."\\ '), max_size=8).map(lambda s: f"'{s}'")
LONG_BASIC = st.text(st.sampled_from("ab#[]{}=,.'\n "), max_size=8).map(
    lambda s: f'"""{s}\\"{s}"" """'
)
LONG_LITERAL = st.text(st.sampled_from('ab#[]{}=,.\n\\ "'), max_size=8).map(lambda s: f"'''{s}'''")
QUOTED_ENDS = st.sampled_from(['"""x""""', '"""x"""""', "'''x''''", "'''x'''''", '""""""', '""'])


class Writer:
    """Writes TOML and keeps the line of every key."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.text = ""
        self.lines: dict[KeyPath, int] = {}
        self._serial = 0

    def note(self, path: KeyPath) -> KeyPath:
        self.lines.setdefault(path, self.text.count("\n") + 1)
        return path

    def key(self) -> tuple[str, str]:
        """A new key: its value and its notation."""
        self._serial += 1
        if self.draw(st.booleans()):
            return (f"k_{self._serial}-", f"k_{self._serial}-")
        name = f"{self.draw(KEY_TEXT)}{self._serial}"
        return name, json.dumps(name, ensure_ascii=False)

    def dotted(self, at: KeyPath, most: int) -> tuple[KeyPath, str]:
        parts = [self.key() for _ in range(self.draw(st.integers(1, most)))]
        for part, _ in parts:
            at = self.note((*at, part))
        return at, self.draw(st.sampled_from([".", " . "])).join(form for _, form in parts)

    def value(self, at: KeyPath, depth: int, *, one_line: bool) -> None:
        kind = self.draw(st.integers(0, 7 if depth else 5))
        if kind <= 1:
            self.text += self.draw(SCALARS)
        elif kind <= 3 or (one_line and kind <= 5):
            self.text += self.draw(BASIC if kind % 2 else LITERAL)
        elif kind <= 5:
            self.text += self.draw(st.one_of(LONG_BASIC, LONG_LITERAL, QUOTED_ENDS))
        elif kind == 6:
            self.array(at, depth - 1, one_line=one_line)
        else:
            self.inline(at, depth - 1)

    def array(self, at: KeyPath, depth: int, *, one_line: bool) -> None:
        def blank() -> None:
            self.text += " " if one_line else self.draw(BLANKS)

        self.text += "["
        count = self.draw(st.integers(0, 3))
        for index in range(count):
            blank()
            self.value(self.note((*at, index)), depth, one_line=one_line)
            blank()
            if index + 1 < count or self.draw(st.booleans()):
                self.text += ","
        blank()
        self.text += "]"

    def inline(self, at: KeyPath, depth: int) -> None:
        self.text += "{"
        for index in range(self.draw(st.integers(0, 3))):
            self.text += ", " if index else " "
            self.pair(at, depth, one_line=True)
        self.text += " }"

    def pair(self, at: KeyPath, depth: int, *, one_line: bool) -> None:
        path, form = self.dotted(at, 3)
        self.text += f"{form} = "
        self.value(path, depth, one_line=one_line)

    def body(self, at: KeyPath) -> None:
        for _ in range(self.draw(st.integers(0, 3))):
            self.text += self.draw(st.sampled_from(["", "\n", "# c = 1\n", "  "]))
            self.pair(at, 2, one_line=False)
            self.text += self.draw(st.sampled_from(["\n", " # = [\n", "\r\n"]))

    def table(self) -> None:
        path, form = self.dotted((), 3)
        self.text += f"[{form}]\n"
        self.body(path)

    def tables(self) -> None:
        path, form = self.dotted((), 2)
        for index in range(self.draw(st.integers(1, 3))):
            self.note((*path, index))
            self.text += f"[[ {form} ]] # x\n"
            self.body((*path, index))
            if self.draw(st.booleans()):
                inner, name = self.dotted((*path, index), 1)
                self.text += f"[{form}.{name}]\n"
                self.body(inner)
            inner, name = self.dotted((*path, index), 1)
            for number in range(self.draw(st.integers(1, 2))):
                self.note((*inner, number))
                self.text += f"\n[[{form}.{name}]]\n"[1:]
                self.body((*inner, number))


@st.composite
def documents(draw: Any) -> tuple[str, dict[KeyPath, int]]:
    writer = Writer(draw)
    writer.body(())
    for _ in range(draw(st.integers(0, 3))):
        if draw(st.booleans()):
            writer.table()
        else:
            writer.tables()
    return writer.text, writer.lines


def paths(node: object, at: KeyPath = ()) -> set[KeyPath]:
    children: Iterable[tuple[str | int, object]] = ()
    if isinstance(node, dict):
        children = node.items()
    elif isinstance(node, list):
        children = enumerate(node)
    return {at} - {()} | {path for key, value in children for path in paths(value, (*at, key))}


@settings(max_examples=150, deadline=None)
@given(documents())
def test_every_key_is_found_on_its_line(document: tuple[str, dict[KeyPath, int]]) -> None:
    text, lines = document
    assert paths(tomllib.loads(text)) == set(lines)  # the writer itself is right
    assert locate_keys(text) == lines


SAMPLE = """a = 1
b.c = "x" # y
"d.e" = '''
l''' # z
f = [ 1, { g = 2 }, # h
  [ "]" ],
]
[t."u v"]
w = { x = 1, y.z = [] }
[[n]]
o = 1979-05-27 07:32:00
[n.p]
[[n.q]]
[[n]]
"""


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, len(SAMPLE)),
    st.integers(0, 3),
    st.text(st.sampled_from("[]{}=,.#\"'\\\n ab1"), max_size=3),
)
def test_whatever_tomllib_accepts_is_located(at: int, drop: int, insert: str) -> None:
    text = SAMPLE[:at] + insert + SAMPLE[at + drop :]
    try:
        data = tomllib.loads(text)
    except ValueError:
        with suppress(ValueError):
            locate_keys(text)  # the answer means nothing, but there is one
        return
    lines = locate_keys(text)
    assert set(lines) == paths(data)
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())
