# SPDX-License-Identifier: GPL-2.0-only
"""Cpuset specifications, worked out by hand on small topologies."""

import re

import pytest

from ktstr.model.cpuset import CpusetSpec, usable_cpus
from ktstr.model.topology import Topology


def resolve(spec: object, topology: str) -> list[int]:
    return sorted(CpusetSpec.parse(spec).resolve(Topology.parse(topology)))


def test_the_last_cpu_is_kept_back_from_three_cpus_on() -> None:
    assert usable_cpus(Topology.parse("1n1l1c1t")) == (0,)
    assert usable_cpus(Topology.parse("1n1l2c1t")) == (0, 1)
    assert usable_cpus(Topology.parse("1n1l3c1t")) == (0, 1)
    assert usable_cpus(Topology.parse("1n2l2c2t")) == (0, 1, 2, 3, 4, 5, 6)


@pytest.mark.parametrize(
    ("spec", "topology", "cpus"),
    [
        ("0-1,3", "1n2l2c1t", [0, 1, 3]),
        ("3", "1n2l2c1t", [3]),
        ({"llc": 1}, "1n2l2c2t", [4, 5, 6, 7]),
        ({"numa": 1}, "2n4l1c1t", [2, 3]),
        ({"range": [0, 0.5]}, "1n1l9c1t", [0, 1, 2, 3]),
        ({"range": [0.5, 1]}, "1n1l9c1t", [4, 5, 6, 7]),
        ({"range": [0.4, 0.6]}, "1n1l8c1t", [2, 3]),  # 7 usable: floor 2.8 .. floor 4.2
        ({"disjoint": [0, 3]}, "1n1l9c1t", [0, 1]),
        ({"disjoint": [1, 3]}, "1n1l9c1t", [2, 3]),
        ({"disjoint": [2, 3]}, "1n1l9c1t", [4, 5, 6, 7]),  # the last takes the remainder
        ({"disjoint": [0, 1]}, "1n1l2c1t", [0, 1]),
        ({"overlap": [0, 2, 0.5]}, "1n1l9c1t", [0, 1, 2, 3, 4, 5]),
        ({"overlap": [1, 2, 0.5]}, "1n1l9c1t", [2, 3, 4, 5, 6, 7]),
        ({"overlap": [1, 3, 0.5]}, "1n1l9c1t", [1, 2, 3, 4]),
        ({"overlap": [2, 3, 0.5]}, "1n1l9c1t", [3, 4, 5, 6, 7]),
        ({"overlap": [1, 2, 0]}, "1n1l9c1t", [4, 5, 6, 7]),
        ({"overlap": [0, 4, 0.49]}, "1n1l9c1t", [0, 1]),  # 2 x 0.49 widens by nothing
    ],
)
def test_resolution(spec: object, topology: str, cpus: list[int]) -> None:
    assert resolve(spec, topology) == cpus


@pytest.mark.parametrize(
    ("spec", "allowed"),
    [
        (3, "a CPU list"),
        ("", "at least one CPU"),
        ("1-0", "must ascend"),
        ("0x1", "neither a number"),
        ({}, "one of"),
        ({"llc": 0, "numa": 0}, "one of"),
        ({"llc": True}, "{ llc = N }"),
        ({"numa": -1}, "{ numa = N }"),
        ({"range": [0.5, 0.5]}, "from < to"),
        ({"range": [0, 1.1]}, "<= 1.0"),
        ({"range": [0, float("nan")]}, "<= 1.0"),
        ({"range": [False, True]}, "<= 1.0"),
        ({"range": 0.5}, "range"),
        ({"disjoint": [2, 2]}, "index < of"),
        ({"disjoint": [0.0, 2]}, "integers"),
        ({"disjoint": [False, True]}, "integers"),
        ({"overlap": [0, 2]}, "fraction"),
        ({"overlap": [0, 2, 1.5]}, "fraction"),
        ({"overlap": [2, 2, 0.5]}, "index < of"),
    ],
)
def test_malformed(spec: object, allowed: str) -> None:
    with pytest.raises(ValueError, match=re.escape(allowed)):
        CpusetSpec.parse(spec)


@pytest.mark.parametrize(
    ("spec", "allowed"),
    [
        ("3-4", "CPUs 0-3 (topology 1n2l2c1t)"),
        ({"llc": 2}, "an LLC from 0 to 1 (topology 1n2l2c1t)"),
        ({"numa": 1}, "a node from 0 to 0 (topology 1n2l2c1t)"),
        ({"disjoint": [3, 4]}, "at most 3 shares: topology 1n2l2c1t offers CPUs 0-2"),
        ({"range": [0, 0.3]}, "a share of at least one CPU"),
    ],
)
def test_what_the_topology_cannot_give(spec: object, allowed: str) -> None:
    with pytest.raises(ValueError, match=re.escape(allowed)):
        resolve(spec, "1n2l2c1t")
