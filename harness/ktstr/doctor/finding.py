# SPDX-License-Identifier: GPL-2.0-only
"""What an examination finds."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum


class Grade(IntEnum):
    """How a finding bears on runs; the worst is the highest."""

    FINE = 0
    HINT = 1
    """It works; more could be had."""
    LIMIT = 2
    """Runs work, with less than they could have: slower, noisier, smaller."""
    GAP = 3
    """No scenario can run."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at.

    :param topic: what, in a word or two.
    :param found: what was found, with its consequence, in a sentence.
    :param fix: the one command that mends it; empty where there is none.
    """

    topic: str
    grade: Grade
    found: str
    fix: str = ""


def fine(topic: str, found: str) -> Finding:
    """A finding without consequences."""
    return Finding(topic, Grade.FINE, found)


def worst(findings: Sequence[Finding]) -> Grade:
    """The worst of them; fine when there are none."""
    return max((finding.grade for finding in findings), default=Grade.FINE)
