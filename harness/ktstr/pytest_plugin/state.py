# SPDX-License-Identifier: GPL-2.0-only
"""What the plugin keeps beside tests and sessions. Imports nothing."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from ktstr.pytest_plugin.fixture import Ktstr

KTSTR: Final["pytest.StashKey[Ktstr]"] = pytest.StashKey()
"""A test's runs."""

ADDED: Final[pytest.StashKey[bool]] = pytest.StashKey()
"""Set on a test that has the marker and does not take the fixture."""

SLOTS: Final[pytest.StashKey[Path | None]] = pytest.StashKey()
"""Folder of the slots for guests that workers share."""

TALLY: Final["pytest.StashKey[Tally]"] = pytest.StashKey()
"""What the session's runs come to."""


@dataclass(slots=True)
class Tally:
    """Figures for the line at the end.

    :ivar guest_s: wall time in guests, seconds.
    """

    runs: int = 0
    clones: int = 0
    guest_s: float = 0.0
    slots: Path | None = field(default=None)

    def add(self, runs: list[dict[str, Any]]) -> None:
        """Add the runs of one test."""
        self.runs += len(runs)
        self.clones += sum(1 for run in runs if run.get("start") in ("template", "clone"))
        self.guest_s += sum(float(run.get("wall_s", 0.0)) for run in runs)

    def line(self) -> str:
        """The line; empty without runs."""
        if not self.runs:
            return ""
        runs = f"{self.runs} run{'s' if self.runs != 1 else ''}"
        return f"ktstr: {runs}, {self.clones} of cloned guests, {self.guest_s:.1f} s in guests"


def status(word: str | None, *, failed: bool) -> tuple[str, str, str] | None:
    """Category, letter and word of a report that ktstr has a word of its own for."""
    if failed and word == "inconclusive":
        return "failed", "I", "INCONCLUSIVE"
    if failed and word in ("guest lost", "cannot run"):
        return "error", "E", word.upper()
    return None
