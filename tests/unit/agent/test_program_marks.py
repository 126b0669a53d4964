# SPDX-License-Identifier: GPL-2.0-only
"""Lines of a program's output that are put into the kernel log: only whole ones that begin so."""

import pytest

from agent import programs
from agent.programs import MARK_BYTES, Marks


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []

    def write(path: str, text: str) -> None:
        assert path == "/dev/kmsg"
        lines.append(text)

    monkeypatch.setattr(programs, "write_text", write)
    return lines


def test_a_line_is_marked_once_it_is_whole_however_it_comes(logged: list[str]) -> None:
    marks = Marks("TEST: ")
    text = b"noise\r\nTEST: one\r\nsays TEST: two\r\nTEST: three"
    for at in range(len(text)):
        marks.take(text[at : at + 1])
    assert logged == ["<6>ktstr: TEST: one\n"]
    marks.take(b"\r\n")
    assert logged[1:] == ["<6>ktstr: TEST: three\n"]


def test_endless_lines_take_no_memory_and_no_room_in_the_log(logged: list[str]) -> None:
    marks = Marks("TEST: ")
    for _ in range(100):
        marks.take(b"TEST: " + b"x" * 10_000)
        assert len(marks._line) <= MARK_BYTES
    marks.take(b"\n")
    (line,) = logged
    assert line.startswith("<6>ktstr: TEST: xxx") and len(line) < MARK_BYTES + 20


def test_what_is_no_text_is_marked_as_far_as_it_is(logged: list[str]) -> None:
    Marks("T").take(b"T\xff\n")
    assert logged == ["<6>ktstr: T\N{REPLACEMENT CHARACTER}\n"]
