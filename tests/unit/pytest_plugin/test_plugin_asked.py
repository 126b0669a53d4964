# SPDX-License-Identifier: GPL-2.0-only
"""The marker's arguments and the tests they make of one."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from ktstr.pytest_plugin.asked import Asked, BadMarker, Variant, asked_by, variants


@dataclass
class Mark:
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass
class Outside:
    kernels: tuple[str, ...] = ()
    topologies: tuple[str, ...] = ()
    usual_kernels: tuple[str, ...] = ()
    usual_topologies: tuple[str, ...] = ()


def mark(*args: object, **kwargs: object) -> Mark:
    return Mark(args, kwargs)


def test_the_closest_marker_goes_before_those_around_it() -> None:
    asked = asked_by([mark("own.toml", seed=2), mark(scenario="class's", timeout=9, seed=1)])
    assert asked == Asked(scenario="own.toml", seed=2, timeout=9)


def test_lists_become_tuples_and_none_is_what_is_usual() -> None:
    asked = asked_by([mark(kernels=["a", "b"], repeat=None)])
    assert (asked.kernels, asked.repeat) == (("a", "b"), 1)


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        (mark(topologies=["a"]), "no argument 'topologies'; there are scenario, topology"),
        (mark("a", "b"), "found 2 arguments"),
        (mark("a", scenario="b"), "given twice"),
        (mark(topology="a", presets=["b"]), "topology names one, presets several"),
        (mark(kernel="a", kernels=["b"]), "kernel names one, kernels several"),
        (mark(kernels="debian:7"), "kernels='debian:7'; allowed: a list"),
        (mark(presets=[]), "with one at least"),
        (mark(clock="sundial"), '"wall" or "virtual"'),
        (mark(seed=True), "an integer from 0"),
        (mark(seed=1 << 63), "an integer from 0"),
        (mark(repeat=0), "an integer from 1 to 10000"),
        (mark(timeout=0), "more than 0"),
        (mark(timeout=float("nan")), "more than 0"),
        (mark(check=1), "True or False"),
        (mark(flags=[1]), "list of flags"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(bad: Mark, word: str) -> None:
    with pytest.raises(BadMarker) as told:
        asked_by([bad])
    assert word in str(told.value)


def ids(found: tuple[Variant, ...]) -> list[str]:
    return [variant.id for variant in found]


def test_lists_make_a_test_for_each_pair_with_an_id_that_stays() -> None:
    asked = Asked(presets=("tiny-1llc", "tiny-2llc"), kernels=("debian:7", "host"))
    found = variants(asked, Outside())
    assert ids(found) == [
        "tiny-1llc-debian:7",
        "tiny-2llc-debian:7",
        "tiny-1llc-host",
        "tiny-2llc-host",
    ]
    assert [(v.topology, v.kernel) for v in found][1] == ("tiny-2llc", "debian:7")
    assert ids(variants(Asked(kernels=("debian:7",)), Outside())) == ["debian:7"]


def test_one_value_makes_one_test_without_an_id() -> None:
    found = variants(Asked(topology="1n1l2c1t", kernel="host"), Outside())
    assert found == (Variant("host", "1n1l2c1t", offered=False),)
    assert variants(Asked(), Outside()) == (Variant(),)


def test_the_command_line_goes_before_the_test_and_that_before_the_ini_file() -> None:
    usual = Outside(usual_kernels=("ini",), usual_topologies=("1n1l1c1t",))
    named = Outside(("cmd",), ("1n1l4c1t",), *([("ini",)] * 2))
    assert variants(Asked(), usual) == (Variant("ini", "1n1l1c1t", offered=True),)
    assert variants(Asked(kernel="own", topology="1n1l2c1t"), usual) == (
        Variant("own", "1n1l2c1t", offered=False),
    )
    assert variants(Asked(kernels=("x", "y"), presets=("p",)), named) == (
        Variant("cmd", "1n1l4c1t", offered=True),
    )


def test_several_of_the_command_line_are_a_test_each() -> None:
    assert ids(variants(Asked(), Outside(kernels=("a", "b")))) == ["a", "b"]
    assert ids(variants(Asked(), Outside(usual_topologies=("p", "q")))) == ["p", "q"]
