# SPDX-License-Identifier: GPL-2.0-only
"""Cells on a real Dask cluster of processes: what is run where, and what a lost worker leaves."""

import os
import signal
import sys
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import anyio
import pytest

from ktstr.errors import CannotRun, ExitCode, HostUnfit
from ktstr.fleet.client import FleetLost
from ktstr.fleet.connect import connected
from ktstr.gauntlet.cells import CellResult
from ktstr.session.several import Heard

pytestmark = pytest.mark.anyio


def alive(line: list[str]) -> bool:
    """Whether the process of a run that was noted goes on."""
    return Path(f"/proc/{line[2]}").exists()


def files_in(folder: Path) -> set[str]:
    """The files below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


async def test_every_cell_is_run_once_and_what_it_left_is_here(cluster) -> None:
    for name in ("one", "two"):
        cluster.worker(name)
    cells = [cluster.cell(f"{'fail' if n % 3 == 0 else 'pass'}_{n}") for n in range(8)]
    results: dict[str, CellResult] = {}
    async with cluster.connected() as fleet:

        async def one(place: int) -> None:
            results[cells[place].key] = await fleet(cells[place])

        await fleet.drive(cells, one)
    assert Counter(words[0] for words in cluster.ran()) == Counter(cell.name for cell in cells)
    for cell in cells:
        result = results[cell.key]
        failed = cell.name.startswith("fail")
        assert result.verdict == ("fail" if failed else "pass")
        assert result.exit_code == (ExitCode.FAIL if failed else ExitCode.PASS)
        assert result.facts["worker"] in ("one", "two")
        assert result.sidecar == cluster.folder / f"results/{cell.name}-1.ktstr.json"
        # The record names its evidence where that is now, not where it was on the worker.
        assert cluster.record(cell.name)["evidence"] == str(result.evidence)
        assert cluster.evidence(cell.name) == ["scenario.toml False"]
    assert {result.facts["worker"] for result in results.values()} == {"one", "two"}


async def test_the_run_of_a_killed_worker_is_repeated_elsewhere_and_counted_once(
    cluster, eventually
) -> None:
    first = cluster.worker("first", cache="first")
    cell = cluster.cell("pass_long")
    async with cluster.connected() as fleet, anyio.create_task_group() as tasks:
        results: list[CellResult] = []

        async def one() -> None:
            results.append(await fleet(cell))

        tasks.start_soon(one)
        await eventually(lambda: len(cluster.ran("first")) == 1, "the run on the first worker")
        await anyio.to_thread.run_sync(cluster.worker, "second", 2, "", "second")
        first.kill()
        line = cluster.ran("first")[0]
        await eventually(lambda: not alive(line), "the end of its process")
        await eventually(lambda: len(cluster.ran("second")) == 1, "the repetition")
        os.kill(int(cluster.ran("second")[0][2]), signal.SIGKILL)
    (result,) = results
    assert result.notes == ("repeated after worker first was lost",)
    assert result.facts["worker"] == "second"
    # That one was killed by hand, its worker lives: this is a result.
    assert result.verdict == "guest lost" and "signal 9" in result.reason
    assert f"{cell.label}: worker first was lost while it ran there" in cluster.said


async def test_a_run_that_was_repeated_passes_as_any_other(cluster) -> None:
    for name in ("one", "two"):
        cluster.worker(name)
    async with cluster.connected() as fleet:
        result = await fleet(cluster.cell("killonce"))
    assert result.verdict == "pass"
    (note,) = result.notes
    assert note in ("repeated after worker one was lost", "repeated after worker two was lost")
    assert len(cluster.ran()) == 2


async def test_a_run_that_takes_three_workers_along_is_a_result_and_its_neighbour_passes(
    cluster,
) -> None:
    for number in range(4):
        cluster.worker(f"w{number}", cpus=4)
    cells = [cluster.cell("killer"), cluster.cell("pass_beside")]
    results: dict[str, CellResult] = {}
    async with cluster.connected() as fleet:

        async def one(place: int) -> None:
            results[cells[place].key] = await fleet(cells[place])

        await fleet.drive(cells, one)
    killer = results["killer"]
    assert killer.verdict == "guest lost" and killer.exit_code == ExitCode.GUEST_LOST
    assert killer.reason.startswith("guest lost: took 3 workers along: w")
    assert len({word.strip(",") for word in killer.reason.split()[-3:]}) == 3
    assert results["pass_beside"].verdict == "pass"
    assert sum(words[0] == "killer" for words in cluster.ran()) == 3


async def test_without_a_scheduler_it_ends_with_a_word_of_how_to_go_on(cluster, eventually) -> None:
    cluster.worker("one")
    with pytest.raises(FleetLost, match=r"cannot be used any more[\s\S]*--resume` goes on"):
        async with cluster.connected() as fleet, anyio.create_task_group() as tasks:

            async def kill() -> None:
                await eventually(lambda: len(cluster.ran()) == 1, "the run")
                cluster.scheduler.kill()

            tasks.start_soon(kill)
            try:
                await fleet(cluster.cell("pass_long"))
            except FleetLost as error:
                lost = error
        raise lost
    (line,) = [words for words in cluster.ran() if words[0] != "cancelled"]
    await eventually(lambda: not alive(line), "the end of the run's process")


async def test_what_is_cancelled_has_ended_on_the_workers_when_the_client_has(
    cluster, eventually
) -> None:
    cluster.worker("one", cpus=2)
    cells = [cluster.cell("pass_long_a"), cluster.cell("pass_long_b")]
    async with cluster.connected() as fleet, anyio.create_task_group() as tasks:
        for cell in cells:
            tasks.start_soon(fleet, cell)
        await eventually(lambda: len(cluster.ran()) == 2, "both runs")
        tasks.cancel_scope.cancel()
    lines = cluster.ran()
    assert sorted(words[1] for words in lines if words[0] == "cancelled") == [
        "pass_long_a",
        "pass_long_b",
    ]
    assert not any(map(alive, lines[:2]))


async def test_a_client_that_is_killed_leaves_no_run_behind(cluster, eventually) -> None:
    cluster.worker("one")
    cell = cluster.cell("pass_long")
    script = (
        "import anyio, sys\n"
        "from pathlib import Path\n"
        "from ktstr.fleet.connect import connected\n"
        "from ktstr.gauntlet.cells import Cell\n"
        "async def main():\n"
        "    async with connected(sys.argv[1], Path(sys.argv[2])) as fleet:\n"
        "        await fleet(Cell(Path(sys.argv[3]), 'pass_long', '', key='k'))\n"
        "anyio.run(main)\n"
    )
    process = await anyio.open_process(
        [
            sys.executable,
            "-c",
            script,
            cluster.scheduler.address,
            str(cluster.folder),
            str(cell.path),
        ],
    )
    async with process:
        await eventually(lambda: len(cluster.ran()) == 1, "the run")
        process.kill()
        await process.wait()
    (line,) = [words for words in cluster.ran() if words[0] != "cancelled"]
    await eventually(lambda: not alive(line), "the end of the run's process")
    assert cluster.ran()[1] == ["cancelled", "pass_long"]


async def test_files_travel_by_content_once_per_host(cluster) -> None:
    cluster.worker("one")
    (cluster.folder / "elsewhere").mkdir()
    program = cluster.folder / "elsewhere/my_sched"
    program.write_bytes(b"#!/bin/true\n" + bytes(5 << 20))
    program.chmod(0o755)
    scheduler = f'binary = "{program}"'
    cells = [cluster.cell(f"pass_{n}", scheduler=scheduler) for n in range(2)]
    async with cluster.connected() as fleet:
        for cell in cells:
            assert (await fleet(cell)).verdict == "pass"
    for cell in cells:
        (sent, scenario) = cluster.evidence(cell.name)
        place, executable = sent.split()
        assert place.startswith("files/") and place.endswith("/my_sched") and executable == "True"
        assert scenario == "scenario.toml False"
    (blob,) = (cluster.folder / "cache/blobs").iterdir()
    assert blob.read_bytes() == program.read_bytes()
    assert not list((cluster.folder / "cache/staging").iterdir())


async def test_no_more_run_at_a_time_than_was_asked_for(cluster) -> None:
    cluster.worker("one", cpus=4)
    cells = [cluster.cell(f"pass_{n}") for n in range(4)]
    going, most = 0, 0
    async with cluster.connected() as fleet:
        fleet.prepare(lambda cell: nullcontext(Heard()), jobs=2)

        async def one(place: int) -> None:
            nonlocal going, most
            going += 1
            most = max(most, going)
            await fleet(cells[place])
            going -= 1

        await fleet.drive(cells, one)
    assert most == 2 and len(cluster.ran()) == 4


async def test_a_worker_that_cannot_run_guests_gets_none_and_says_why(cluster) -> None:
    cluster.worker("poor", obstacle="QEMU is not installed", cache="poor")
    cluster.worker("good", cache="good")
    async with cluster.connected() as fleet:
        results = [await fleet(cluster.cell(f"pass_{n}")) for n in range(3)]
    assert {result.facts["worker"] for result in results} == {"good"}
    assert cluster.ran("poor") == []
    assert "worker poor gets no runs: QEMU is not installed" in cluster.said


async def test_a_cluster_without_a_usable_worker_says_what_each_lacks(cluster) -> None:
    cluster.worker("poor", obstacle="QEMU is not installed")
    with pytest.raises(FleetLost, match="for 1 s; poor: QEMU is not installed"):
        async with cluster.connected(nobody_s=1.0) as fleet:
            await fleet.someone()


async def test_another_ktstr_is_told_before_anything_runs(cluster, monkeypatch) -> None:
    cluster.worker("one")
    there = {"ktstr": "0.0.9 (000000000000)", "python": "3.11", "distributed": "2025.1"}
    monkeypatch.setattr("ktstr.fleet.roster.versions", lambda: there)
    async with cluster.connected() as fleet:
        assert fleet.sites == []
    (said,) = cluster.said
    assert said.startswith("worker one gets no runs: it has ktstr ")
    assert said.endswith("here is 0.0.9 (000000000000)")


async def test_a_kernel_that_a_worker_cannot_get_keeps_its_runs_away(cluster) -> None:
    cluster.worker("one")
    async with cluster.connected() as fleet:
        result = await fleet(cluster.cell("pass_a", kernel="debian:missing"))
    assert result.verdict == "cannot run"
    assert result.reason == "no worker can run it: one: kernel debian:missing: as told"
    assert cluster.ran() == []


async def test_a_run_without_a_result_says_how_its_process_ended(cluster) -> None:
    cluster.worker("one")
    async with cluster.connected() as fleet:
        result = await fleet(cluster.cell("dies"))
    assert result.verdict == "cannot run" and result.exit_code == ExitCode.CANNOT_RUN
    assert result.reason.endswith("ended with status 7 and without a result: no more")


async def test_what_is_too_large_to_come_back_is_named(cluster) -> None:
    cluster.worker("one")
    async with cluster.connected() as fleet:
        result = await fleet(cluster.cell("pass_big"))
    assert result.verdict == "pass" and result.sidecar is not None
    (note,) = result.notes
    assert note.startswith("1 files (40 MiB: pass_big-1.evidence/big.bin) were too much")
    assert cluster.evidence("pass_big") == ["scenario.toml False"]


async def test_artifacts_are_written_by_the_worker_and_their_record_is_here(cluster) -> None:
    cluster.worker("one")
    url = f"file://{cluster.folder}/shared"
    async with cluster.connected(artifacts=url) as fleet:
        result = await fleet(cluster.cell("pass_big"))
    assert result.notes == () and result.evidence is None
    target = result.facts["artifacts"].removeprefix("file://")
    assert files_in(cluster.folder / "results") == {"pass_big-1.ktstr.json"}
    left = files_in(Path(target))
    assert left == {
        "pass_big-1.evidence/big.bin",
        "pass_big-1.evidence/files.txt",
        "pass_big-1.ktstr.json",
        "manifest.json",
    }
    assert target.startswith(str(cluster.folder / "shared"))
    assert cluster.record("pass_big")["evidence"] == f"file://{target}/pass_big-1.evidence"


async def test_what_a_run_tells_is_shown_with_its_worker_and_harmless(cluster) -> None:
    cluster.worker("one")
    heard, said = Heard(), []
    watching = type("Watching", (Heard,), {"__call__": lambda self, event: said.append(event)})()
    async with cluster.connected(watch=lambda cell: nullcontext(watching)) as fleet:
        await fleet(cluster.cell("pass_warns"))
    assert any(event.text == "one: Step[0], 1 of 1" for event in said)
    assert watching.warnings == ["a warning\N{REPLACEMENT CHARACTER}[31m"]
    assert heard.warnings == []


async def test_a_scenario_that_is_wrong_is_its_result(cluster) -> None:
    cluster.worker("one")
    cell = cluster.cell("pass_x")
    cell.path.write_text("nonsense = 1\n")
    async with cluster.connected() as fleet:
        result = await fleet(cell)
    assert result.verdict == "cannot run" and "mistakes in the definition" in result.reason


async def test_nobody_at_the_address_is_said(tmp_path: Path) -> None:
    with pytest.raises(HostUnfit, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1"):
        async with connected("tcp://127.0.0.1:1", tmp_path, connect_s=0.5):
            raise CannotRun("unreachable")


async def test_with_tls_who_has_no_certificate_is_not_let_in(cluster, tmp_path: Path) -> None:
    tls = cluster.secured()
    cluster.worker("one")
    address = cluster.scheduler.address
    assert address.startswith("tls://")
    async with cluster.connected(tls=tls) as fleet:
        assert (await fleet(cluster.cell("pass_a"))).verdict == "pass"
    with pytest.raises(HostUnfit, match="no Dask scheduler answers"):
        async with connected(address.replace("tls", "tcp"), tmp_path, connect_s=1.0):
            raise CannotRun("let in without TLS")
    (tmp_path / "other").mkdir()
    stranger = type(cluster)(cluster.nursery, tmp_path / "other").secured()
    with pytest.raises(HostUnfit, match="no Dask scheduler answers"):
        async with connected(address, tmp_path, tls=stranger, connect_s=1.0):
            raise CannotRun("let in with a certificate of its own")
