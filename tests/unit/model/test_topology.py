# SPDX-License-Identifier: GPL-2.0-only
import pytest

from ktstr.model.topology import Topology, format_cpulist, parse_cpulist


def test_parse_counts() -> None:
    topology = Topology.parse("2n4l3c2t")
    assert (topology.numa_nodes, topology.llcs) == (2, 4)
    assert (topology.cores_per_llc, topology.threads_per_core) == (3, 2)
    assert topology.cpus == 24
    assert topology.llcs_of_nodes == (2, 2)


def test_llcs_are_the_total_not_per_node() -> None:
    assert Topology.parse("2n4l1c1t").cpus == 4


def test_numbering_of_cpus() -> None:
    topology = Topology.parse("2n4l2c2t")
    assert topology.core_cpus(1) == (2, 3)
    assert topology.llc_cpus(1) == (4, 5, 6, 7)
    assert topology.node_cpus(1) == (8, 9, 10, 11, 12, 13, 14, 15)
    assert [topology.llc_of(cpu) for cpu in (0, 3, 4, 15)] == [0, 0, 1, 3]
    assert [topology.node_of(cpu) for cpu in (0, 7, 8, 15)] == [0, 0, 1, 1]


def test_memory_only_nodes_have_no_cpus() -> None:
    topology = Topology.parse("1n2l1c1t+2m")
    assert topology.nodes == 3
    assert topology.cpus == 2
    assert topology.node_cpus(0) == (0, 1)
    assert topology.node_cpus(1) == topology.node_cpus(2) == ()
    assert str(topology) == "1n2l1c1t+2m"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected <nodes>n"),
        ("1n2l2c", "expected <nodes>n"),
        ("1N2L2C1T", "expected <nodes>n"),
        ("1n2l2c1t extra", "expected <nodes>n"),
        ("2s4c2t", "older notation"),
        ("1s2l4c2t", "older notation"),
        ("0n2l2c1t", "NUMA nodes must be at least 1"),
        ("1n0l2c1t", "LLCs must be at least 1"),
        ("1n1l0c1t", "cores per LLC must be at least 1"),
        ("1n1l1c0t", "threads per core must be at least 1"),
        ("2n3l1c1t", "do not divide evenly among 2 nodes"),
        ("1n64l64c2t", "8192 CPUs, at most 1024"),
    ],
)
def test_what_is_no_topology(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Topology.parse(text)


@pytest.mark.parametrize("call", ["llc_cpus", "node_cpus", "core_cpus", "llc_of", "node_of"])
@pytest.mark.parametrize("index", [-1, 99])
def test_index_outside_names_what_there_is(call: str, index: int) -> None:
    with pytest.raises(IndexError, match="topology 2n4l2c1t has"):
        getattr(Topology.parse("2n4l2c1t"), call)(index)


def test_cpulist() -> None:
    assert format_cpulist([5, 0, 2, 1, 3, 8, 9]) == "0-3,5,8-9"
    assert format_cpulist([]) == ""
    assert parse_cpulist("0-3,5,8-9\n") == (0, 1, 2, 3, 5, 8, 9)
    assert parse_cpulist("") == ()


@pytest.mark.parametrize("text", ["3-1", "a", "1-", "-1", "0-4096", "1 2", "1024"])
def test_bad_cpulist(text: str) -> None:
    with pytest.raises(ValueError, match="CPU list"):
        parse_cpulist(text)


def test_nodes_that_differ_in_llcs() -> None:
    topology = Topology.parse("1n4l2c1t").with_nodes((1, 3, 0))
    assert str(topology) == "2n4l2c1t+1m"
    assert topology.llcs_of_nodes == (1, 3)
    assert [topology.node_cpus(node) for node in range(3)] == [(0, 1), (2, 3, 4, 5, 6, 7), ()]
    assert [topology.node_of(cpu) for cpu in range(8)] == [0, 0, 1, 1, 1, 1, 1, 1]


def test_nodes_that_are_alike_are_the_plain_topology() -> None:
    assert Topology.parse("1n4l2c1t").with_nodes((2, 2, 0)) == Topology.parse("2n4l2c1t+1m")


@pytest.mark.parametrize("llcs", [(1, 2), (4, 1), (3, 2)])
def test_nodes_must_have_all_llcs(llcs: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="does not share 4 LLCs among 2 nodes"):
        Topology.parse("1n4l2c1t").with_nodes(llcs)
