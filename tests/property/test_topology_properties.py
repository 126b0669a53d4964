# SPDX-License-Identifier: GPL-2.0-only
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from ktstr.model.topology import MAX_CPUS, Topology, format_cpulist, parse_cpulist

small = st.integers(1, 4)
topologies = st.builds(
    lambda nodes, per_node, cores, threads, memory: Topology(
        nodes, nodes * per_node, cores, threads, memory
    ),
    small,
    small,
    small,
    small,
    st.integers(0, 2),
)


@given(topologies)
def test_text_round_trip(topology: Topology) -> None:
    assert Topology.parse(str(topology)) == topology


@given(topologies)
def test_llcs_and_nodes_each_partition_the_cpus(topology: Topology) -> None:
    everything = list(range(topology.cpus))
    assert [c for i in range(topology.llcs) for c in topology.llc_cpus(i)] == everything
    assert [c for i in range(topology.nodes) for c in topology.node_cpus(i)] == everything
    cores = topology.llcs * topology.cores_per_llc
    assert [c for i in range(cores) for c in topology.core_cpus(i)] == everything


@given(topologies)
def test_lookup_agrees_with_the_ranges(topology: Topology) -> None:
    for cpu in range(topology.cpus):
        assert cpu in topology.llc_cpus(topology.llc_of(cpu))
        assert cpu in topology.node_cpus(topology.node_of(cpu))


@given(topologies)
def test_an_llc_lies_in_one_node(topology: Topology) -> None:
    for llc in range(topology.llcs):
        assert len({topology.node_of(cpu) for cpu in topology.llc_cpus(llc)}) == 1


@given(st.sets(st.integers(0, MAX_CPUS - 1)))
def test_cpulist_round_trip(cpus: set[int]) -> None:
    assert parse_cpulist(format_cpulist(cpus)) == tuple(sorted(cpus))


@given(st.text(max_size=40))
def test_parsing_any_text_raises_value_error_at_most(text: str) -> None:
    for parse in (Topology.parse, parse_cpulist):
        with suppress(ValueError):
            parse(text)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(0, 2), small)
def test_each_node_has_the_llcs_it_was_given(given: list[int], memory: int, cores: int) -> None:
    plain = Topology(1, sum(given), cores)
    topology = plain.with_nodes([*given, *[0] * memory])
    owners = [node for node, llcs in enumerate(given) for _ in range(llcs * cores)]
    assert [topology.node_of(cpu) for cpu in range(topology.cpus)] == owners
    assert [c for n in range(topology.nodes) for c in topology.node_cpus(n)] == [
        *range(len(owners))
    ]
    assert topology.nodes == len(given) + memory
    assert [topology.llc_cpus(llc) for llc in range(topology.llcs)] == [
        plain.llc_cpus(llc) for llc in range(plain.llcs)
    ]
