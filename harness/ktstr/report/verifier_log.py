# SPDX-License-Identifier: GPL-2.0-only
"""The kernel verifier's log, without what it says again and again.

The verifier walks every path through a program and writes a line per instruction, so that a loop of
twenty instructions can fill megabytes. What repeats are the instructions; the register states
beside them differ each time. A block of lines that comes several times in a row, states aside, is
shown once, and the line after it tells how often it came. A path that was walked before, from a
branch that several others lead to, is shown the first time; after that, a line stands for it.

The forms of the lines are those of kernel/bpf/verifier.c and log.c: ``12: (07) r1 += 1  ; R1_w=2``,
``12: R0=scalar() R10=fp0``, ``from 12 to 7: R0=…``, and sentences.
"""

import re
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Final

LAST_LINES: Final = 20
"""Lines at the end that stay as they are: the error and libbpf's account of it are among them."""

MAX_BLOCK: Final = 4096
"""Longest block, in lines, whose repetition is found."""

MIN_SAVED: Final = 3
"""Fewest lines that a marker stands for."""

MAX_PASSES: Final = 24
"""Loops inside loops are folded from the inside out, a level each pass at least."""

_RECENT: Final = 4
"""Earlier places of a line that are tried as the beginning of the block before."""

_PRIME: Final = (1 << 61) - 1
_BASE: Final = 0x9E3779B97F4A7C1

_INSTRUCTION: Final = re.compile(r"\s*\d+: \([0-9a-f]{2}\) ")
_STATE: Final = re.compile(r"\s*(?:from \d+ to )?\d+(?: \([a-z ]+\))?:(?= (?:frame\d+: )?R\d)")
_PATH: Final = re.compile(r"\s*from \d+ to \d+(?: \([a-z ]+\))?:")
_NUMBER: Final = re.compile(r"0x[0-9a-fA-F]+|\d+")


def fold(text: str, *, lines: int = LAST_LINES) -> str:
    """``text`` with every block that repeats shown once, and after it how often it came.

    The result is never longer, and folding it again changes nothing. Takes time in proportion to
    the text, about a second for ten megabytes.

    :param lines: how many lines at the end stay as they are.
    """
    every = text.split("\n")
    keep = max(0, min(lines, len(every)))
    head, tail = every[: len(every) - keep], every[len(every) - keep :]
    numbers = _Numbers()
    for _ in range(MAX_PASSES):
        folded = _folded(head, [numbers[line] for line in head])
        folded = _known_paths_left_out(folded, [numbers[line] for line in folded])
        if len(folded) == len(head):
            break
        head = folded
    return "\n".join([*head, *tail])


def marker(block: int, again: int) -> str:
    """The line that stands for what was left out.

    :param block: lines of the block above it.
    :param again: how often the block came beside that.
    """
    what = "line" if block == 1 else f"{block} lines"
    times = "once" if again == 1 else f"{again} times"
    return f"[the {what} above repeated {times}]"


def known(lines: int) -> str:
    """The line that stands for the ``lines`` of a path that was shown above."""
    return f"[{lines} lines as the first time]"


def _key(line: str) -> str:
    """What has to be the same of two lines for one to repeat the other."""
    if _INSTRUCTION.match(line):
        return line.partition(";")[0].rstrip()
    if found := _STATE.match(line):
        return found[0]
    # Of the program's source, every character counts.
    return line if line.lstrip().startswith(";") else _NUMBER.sub("#", line)


class _Numbers(dict[str, int]):
    """The same number for lines of the same key."""

    def __init__(self) -> None:
        super().__init__()
        self._keys: dict[str, int] = {}

    def __missing__(self, line: str) -> int:
        number = self._keys.setdefault(_key(line), len(self._keys) + 1)
        self[line] = number
        return number


def _folded(text: list[str], keys: Sequence[int]) -> list[str]:
    """One pass from the beginning to the end: what repeats there and is no part of a fold yet."""
    hashes = list(accumulate(keys, lambda before, key: (before * _BASE + key) % _PRIME, initial=0))
    powers = list(
        accumulate(range(MAX_BLOCK), lambda before, _: before * _BASE % _PRIME, initial=1)
    )

    def same(first: int, second: int, size: int) -> bool:
        ends = hashes[first + size] - hashes[second + size]
        return (ends - (hashes[first] - hashes[second]) * powers[size]) % _PRIME == 0

    out: list[str] = []
    seen: dict[int, list[int]] = {}
    place, floor, end = 0, 0, len(text)
    while place < end:
        for earlier in seen.get(keys[place], ()):
            block = place - earlier
            if earlier < floor or block > MAX_BLOCK or place + block > end:
                continue
            again = 0
            after = place
            while after + block <= end and same(earlier, after, block):
                again += 1
                after += block
            if again and _worth(text, place, after, marker(block, again)):
                out.append(marker(block, again))
                # What was folded is one thing now, which the next pass looks at.
                place = floor = after
                break
        else:
            out.append(text[place])
            seen[keys[place]] = [place, *seen.get(keys[place], ())[: _RECENT - 1]]
            place += 1
    return out


def _known_paths_left_out(text: list[str], keys: Sequence[int]) -> list[str]:
    """The text without the paths that it has already; each keeps its first line."""
    begins = [place for place, line in enumerate(text) if _PATH.match(line)]
    if not begins:
        return text
    out = text[: begins[0]]
    seen: set[tuple[int, ...]] = set()
    for begin, end in pairwise([*begins, len(text)]):
        path = tuple(keys[begin:end])
        if path in seen and _worth(text, begin + 1, end, known(end - begin - 1)):
            out += [text[begin], known(end - begin - 1)]
        else:
            seen.add(path)
            out += text[begin:end]
    return out


def _worth(text: list[str], first: int, after: int, instead: str) -> bool:
    if after - first < MIN_SAVED:
        return False
    room = len(instead)
    for line in text[first:after]:
        room -= len(line) + 1
        if room < 0:
            return True
    return False
