# SPDX-License-Identifier: GPL-2.0-only
"""Scenarios times kernels times topologies times repetitions, in an order that can be relied on."""

from pathlib import Path

import pytest

from ktstr.session.matrix import MAX_RUNS, Axes, Turn, expand, unique
from ktstr.session.options import RunOptions


def turns(*names: str) -> list[Turn]:
    return [Turn(Path(name), RunOptions(scheduler="s")) for name in names]


def told(found: list[Turn]) -> list[str]:
    return [f"{turn.path} {turn.variant} {turn.repetition}" for turn in found]


def test_without_axes_nothing_is_multiplied() -> None:
    assert expand(turns("a", "b"), Axes()) == turns("a", "b")


def test_all_is_run_once_before_anything_is_repeated() -> None:
    axes = Axes(kernels=("host", "debian:7"), topologies=("tiny", "smt"), repeat=2)
    once = [
        f"{name} {topology}, {kernel}"
        for name in "ab"
        for kernel in ("host", "debian:7")
        for topology in ("tiny", "smt")
    ]
    assert told(expand(turns("a", "b"), axes)) == [f"{x} {n}" for n in (1, 2) for x in once]


def test_the_axes_reach_the_options_and_leave_the_rest() -> None:
    own = Turn(Path("a"), RunOptions(scheduler="s", flags=("f",)), profile="f")
    (turn,) = expand([own], Axes(kernels=("host",), topologies=("1n1l2c1t",)))
    assert turn.options == RunOptions(
        scheduler="s", flags=("f",), kernel="host", topology="1n1l2c1t"
    )
    assert (turn.kernel, turn.topology, turn.profile) == ("host", "1n1l2c1t", "f")
    assert turn.variant == "1n1l2c1t, host, f"
    # Options of one run for all are no axis, and tell nothing apart.
    assert Turn(Path("a"), RunOptions(topology="1n1l2c1t")).variant == ""


def test_there_is_a_limit() -> None:
    assert len(expand(turns("a", "b"), Axes(repeat=MAX_RUNS // 2))) == MAX_RUNS
    with pytest.raises(ValueError, match="100002 runs; at most 100000"):
        expand(turns("a", "b"), Axes(repeat=MAX_RUNS // 2 + 1))


def test_lists_are_split_and_each_entry_counts_once() -> None:
    assert unique(["a, b", "b,,c", ""]) == ("a", "b", "c")
