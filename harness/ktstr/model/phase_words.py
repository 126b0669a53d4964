# SPDX-License-Identifier: GPL-2.0-only
"""What a scenario's author calls a phase."""

from collections.abc import Callable, Iterator
from typing import Annotated, Final

from pydantic import Field

BASELINE: Final = "baseline"
"""What the time before the first step is called, unless a step has that name."""

PHASE_ALLOWED: Final = f'the name of a step, "Step[k]" counted from 0, or "{BASELINE}"'

PhaseWord = Annotated[
    str,
    Field(
        pattern=r"^([a-z0-9_-]+|Step\[[0-9]{1,3}\])$",
        max_length=64,
        json_schema_extra={"x-allowed": PHASE_ALLOWED},
    ),
]


def phase_index(word: str, steps: int, name: Callable[[int], str]) -> int | None:
    """The phase that a scenario's author calls ``word``; ``None`` when there is none.

    :param name: the name of a step, counted from 0.
    :return: 0 for the time before the first step, ``k + 1`` for step k.
    """
    for index in range(steps):
        if word in (name(index), f"Step[{index}]"):
            return index + 1
    return 0 if word == BASELINE else None


def phase_words(steps: int, name: Callable[[int], str]) -> Iterator[str]:
    """Every phase as people call it, in order."""
    yield from map(name, range(steps))
    yield BASELINE
