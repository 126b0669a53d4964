# SPDX-License-Identifier: GPL-2.0-only
"""Reading what the guest and QEMU wrote: bounded, lossy on purpose, never trusted."""

import re
from pathlib import Path

_PANIC = re.compile(r"Kernel panic - not syncing: [^\r\n]{0,200}")
_OOPS = re.compile(r"\b(?:BUG: [^\r\n]{1,200}|Oops: [^\r\n]{1,200})")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\t]")
# QEMU lists every CPU feature of the model that TCG lacks, once per vCPU.
_NOISE = re.compile(r"warning: (?:TCG doesn't support requested feature|host doesn't support)")


def tail(path: Path, limit: int = 64 * 1024) -> str:
    """The last ``limit`` bytes of a file, undecodable bytes replaced; empty when it is missing."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - limit))
            return file.read(limit).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def tail_lines(path: Path, count: int = 20, *, until: str | None = None) -> tuple[str, ...]:
    """The last lines of a log made safe to print: no control characters, no TCG feature noise.

    :param until: the line with these words and all that follow are left out.
    """
    found = _before(until, tail(path).splitlines())
    lines = (_UNPRINTABLE.sub("?", line.rstrip()) for line in found)
    return tuple([line for line in lines if line and not _NOISE.search(line)][-count:])


def _before(words: str | None, lines: list[str]) -> list[str]:
    ends = (at for at, line in enumerate(lines) if words is not None and words in line)
    return lines[: next(ends, len(lines))]


def panic_message(log: str) -> str | None:
    """What a kernel log says about a panic, ``None`` when it tells of none.

    The cause (``BUG:`` or ``Oops:``) comes first when the log has it.
    """
    panic = _PANIC.search(log)
    if panic is None:
        return None
    cause = _OOPS.search(log, 0, panic.start())
    text = f"{cause[0].strip()}; {panic[0].strip()}" if cause else panic[0].strip()
    return _UNPRINTABLE.sub("?", text)
