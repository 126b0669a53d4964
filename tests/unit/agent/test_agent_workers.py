# SPDX-License-Identifier: GPL-2.0-only
"""Worker groups with the real worker program, in a real cgroup where this host has one."""

import contextlib
import os
import secrets
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent import workers as workers_module
from agent.cgroups import Cgroups
from agent.counters import SLOTS, Counters, WorkerFailure
from agent.loop import Loop
from agent.processes import wait_for_deaths
from agent.workers import Group, Workers, exit_info, sentinel
from ktstr.telemetry import WorkerReport
from ktstr.telemetry.report import WIRE_ORDER

LONG_S = 30.0


def test_the_sentinel_is_a_report_that_the_host_takes() -> None:
    wire = sentinel(77, exit_info(9))
    assert len(wire) == 31
    assert set(wire) == set(WIRE_ORDER)
    report = WorkerReport.from_wire(wire)
    assert (report.tid, report.completed, report.iterations) == (77, False, 0)
    assert report.exit_info is not None
    assert report.exit_info.to_wire() == {"kind": "Signaled", "signal": 9}


@pytest.mark.parametrize(
    ("status", "wire"),
    [
        (None, {"kind": "TimedOut"}),
        (0x0300, {"kind": "Exited", "code": 3}),
        (11, {"kind": "Signaled", "signal": 11}),
        (0x80 | 6, {"kind": "Signaled", "signal": 6}),  # with a core dump
    ],
)
def test_exit_infos(status: int | None, wire: dict[str, object]) -> None:
    assert exit_info(status) == wire


def test_counter_slots_are_adjacent_zeroed_and_reused() -> None:
    counters = Counters()
    first, second, third = counters.take(2), counters.take(3), counters.take(1)
    assert (first, second, third) == ([0, 1], [2, 3, 4], [5])
    counters.values[3] = 99
    counters.give_back(second)
    # Four in a row are not to be had in the hole of three.
    assert counters.take(4) == [6, 7, 8, 9]
    assert counters.take(3) == [2, 3, 4]
    assert counters.values[3] == 0
    rest = counters.take(SLOTS - 10)
    assert rest[-1] == SLOTS - 1
    with pytest.raises(WorkerFailure, match="4096"):
        counters.take(1)
    counters.close()


class Bench:
    """Workers in one cgroup of this host, or outside any where cgroup v2 is out of reach."""

    def __init__(self, folder: Path, loop: Loop, heard: Any, program: str) -> None:
        self.heard = heard
        self.loop = loop
        # The counters tell nobody that they move.
        loop.tick_s = 0.005
        loop.every_tick(lambda: None)
        self.cgroups = Cgroups(loop, root=str(folder), controllers="")
        self.cgroups._parent = str(folder)
        self.cgroups.create("one")
        self.workers = Workers(loop, heard, self.cgroups, seed=1, program=program)

    def spawn(self, count: int = 2, kind: str = "SpinWait", **more: Any) -> Group:
        spec = {"type": kind, "workers": count, **more}
        return self.workers.spawn(spec, "one", 1, 5)

    def running(self, count: int = 2, kind: str = "SpinWait") -> Group:
        """A group that counts."""
        group = self.spawn(count, kind)
        self.workers.wait_ready([group])
        self.workers.start([group])
        assert self.loop.run(
            time.monotonic() + LONG_S, lambda: self.workers.total_iterations() > 0
        ), "the counters do not move"
        return group


def _cgroup2() -> Path:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        words = line.split()
        if words[2] == "cgroup2" and os.access(words[1], os.W_OK):
            return Path(words[1])
    pytest.skip("no writable cgroup v2 on this host")


@pytest.fixture
def bench(loop: Loop, heard: Any, worker_program: str) -> Iterator[Bench]:
    folder = _cgroup2() / f"ktstr-test-{secrets.token_hex(6)}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"cgroup v2 takes no group of ours: {error.strerror}")
    try:
        made = Bench(folder, loop, heard, worker_program)
        yield made
        made.workers.discard(list(made.workers.groups))
        made.workers.close()
        made.cgroups.remove_all(set())
    finally:
        for inner in (folder / "one", folder):
            with contextlib.suppress(OSError):
                inner.rmdir()


@pytest.fixture
def steady_fds(bench: Bench, open_fds: None) -> None:
    """The group's descriptors are all gone at the end; those of the bench itself stay."""


def test_workers_run_in_their_cgroup_and_report(bench: Bench, steady_fds: None) -> None:
    group = bench.running(3)
    assert len(group.pids) == 3
    for pid in group.pids:
        assert Path(f"/proc/{pid}/cgroup").read_text().strip().endswith("/one")
        assert os.sched_getscheduler(pid) == os.SCHED_OTHER
    assert bench.workers.alive() == 3
    bench.workers.collect([group])
    assert bench.workers.alive() == 0
    assert [r["worker"] for r in bench.heard.reports()] == [0, 1, 2]
    for tagged in bench.heard.reports():
        assert (tagged["step"], tagged["cgroup"], tagged["work_idx"]) == (1, "one", 5)
        assert WorkerReport.from_wire(tagged["report"]).completed
    assert bench.workers._counters.take(1) == [0]


def test_a_worker_that_was_killed_reports_its_signal(bench: Bench, steady_fds: None) -> None:
    group = bench.running(2)
    os.kill(group.pids[1], signal.SIGKILL)
    bench.workers.collect([group])
    first, second = (tagged["report"] for tagged in bench.heard.reports())
    assert (first["completed"], second["completed"]) == (True, False)
    assert second["exit_info"] == {"kind": "Signaled", "signal": 9}


def test_a_leader_that_was_killed_leaves_sentinels_and_no_worker(
    bench: Bench, steady_fds: None
) -> None:
    group = bench.running(2)
    assert group.child is not None
    os.kill(group.child.pid, signal.SIGKILL)
    bench.workers.collect([group])
    assert wait_for_deaths(group.pids, 0), "its slots were given back while they still counted"
    for index, tagged in enumerate(bench.heard.reports()):
        assert (tagged["worker"], tagged["work_idx"]) == (index, 5)
        report = WorkerReport.from_wire(tagged["report"])
        assert (report.completed, report.tid) == (False, group.pids[index])
    assert len(bench.heard.reports()) == 2


def test_a_leader_that_stands_still_is_killed_after_silence(
    bench: Bench, steady_fds: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers_module, "COLLECT_S", 0.1)
    group = bench.running(1)
    assert group.child is not None
    os.kill(group.child.pid, signal.SIGSTOP)
    bench.workers.collect([group])
    (tagged,) = bench.heard.reports()
    assert tagged["report"]["exit_info"] == {"kind": "TimedOut"}
    assert any("nothing came" in line for line in bench.heard.logged)


def test_discarded_workers_are_gone_and_do_not_report(bench: Bench, steady_fds: None) -> None:
    group = bench.running(4)
    bench.workers.discard([group])
    assert wait_for_deaths(group.pids, 0)
    assert bench.heard.reports() == []
    assert bench.workers.groups == []
    assert bench.workers.total_iterations() == 0
    again = bench.spawn(4)
    assert again.slots == group.slots
    bench.workers.discard([again])


def test_slots_of_workers_that_would_not_die_are_not_reused(
    bench: Bench, steady_fds: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers_module, "wait_for_deaths", lambda pids, seconds: False)
    group = bench.running(2)
    bench.workers.discard([group])
    assert bench.workers._counters.take(1) == [2]
    assert any("still running" in line for line in bench.heard.logged)


def test_workers_collected_at_the_gate_report_that_they_did_nothing(
    bench: Bench, steady_fds: None
) -> None:
    group = bench.spawn(2)
    bench.workers.wait_ready([group])
    bench.workers.collect([group])
    assert [tagged["report"]["iterations"] for tagged in bench.heard.reports()] == [0, 0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "SpinWeight"}, "SpinWeight"),
        ({"kind": "PipeIo", "count": 3}, "multiple of 2, found 3"),
        ({"params": {"pears": 1}}, 'unknown key "pears"'),
    ],
)
def test_what_a_leader_refuses_is_told_in_its_words(
    bench: Bench, steady_fds: None, changes: dict[str, Any], words: str
) -> None:
    group = bench.spawn(**changes)
    with pytest.raises(WorkerFailure) as caught:
        bench.workers.wait_ready([group])
    assert words in str(caught.value)
    assert "in cgroup 'one'" in str(caught.value)
    bench.workers.discard([group])


def test_a_leader_that_dies_unheard_is_told_by_its_end(bench: Bench, steady_fds: None) -> None:
    bench.workers._program = "/bin/true"
    group = bench.spawn()
    with pytest.raises(WorkerFailure, match=r"0 workers stood ready.*exited with status 0"):
        bench.workers.wait_ready([group])
    bench.workers.start([group])  # into a pipe nobody reads
    bench.workers.collect([group])
    assert len(bench.heard.reports()) == 2


def test_threads_are_addressed_by_number_and_awaited_as_their_process(
    bench: Bench, steady_fds: None
) -> None:
    group = bench.spawn(3, clone="thread", comm="three", affinity="single")
    bench.workers.wait_ready([group])
    assert len(set(group.pids)) == 3
    assert group.processes == [group.host]
    assert group.host not in group.pids
    for tid in group.pids:
        assert Path(f"/proc/{tid}/comm").read_text() == "three\n"
        assert os.sched_getaffinity(tid) == {min(os.sched_getaffinity(0))}
    procs = Path(bench.cgroups.path("one"), "cgroup.procs").read_text().split()
    assert procs == [str(group.host)]
    bench.workers.start([group])
    bench.workers.discard([group])
    assert wait_for_deaths([group.host], 0)
    assert bench.workers.groups == []


def test_composed_works_report_with_their_place(bench: Bench, steady_fds: None) -> None:
    spec = {
        "type": "SpinWait",
        "workers": 2,
        "composed": [{"type": "Bursty", "workers": 1, "group_idx": 1}],
    }
    groups = bench.workers.spawn_all(spec, "one", 1, 5)
    bench.workers.wait_ready(groups)
    bench.workers.start(groups)
    os.kill(groups[1].pids[0], signal.SIGKILL)
    assert groups[1].child is not None
    os.kill(groups[1].child.pid, signal.SIGKILL)
    bench.workers.collect(groups)
    places = [
        (t["work_type"], t["work_idx"], t["group_idx"], t["report"]["group_idx"], t["worker"])
        for t in bench.heard.reports()
    ]
    # The last is a sentinel: its leader was killed.
    assert places == [
        ("SpinWait", 5, 0, 0, 0),
        ("SpinWait", 5, 0, 0, 1),
        ("Bursty", 5, 1, 1, 0),
    ]
    assert [t["report"]["completed"] for t in bench.heard.reports()] == [True, True, False]


@pytest.mark.parametrize(("step", "phases"), [(0, [1, 2]), (1, [])])
def test_only_backdrop_workers_follow_the_phases(
    bench: Bench, steady_fds: None, step: int, phases: list[int]
) -> None:
    bench.workers._phases = 2
    group = bench.workers.spawn({"type": "SpinWait", "workers": 1}, "one", step, 0)
    bench.workers.wait_ready([group])
    bench.workers.start([group])
    for index in (1, 2):
        bench.loop.run(time.monotonic() + 0.1)
        bench.workers.begin_phase(index)
        bench.loop.run(time.monotonic() + 0.1)
        bench.workers.end_phase()
    bench.loop.run(time.monotonic() + 0.1)
    bench.workers.collect([group])
    (tagged,) = bench.heard.reports()
    slices = WorkerReport.from_wire(tagged["report"]).phase_slices
    assert [part.phase_epoch for part in slices] == phases
    assert sum(part.wall_ns for part in slices) < tagged["report"]["wall_time_ns"]


@pytest.mark.parametrize("broken", ["program", "cgroup"])
def test_a_failed_spawn_leaks_neither_slots_nor_descriptors(
    bench: Bench, steady_fds: None, broken: str
) -> None:
    if broken == "program":
        bench.workers._program = "/nonexistent/worker"
    place = "none" if broken == "cgroup" else "one"
    with pytest.raises(WorkerFailure, match=r"nonexistent/worker|/none: No such file"):
        bench.workers.spawn({"type": "SpinWait", "workers": 7}, place, 1, 0)
    assert bench.workers.groups == []
    assert bench.workers._counters.take(1) == [0]


def test_a_leader_that_speaks_nonsense_is_an_error_not_a_crash(
    bench: Bench, steady_fds: None, tmp_path: Path
) -> None:
    script = tmp_path / "worker"
    script.write_text("#!/bin/bash\nprintf '\\xff\\xff\\xff\\xffnonsense'; sleep 60\n")
    script.chmod(0o755)
    bench.workers._program = str(script)
    group = bench.spawn(1)
    with pytest.raises(WorkerFailure, match="messages cannot be read"):
        bench.workers.wait_ready([group])
    bench.workers.discard([group])


def test_everyone_moves_and_a_group_with_tasks_is_removed(
    bench: Bench, steady_fds: None, retried: None
) -> None:
    group = bench.running(3)
    bench.cgroups.create("two")
    assert bench.cgroups.move_all("one", "two") == 3
    for pid in group.pids:
        assert Path(f"/proc/{pid}/cgroup").read_text().strip().endswith("/two")
    # They are killed for it; the leader passes on how they ended.
    bench.cgroups.remove("two")
    assert bench.cgroups.names() == {"one"}
    assert not Path(bench.cgroups.path("two")).exists()
    bench.workers.collect([group])
    assert [t["report"]["exit_info"]["signal"] for t in bench.heard.reports()] == [9, 9, 9]


@pytest.fixture
def retried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Removal waits long enough for a loaded host, and not for ever."""
    monkeypatch.setattr("agent.cgroups.BUSY_S", LONG_S)


def test_a_removal_that_cannot_succeed_is_not_tried_for_long(bench: Bench) -> None:
    os.rmdir(bench.cgroups.path("one"))
    with pytest.raises(FileNotFoundError):
        bench.cgroups.remove("one")
    bench.cgroups._made.clear()


def test_a_group_that_stays_busy_is_given_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.cgroups.BUSY_S", 0.1)
    os.mkdir(bench.cgroups.path("one") + "/inner")
    with pytest.raises(OSError, match="busy"):
        bench.cgroups.remove("one")
    os.rmdir(bench.cgroups.path("one") + "/inner")


def test_the_first_group_takes_the_leader_that_waited(
    bench: Bench, worker_program: str, steady_fds: None
) -> None:
    bench.workers._shared.prepare(worker_program)
    spare = bench.workers._shared._spare
    assert spare is not None
    first, second = bench.running(3), bench.spawn(1)
    assert first.child is spare.child
    assert second.child is not None and second.child is not spare.child
    for pid in first.pids:
        assert Path(f"/proc/{pid}/cgroup").read_text().strip().endswith("/one")
        assert os.sched_getscheduler(pid) == os.SCHED_OTHER
    bench.workers.discard([second])
    bench.workers.collect([first])
    reports = [WorkerReport.from_wire(tagged["report"]) for tagged in bench.heard.reports()]
    assert [report.completed for report in reports] == [True] * 3
    assert all(report.iterations > 0 for report in reports)
    assert spare.child.status == 0


def test_a_waiting_leader_that_was_killed_is_replaced(
    bench: Bench, worker_program: str, steady_fds: None
) -> None:
    bench.workers._shared.prepare(worker_program)
    spare = bench.workers._shared._spare
    assert spare is not None
    os.kill(spare.child.pid, signal.SIGKILL)
    assert wait_for_deaths([spare.child.pid], LONG_S)
    group = bench.running(1)
    assert group.child is not spare.child and spare.child.status is not None
    bench.workers.collect([group])
    (tagged,) = bench.heard.reports()
    assert tagged["report"]["completed"]


def test_words_that_do_not_fit_its_pipe_at_once_go_to_another_leader(
    bench: Bench, worker_program: str, steady_fds: None
) -> None:
    bench.workers._shared.prepare(worker_program)
    spare = bench.workers._shared._spare
    assert spare is not None
    long = bench.spawn(1, comm="x" * 4096)
    assert long.child is not spare.child and spare.child.status is not None
    with pytest.raises(WorkerFailure, match="comm"):
        bench.workers.wait_ready([long])
    bench.workers.discard([long])


def test_a_leader_that_nobody_needed_is_not_left_behind(
    loop: Loop, heard: Any, worker_program: str, open_fds: None
) -> None:
    shared = workers_module.Shared()
    shared.prepare(worker_program)
    assert shared._spare is not None
    child = shared._spare.child
    assert not child.poll(), "it waits"
    shared.close()
    assert child.status is not None


def test_where_no_leader_can_be_started_the_group_that_needs_one_says_so(
    bench: Bench, steady_fds: None
) -> None:
    bench.workers._shared.prepare("/nowhere/worker")
    bench.workers._program = "/nowhere/worker"
    with pytest.raises(WorkerFailure, match="/nowhere/worker: No such file"):
        bench.spawn(1)
