# SPDX-License-Identifier: GPL-2.0-only
"""What of the host is free: CPUs and memory, also inside a container's limits."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ktstr.session.definition import define
from ktstr.session.options import RunOptions
from ktstr.session.pool import Budget, Cost
from ktstr.session.room import Room, budget, cost_of, free_memory_mib, host_room, whole_memory_mib
from ktstr.vm.spec import QEMU_OVERHEAD_MIB

MEMINFO = "MemTotal: 16384000 kB\nMemAvailable:    8192000 kB\nSwapFree: 1 kB\n"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A host with eight CPUs and 8000 MiB free, this process in the cgroup /a/b."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))

    def make(**files: str) -> Path:
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/meminfo").write_text(MEMINFO)
        (tmp_path / "proc/self/cgroup").write_text("1:name=x:/c\n0::/a/b\n")
        (tmp_path / "sys/fs/cgroup/a/b").mkdir(parents=True)
        for name, text in files.items():
            folder, _, file = name.partition("__")
            place = {"top": "", "a": "a", "b": "a/b"}[folder]
            (tmp_path / "sys/fs/cgroup" / place / file.replace("_", ".")).write_text(text)
        return tmp_path

    return make


def test_without_limits_it_is_the_hosts(host: Callable[..., Path]) -> None:
    root = host(b__cpu_max="max 100000", b__memory_max="max\n")
    assert host_room(root) == Room(8, 8000)
    assert whole_memory_mib(root) == 16000


def test_the_nearest_limit_counts(host: Callable[..., Path]) -> None:
    root = host(
        a__cpu_max="250000 100000",
        b__cpu_max="400000 100000",
        a__memory_max=str(1000 << 20),
        a__memory_current=str(300 << 20),
    )
    assert host_room(root) == Room(2, 700)
    assert whole_memory_mib(root) == 1000


def test_half_a_cpu_is_one_and_nothing_is_never_negative(host: Callable[..., Path]) -> None:
    root = host(b__cpu_max="50000 100000", b__memory_max="4096", b__memory_current="8192")
    assert host_room(root) == Room(1, 0)


def test_what_the_host_does_not_tell_is_not_known(tmp_path: Path) -> None:
    assert free_memory_mib(tmp_path) is None and whole_memory_mib(tmp_path) is None
    room = host_room(tmp_path)
    assert room == Room(len(os.sched_getaffinity(0)), None)
    assert budget(room, None).memory_mib is None


def test_auto_is_one_vcpu_for_each_cpu_and_a_number_is_a_number() -> None:
    assert budget(Room(4, 8000), None) == Budget(cpus=4, memory_mib=7000)
    assert budget(Room(4, 8000), 9) == Budget(jobs=9, memory_mib=7000)


def test_a_run_costs_its_vcpus_and_more_than_its_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(
        'name = "x"\n[vm]\ntopology = "1n2l2c1t"\nmemory = "300M"\n'
        '[scheduler]\nkernel_default = true\n[[steps]]\nhold = "1s"\n'
    )
    found = cost_of(define(path, RunOptions()))
    assert found == Cost(4, 300 + QEMU_OVERHEAD_MIB)
