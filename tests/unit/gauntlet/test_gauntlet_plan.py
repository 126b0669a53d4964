# SPDX-License-Identifier: GPL-2.0-only
"""What a gauntlet comes to: every cell once, or why not; a key for all that shapes a run."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.unit.gauntlet.made import HOST, Kernels, write

from ktstr.errors import CannotRun, DefinitionInvalid, ExitCode
from ktstr.gauntlet import plan as plan_module
from ktstr.gauntlet.features import features
from ktstr.gauntlet.plan import Entry, Plan, Wanted, completed, plan
from ktstr.model.gauntlet_def import Constraints
from ktstr.session.options import RunOptions


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Kernels:
    return Kernels().install(monkeypatch)


def planned(*paths: Path, host: Any = HOST, **wanted: Any) -> Plan:
    return anyio.run(plan, Wanted(paths, **wanted), host, lambda text, fraction: None)


def labels(found: Plan) -> list[str]:
    return [entry.cell.label for entry in found.entries]


def only(found: Plan) -> Entry:
    (entry,) = found.entries
    return entry


def test_everything_is_multiplied_and_those_of_a_place_follow_each_other(
    kernels: Kernels, tmp_path: Path
) -> None:
    one, two = write(tmp_path, "one"), write(tmp_path, "two")
    found = planned(
        two, one, presets=("tiny-1llc", "1n2l1c1t"), kernels=("a", "b"), schedulers=(None, "none")
    )
    assert labels(found)[:6] == [
        "two/tiny-1llc/a/own",
        "one/tiny-1llc/a/own",
        "two/tiny-1llc/a/none",
        "one/tiny-1llc/a/none",
        "two/1n2l1c1t/a/own",
        "one/1n2l1c1t/a/own",
    ]
    assert len(found.entries) == len({entry.cell.key for entry in found.entries}) == 16
    assert found.left_out == ()
    cell = found.entries[2].cell
    assert cell.path == two and cell.topology == "1n1l4c1t"
    options = RunOptions(kernel="a", topology="tiny-1llc", scheduler="none")
    assert cell.options == options


def test_constraints_and_host_leave_out_with_the_reason(kernels: Kernels, tmp_path: Path) -> None:
    path = write(tmp_path, "one", more="[gauntlet]\nmin_llcs = 2")
    found = planned(
        path,
        presets=("tiny-1llc", "tiny-2llc", "smt-2llc", "odd-3llc"),
        constraints=Constraints(exclude=("smt-2llc",)),
    )
    assert labels(found) == ["one/tiny-2llc/own/own"]
    told = {each.cell.preset: (each.kind, each.reason) for each in found.left_out}
    assert told == {
        "tiny-1llc": ("constraints", "min_llcs = 2, it has 1"),
        "smt-2llc": ("constraints", "excluded by name"),
        "odd-3llc": ("host", "9 CPUs, at most 8 here by default (tcg on 2 CPUs)"),
    }


def test_its_own_topology_is_not_constrained_but_must_fit_the_host(
    kernels: Kernels, tmp_path: Path
) -> None:
    path = write(tmp_path, "one", more='[gauntlet]\nmin_llcs = 2\n[vm]\ntopology = "1n1l2c1t"')
    assert labels(planned(path)) == ["one/1n1l2c1t/own/own"]
    found = planned(path, host=replace(HOST, max_cpus=1, asked=True))
    assert found.left_out[0].reason == "2 CPUs, --max-cpus is 1"
    found = planned(path, host=replace(HOST, memory_mib=500))
    assert found.left_out[0].reason == "512 MiB of memory, this host has 500 MiB"


def test_a_guest_gets_64_mib_for_each_cpu(kernels: Kernels, tmp_path: Path) -> None:
    path = write(tmp_path, "one", more='[vm]\nmemory = "256M"')
    found = planned(path, presets=("tiny-1llc", "smt-2llc", None))
    assert [entry.cell.options.memory_mib for entry in found.entries] == [None, 512, None]
    assert found.entries[1].cost.memory_mib - found.entries[0].cost.memory_mib == 256


def test_what_has_no_place_is_settled_as_a_skip(kernels: Kernels, tmp_path: Path) -> None:
    path = write(
        tmp_path, "one", cpuset="cpuset = { llc = 1 },", more='[vm]\ntopology = "1n2l1c1t"'
    )
    settled = only(planned(path, presets=("tiny-1llc",))).settled
    assert settled is not None and (settled.verdict, settled.exit_code) == ("skip", ExitCode.PASS)
    assert settled.reason.startswith("not on topology tiny-1llc: steps[0].cgroups[0].cpuset")
    ops = 'ops = [{ op = "DetachScheduler" }]'
    path = write(tmp_path, "two", more=ops)
    settled = only(planned(path, schedulers=("none",))).settled
    assert settled is not None and settled.reason.startswith("DetachScheduler")


def test_what_a_kernel_lacks_is_skipped_where_it_was_named(
    kernels: Kernels, tmp_path: Path
) -> None:
    path = write(tmp_path, "one")
    found = planned(path, kernels=("old", "new"), schedulers=(None, "none"))
    settled = {entry.cell.label: entry.settled for entry in found.entries}
    skip = settled.pop("one/1n1l2c1t/old/own")
    assert skip is not None and skip.verdict == "skip"
    assert skip.reason == "not on kernel old: old will not do: sched_ext is absent"
    assert set(settled.values()) == {None}
    # Each is looked for once for what it must have.
    assert sorted(kernels.asked) == ["new", "new", "old", "old"]


def test_a_kernel_that_cannot_be_found_is_told_for_each_of_its_cells(
    kernels: Kernels, tmp_path: Path
) -> None:
    settled = only(planned(write(tmp_path, "one"), kernels=("gone",))).settled
    assert settled is not None and settled.verdict == "cannot run"
    assert settled.exit_code == ExitCode.CANNOT_RUN and "no such kernel" in settled.reason


def test_mistakes_of_all_scenarios_end_it_before_anything_runs(
    kernels: Kernels, tmp_path: Path
) -> None:
    paths = [write(tmp_path, name, hold="soon") for name in ("one", "two")]
    with pytest.raises(DefinitionInvalid) as error:
        planned(*paths, presets=("tiny-1llc", "tiny-2llc"))
    assert sorted(Path(p.file).stem for p in error.value.problems) == ["one", "two"]
    with pytest.raises(DefinitionInvalid, match="scx_nope"):
        planned(write(tmp_path, "three"), schedulers=("scx_nope",))
    with pytest.raises(CannotRun, match="no scenario"):
        planned()


def test_every_profile_of_the_flags(kernels: Kernels, tmp_path: Path) -> None:
    scheduler = """binary = "/bin/true"
known_flags = { a = { args = ["-a"] }, b = { args = ["-b"], requires = ["a"] } }"""
    path = write(tmp_path, "one", scheduler=scheduler)
    found = planned(path, all_flags=True)
    assert [entry.cell.place[2] for entry in found.entries] == ["own:default", "own:a", "own:a+b"]
    assert [entry.cell.options.flags for entry in found.entries] == [(), ("a",), ("a", "b")]


def test_the_bound_counts_the_profiles_of_the_flags(
    kernels: Kernels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = """binary = "/bin/true"
known_flags = { a = { args = ["-a"] }, b = { args = ["-b"] } }"""
    paths = [write(tmp_path, name, scheduler=scheduler) for name in ("one", "two")]
    monkeypatch.setattr(plan_module, "MAX_RUNS", 8)
    assert len(planned(*paths, all_flags=True).entries) == 8
    monkeypatch.setattr(plan_module, "MAX_RUNS", 7)
    with pytest.raises(CannotRun, match="8 cells or more; at most 7"):
        planned(*paths, all_flags=True)
    assert len(planned(*paths).entries) == 2


def key(path: Path, **wanted: Any) -> str:
    return only(planned(path, **wanted)).cell.key


def test_the_key_follows_all_that_shapes_a_run(kernels: Kernels, tmp_path: Path) -> None:
    path = write(tmp_path, "one")
    first = key(path)
    assert key(path) == first
    others = [
        key(path, presets=("tiny-1llc",)),
        key(path, kernels=("debian:7",)),
        key(path, schedulers=("none",)),
        key(path, options=RunOptions(seed=4)),
    ]
    kernels.digests["debian:7"] = "another build"
    others.append(key(path))
    kernels.digests.clear()
    write(tmp_path, "one", hold="2s")
    others.append(key(path))
    assert len({first, *others}) == 7
    write(tmp_path, "one")
    assert key(path) == first
    assert key(path, options=RunOptions(out_dir=tmp_path, verbose=True)) == first


def test_the_key_follows_the_files_that_a_scenario_takes_along(
    kernels: Kernels, tmp_path: Path
) -> None:
    program = tmp_path / "program"
    program.write_bytes(Path("/bin/true").read_bytes())
    program.chmod(0o755)
    run = f'ops = [{{ op = "RunPayload", name = "p", command = "{program}" }}]'
    path = write(tmp_path, "one", more=run)
    first = key(path)
    program.write_bytes(Path("/bin/false").read_bytes())
    assert key(path) != first


def test_cells_can_be_completed_again(kernels: Kernels, tmp_path: Path) -> None:
    path = write(tmp_path, "one")
    before = planned(path, presets=("tiny-1llc", "tiny-2llc"), kernels=("a",))
    cells = [entry.cell for entry in before.entries]
    again = anyio.run(completed, cells, lambda text, fraction: None)
    assert [*before.entries] == again
    write(tmp_path, "one", hold="3s")
    changed = anyio.run(completed, cells, lambda text, fraction: None)
    assert not {entry.cell.key for entry in changed} & {cell.key for cell in cells}


def test_what_a_cell_covers(kernels: Kernels, tmp_path: Path) -> None:
    path = write(tmp_path / "stress", "one", hold="3s", workers=4)
    (none, ours) = (
        features(entry)
        for entry in planned(path, presets=("smt-2llc",), schedulers=("none", "scx_ktstr")).entries
    )
    assert {
        *("scenario one", "group stress", "preset smt-2llc", "kernel own", "scheduler none"),
        *("cpus <=8", "llcs <=2", "numa <=1", "seconds <=10", "smt", "crowded"),
        *("scheduler none on smt-2llc", "scheduler none under own", "scheduler none with stress"),
        *("kernel own on smt-2llc", "group stress on llcs <=2", "group stress on smt"),
        "group stress under own",
    } == none
    assert "scheduler scx_ktstr in one" in ours
