# SPDX-License-Identifier: GPL-2.0-only
"""From the command to a shell's prompt, on a terminal, timed from outside."""

import time
from dataclasses import dataclass, field

from tests.vm.terminal import Terminal


@dataclass
class Figures:
    """Seconds of each repetition."""

    continued_s: list[float] = field(default_factory=list)
    booted_s: list[float] = field(default_factory=list)
    interrupt_s: list[float] = field(default_factory=list)


def measure(runs: int) -> Figures:
    """Open a shell, interrupt what never ends, and leave, ``runs`` times for each kind."""
    figures = Figures()
    _to_prompt(figures)  # makes the template, and whatever else is made once
    for _ in range(runs):
        figures.continued_s.append(_to_prompt(figures))
        figures.booted_s.append(_to_prompt(figures, "--cold"))
    figures.interrupt_s.pop(0)
    return figures


def _to_prompt(figures: Figures, *args: str) -> float:
    began = time.monotonic()
    terminal = Terminal(*args)
    try:
        terminal.prompt()
        took_s = time.monotonic() - began
        terminal.type(b"yes\r")
        terminal.until(b"y\r\ny\r\ny\r\n")
        asked = time.monotonic()
        terminal.type(b"\x03")
        terminal.until(b"^C")
        terminal.prompt()
        figures.interrupt_s.append(time.monotonic() - asked)
        terminal.type(b"exit\r")
        terminal.end()
    finally:
        terminal.close()
    return took_s
