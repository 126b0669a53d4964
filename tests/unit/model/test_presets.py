# SPDX-License-Identifier: GPL-2.0-only
"""Topologies by name, and the command line's words in place of the file's."""

from pathlib import Path

import pytest

from ktstr.errors import DefinitionInvalid
from ktstr.model.presets import presets, topology_named
from ktstr.model.scenario import load_scenario, scenario_from_toml
from ktstr.model.topology import Topology

# name: CPUs, LLCs, NUMA nodes, threads per core
EXPECTED = {
    "tiny-1llc": (4, 1, 1, 1),
    "tiny-2llc": (4, 2, 1, 1),
    "odd-3llc": (9, 3, 1, 1),
    "odd-5llc": (15, 5, 1, 1),
    "odd-7llc": (14, 7, 1, 1),
    "smt-2llc": (8, 2, 1, 2),
    "smt-3llc": (12, 3, 1, 2),
    "medium-4llc": (32, 4, 1, 2),
    "medium-8llc": (64, 8, 1, 2),
    "large-4llc": (128, 4, 1, 2),
    "large-8llc": (128, 8, 1, 2),
    "near-max-llc": (240, 15, 1, 2),
    "max-cpu": (252, 14, 1, 2),
    "medium-4llc-nosmt": (32, 4, 1, 1),
    "medium-8llc-nosmt": (64, 8, 1, 1),
    "large-4llc-nosmt": (128, 4, 1, 1),
    "large-8llc-nosmt": (128, 8, 1, 1),
    "near-max-llc-nosmt": (240, 15, 1, 1),
    "max-cpu-nosmt": (252, 14, 1, 1),
    "numa2-4llc": (16, 4, 2, 1),
    "numa2-8llc": (128, 8, 2, 2),
    "numa2-8llc-nosmt": (128, 8, 2, 1),
    "numa4-8llc": (32, 8, 4, 1),
    "numa4-12llc": (192, 12, 4, 2),
}
GIB = 1 << 30

BASE = """
[scheduler]
bpf = "scx_ktstr"
globals = { slow_every = 4 }
checks = { not_starved = true }
[[steps]]
hold = "1s"
"""


def test_all_presets() -> None:
    found = {
        name: (t.cpus, t.llcs, t.numa_nodes, t.threads_per_core)
        for name, t in ((name, preset.topology) for name, preset in presets().items())
    }
    assert found == EXPECTED
    large = {name for name, preset in presets().items() if preset.memory == 4 * GIB}
    assert large == {"max-cpu", "max-cpu-nosmt", "numa4-12llc"}
    assert {preset.memory for preset in presets().values()} == {2 * GIB, 4 * GIB}


def test_a_name_stands_for_its_topology() -> None:
    assert topology_named("smt-2llc") == Topology(1, 2, 2, 2)
    assert topology_named("1n1l3c1t") == Topology(1, 1, 3, 1)
    text = BASE + '[vm]\ntopology = "odd-3llc"\n'
    assert scenario_from_toml(text).vm.topology == Topology(1, 3, 3, 1)
    assert scenario_from_toml(text, topology="tiny-1llc").vm.topology == Topology(1, 1, 4, 1)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tiny-2lcc", 'did you mean "tiny-2llc"?'),
        ("nonsense", "numa4-12llc"),
        ("", "expected <nodes>n<llcs>l<cores>c<threads>t"),
        ("1n2l2c", "expected <nodes>n<llcs>l<cores>c<threads>t"),
    ],
)
def test_what_is_neither_is_told(text: str, told: str) -> None:
    with pytest.raises(DefinitionInvalid) as caught:
        scenario_from_toml(BASE + f'[vm]\ntopology = "{text}"\n')
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("given", "bpf", "binary", "default"),
    [
        ("none", None, None, True),
        ("scx_ktstr", "scx_ktstr", None, False),
        ("other.bpf.o", "{}/other.bpf.o", None, False),
        ("./sched", None, "{}/sched", False),
        ("sched", None, "{}/sched", False),
    ],
)
def test_another_scheduler(
    given: str,
    bpf: str | None,
    binary: str | None,
    default: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.bpf.o").touch()
    (tmp_path / "sched").touch()
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "s.toml").write_text(BASE)
    scheduler = load_scenario(folder / "s.toml", scheduler=given).scheduler
    assert scheduler.bpf == (bpf and bpf.format(tmp_path))
    assert scheduler.binary == (binary and binary.format(tmp_path))
    assert scheduler.kernel_default is default
    # What belonged to the file's own scheduler goes with it.
    assert not scheduler.globals and not scheduler.checks.plain()


def test_a_scheduler_that_is_not_there_is_told_in_the_callers_words(tmp_path: Path) -> None:
    with pytest.raises(DefinitionInvalid) as caught:
        scenario_from_toml(BASE, file="s.toml", scheduler="scx_kstr")
    (problem,) = caught.value.problems
    assert problem.file == "given in place of s.toml" and problem.line is None
    assert problem.found == '"scx_kstr"' and 'did you mean "scx_ktstr"?' in problem.allowed
    with pytest.raises(DefinitionInvalid) as caught:
        scenario_from_toml(BASE, scheduler=f"{tmp_path}/nothing.o")
    assert f"looked for {tmp_path}/nothing.o" in str(caught.value)
