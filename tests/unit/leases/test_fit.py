# SPDX-License-Identifier: GPL-2.0-only
"""Which CPUs a run may have beside those that others hold."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.leases.fit import Held, Want, fitting
from ktstr.leases.host import Host, cpu_list, this_host

ME, OTHER = 100, 200
TWO_CACHES = Host({0: 0, 1: 0, 2: 0, 3: 0, 4: 4, 5: 4, 6: 4, 7: 4}, memory_mib=1000)


def held(*cpus: int, pid: int = OTHER, memory: int = 0, alone: bool = False) -> Held:
    return Held(pid, frozenset(cpus), memory, alone)


def test_cpus_come_from_one_cache_where_one_has_room() -> None:
    assert fitting(TWO_CACHES, Want(3), [], ME) == frozenset({0, 1, 2})
    assert fitting(TWO_CACHES, Want(3), [held(0, 1)], ME) == frozenset({4, 5, 6})
    # Two fit into what is left of the first, and the second stays whole.
    assert fitting(TWO_CACHES, Want(2), [held(0, 1)], ME) == frozenset({2, 3})


def test_who_needs_two_caches_gets_the_fullest_first() -> None:
    assert fitting(TWO_CACHES, Want(6), [held(0)], ME) == frozenset({1, 2, 4, 5, 6, 7})


def test_what_others_hold_is_not_given() -> None:
    assert fitting(TWO_CACHES, Want(5), [held(0, 1, 4, 5)], ME) is None
    assert fitting(TWO_CACHES, Want(4), [held(0, 1, 4, 5)], ME) == frozenset({2, 3, 6, 7})


def test_more_than_there_are_means_all() -> None:
    assert fitting(TWO_CACHES, Want(64), [], ME) == frozenset(range(8))
    assert fitting(TWO_CACHES, Want(64), [held(3)], ME) is None


def test_a_cache_alone_is_shared_with_nobody() -> None:
    assert fitting(TWO_CACHES, Want(1, exclusive_llc=True), [held(0)], ME) == frozenset({4})
    assert fitting(TWO_CACHES, Want(1, exclusive_llc=True), [held(0), held(4)], ME) is None
    assert fitting(TWO_CACHES, Want(1), [held(0, alone=True)], ME) == frozenset({4})
    assert fitting(TWO_CACHES, Want(5), [held(0, alone=True)], ME) is None


def test_a_crowded_process_gets_past_itself_only() -> None:
    mine, theirs = held(0, 1, 2, 3, 4, 5, pid=ME), held(6, 7)
    assert fitting(TWO_CACHES, Want(6, crowded=True), [mine, theirs], ME) == frozenset(
        {0, 1, 2, 3, 4, 5}
    )
    assert fitting(TWO_CACHES, Want(7, crowded=True), [mine, theirs], ME) is None
    assert fitting(TWO_CACHES, Want(6), [mine, theirs], ME) is None


def test_memory_is_summed_and_who_is_alone_gets_any() -> None:
    assert fitting(TWO_CACHES, Want(memory_mib=400), [held(memory=600)], ME) == frozenset()
    assert fitting(TWO_CACHES, Want(memory_mib=401), [held(memory=600)], ME) is None
    assert fitting(TWO_CACHES, Want(memory_mib=5000), [held(0, 1)], ME) == frozenset()
    unknown = Host({0: 0}, None)
    assert fitting(unknown, Want(memory_mib=5000), [held(memory=600)], ME) == frozenset()


@given(
    taken=st.sets(st.integers(0, 7)),
    wanted=st.integers(1, 10),
    alone=st.booleans(),
    theirs_alone=st.booleans(),
)
def test_nobody_gets_what_another_has(
    taken: set[int], wanted: int, alone: bool, theirs_alone: bool
) -> None:
    others = [held(*taken, alone=theirs_alone)]
    cpus = fitting(TWO_CACHES, Want(wanted, exclusive_llc=alone), others, ME)
    if cpus is None:
        return
    assert len(cpus) == min(wanted, 8)
    assert not cpus & taken
    if alone or theirs_alone:
        caches = {TWO_CACHES.llc_of[cpu] for cpu in cpus}
        assert caches.isdisjoint({TWO_CACHES.llc_of[cpu] for cpu in taken})


def test_lists_of_cpus() -> None:
    assert cpu_list("0-2,5\n") == frozenset({0, 1, 2, 5})


def test_caches_are_read_from_sysfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1, 2, 3})
    for cpu, llc in ((0, "0-1"), (1, "0-1"), (2, "2-3"), (3, "2-3")):
        for index, (level, shared) in enumerate((("1", str(cpu)), ("3", llc))):
            folder = tmp_path / f"sys/devices/system/cpu/cpu{cpu}/cache/index{index}"
            folder.mkdir(parents=True)
            (folder / "level").write_text(f"{level}\n")
            (folder / "shared_cpu_list").write_text(f"{shared}\n")
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal:        8192 kB\nMemFree: 1 kB\n")
    assert this_host(tmp_path) == Host({0: 0, 1: 0, 2: 2, 3: 2}, memory_mib=7)
