# SPDX-License-Identifier: GPL-2.0-only
"""Filters and what tells two sides apart."""

from typing import Any

import pytest
from tests.unit.history.made import row

from ktstr.errors import CannotRun
from ktstr.history.dimensions import Dimension, RowFilter, constant_differences, matches, slicing
from ktstr.history.sides import one_pool, remarks, two_sets, why_none

KERNEL, COMMIT = Dimension.KERNEL, Dimension.PROJECT_COMMIT
NONE = RowFilter({})


def only(**values: str) -> RowFilter:
    return RowFilter({Dimension(k.replace("_", "-")): (v,) for k, v in values.items()})


@pytest.mark.parametrize(
    ("release", "wanted", "meant"),
    [
        ("6.12.4", "6.12", True),
        ("6.12", "6.12", True),
        ("6.12-rc3", "6.12", True),
        ("6.12+deb14", "6.12", True),
        ("6.120.1", "6.12", False),
        ("6.1.2", "6.12", False),
        ("16.12.4", "6.12", False),
        ("7.2.13+deb14-cloud-amd64", "7.2.13", True),
        ("7.2.13", "7.2.1", False),
        ("7.2.13.1", "7.2.13", False),
        ("7.2.13+deb14-cloud-amd64", "7.2.13+deb14-cloud-amd64", True),
        ("7.2.13", "7", False),
        ("7.2.13", "debian:7", True),
    ],
)
def test_a_kernel_of_two_numbers_means_its_releases(release: str, wanted: str, meant: bool) -> None:
    assert matches(KERNEL, row(kernel=release, kernel_spec="debian:7"), wanted) is meant


def test_other_values_are_compared_as_they_are() -> None:
    assert matches(Dimension.CPU_BUDGET, row(cpu_budget=4), "4")
    assert not matches(Dimension.SCHEDULER, row(scheduler="scx_a"), "scx")
    for each in Dimension:
        bare: Any = {each.value.replace("-", "_"): None, "kernel_spec": None}
        assert not matches(each, row(**bare), "None"), each


def test_values_of_one_dimension_are_any_and_dimensions_all() -> None:
    both = RowFilter({KERNEL: ("6.12", "7.2"), Dimension.TOPOLOGY: ("1n1l2c1t",)})
    assert both.takes(row(kernel="6.12.1", topology="1n1l2c1t"))
    assert both.takes(row(kernel="7.2.1", topology="1n1l2c1t"))
    assert not both.takes(row(kernel="7.2.1", topology="1n1l4c1t"))
    assert not both.takes(row(kernel="7.3.1", topology="1n1l2c1t"))
    assert RowFilter({}, "crowd 1n2l4c1t scx").takes(row())
    assert not RowFilter({}, "Crowd").takes(row())


def test_what_the_filters_of_the_sides_differ_in_slices() -> None:
    a = RowFilter({KERNEL: ("7.2", "6.12", "7.2"), COMMIT: ("x",)})
    b = RowFilter({KERNEL: ("6.12", "7.2"), COMMIT: ("y",)})
    assert slicing(a, b) == (COMMIT,)


def test_two_sets_differ_in_what_each_has_one_value_of() -> None:
    a = [row(1, project_commit="aaaaaaa"), row(2, project_commit="aaaaaaa-dirty", kernel="6.12.1")]
    b = [row(3, project_commit="bbbbbbb"), row(4, project_commit="bbbbbbb", kernel="6.12.1")]
    # The kernels are the same two on both sides: they pair.
    assert constant_differences(a, b) == (COMMIT,)
    sides = two_sets(a, b, (NONE, NONE), ("x", "y"))
    assert (sides.slicing, sides.label_a, sides.label_b) == ((COMMIT,), "x", "y")
    assert two_sets(a, b, (NONE, NONE), ("x", "y"), [COMMIT]).slicing == ()


def test_a_pool_needs_filters_that_take_no_run_twice() -> None:
    rows = [row(1, kernel="6.12.4"), row(2, kernel="7.2.1"), row(3, kernel="7.2.9")]
    sides = one_pool(rows, (only(kernel="6.12"), only(kernel="7.2")))
    assert [r.kernel for r in sides.a] == ["6.12.4"]
    assert [r.kernel for r in sides.b] == ["7.2.1", "7.2.9"]
    assert (sides.label_a, sides.label_b, sides.slicing) == ("6.12", "7.2", (KERNEL,))
    with pytest.raises(CannotRun, match="nothing tells A from B"):
        one_pool(rows, (only(kernel="7.2"), only(kernel="7.2")))
    with pytest.raises(CannotRun, match="1 runs are on both sides"):
        one_pool(rows, (only(kernel="7.2"), only(kernel="7.2.9")))


def test_why_a_filter_takes_nothing_is_said() -> None:
    rows = [row(1, run_source="ci", project_commit="aaaaaaa-dirty", kernel_commit=None)]
    assert "did you mean aaaaaaa-dirty?" in why_none(rows, only(project_commit="aaaaaaa"))[0]
    assert "did you mean ci?" in why_none(rows, only(run_source="CI"))[0]
    assert why_none(rows, only(kernel_commit="x")) == [
        "no record says its kernel-commit (x was asked for)"
    ]
    assert why_none(rows, only(topology="9n")) == ["topology 9n: there are 1n2l4c1t"]
    assert "(-E)" in why_none(rows, RowFilter({}, "nothing"))[0]
    assert why_none([], NONE) == ["there are no records at all"]


def test_what_makes_figures_doubtful_is_said() -> None:
    a = [row(1, project_commit="aaaaaaa-dirty", cpu_budget=2, steps=(("calm", 1000),))]
    b = [row(2, kernel="6.12.1", not_finite=("x",)), row(3, kernel="6.12.2")]
    said = "\n".join(remarks(two_sets(a, b, (NONE, only(kernel="6.12")), ("", ""))))
    for words in (
        "A has runs of changed files (aaaaaaa-dirty)",
        "B takes 2 values of kernel together: 6.12.1, 6.12.2",
        "in 1 of 1 runs of A the guest had more CPUs than the host gave it",
        "1 values of B are no finite numbers",
        "the steps of crowd are not the same in all runs",
        "which of them a change comes from is not told apart",
    ):
        assert words in said
    assert remarks(two_sets([row(1)], [row(2)], (NONE, NONE), ("", ""))) == []
