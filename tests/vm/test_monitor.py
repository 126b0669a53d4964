# SPDX-License-Identifier: GPL-2.0-only
"""The monitor against a guest that is made to be what it should see."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import pytest

from ktstr.metrics.stimulus import StimulusEvent
from ktstr.series.monitor.report import MonitorReport
from ktstr.series.monitor.samples import MonitorSample
from ktstr.series.monitor.window import MonitorWindow
from ktstr.session.record import RunRecord
from ktstr.session.sidecar.read import read_sidecar
from ktstr.verdict import Assert, DetailKind
from ktstr.verdict.monitor import judge_monitor
from ktstr.verdict.outcome import Fail

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

KERNEL = os.environ.get("KTSTR_TEST_KERNEL", "debian:7")
USER_HZ_NS = 10_000_000
"""Unit of /proc/stat (proc_stat(5)), which rounds down."""

TICK_NS = 4_000_000
SPINNERS, CROWDED, CPUS = 6, 1, 4
LOCKED_UP_MS = 2000
IDLE, CROWD, LOCKUP = 1, 2, 3

TRUTHS = f"""
name = "truths"
kernel = "{KERNEL}"
[vm]
topology = "1n1l{CPUS}c1t"
[scheduler]
bpf = "scx_ktstr"
globals = {{ scattershot = true }}
kernel_args = ["schedstats=enable"]
[[steps]]
name = "idle"
hold = "2s"
[[steps]]
name = "crowded"
hold = "2500ms"
[[steps.cgroups]]
name = "crowd"
cpuset = "{CROWDED}"
works = [{{ type = "SpinWait", workers = {SPINNERS} }}]
[[steps.ops]]
op = "RunPayload"
name = "stat"
command = "/bin/sh"
args = ["/include-files/stat.sh"]
files = ["stat.sh"]
[[steps]]
name = "locked_up"
hold = "3500ms"
ops = [{{ op = "WriteBpfGlobal", name = "lockup_ms", value = {LOCKED_UP_MS} }}]
[[steps.cgroups]]
name = "few"
works = [{{ type = "SpinWait", workers = 2 }}]
[checks]
max_imbalance_ratio = 4.0
max_local_dsq_depth = 3
fail_on_rq_clock_stuck = true
sustained_samples = 4
enforce_monitor_thresholds = true
"""

STAT_SH = """
sep='{'
while read name user nice system idle iowait irq softirq steal rest; do
  case $name in
    cpu[0-9])
      printf '%s"%s": {"user": %d, "system": %d}' "$sep" "$name" "$user" "$system"
      sep=', ' ;;
  esac
done < /proc/stat
echo '}'
"""


@dataclass
class Truths:
    """The run, read back from its record."""

    record: RunRecord
    report: MonitorReport
    details: list[str]

    def step(self, index: int) -> list[MonitorSample]:
        """Readings of one step."""
        return [s for s in self.report.samples if s.step_index == index]


@pytest.fixture(scope="module")
def truths(shared_ktstr) -> Truths:
    """One boot whose steps are idle, crowded and locked up."""
    (shared_ktstr.folder / "stat.sh").write_text(STAT_SH)
    path = shared_ktstr.folder / "truths.toml"
    path.write_text(TRUTHS)
    done = shared_ktstr.run(path)
    (sidecar,) = done.out_dir.glob("*.ktstr.json")
    record = read_sidecar(sidecar)
    assert record.result is not None and record.monitor is not None, done.output
    return Truths(record, record.monitor, done.details())


def test_an_idle_guest_shows_nothing(truths: Truths) -> None:
    window = MonitorWindow(truths.step(IDLE))
    assert len(window.samples) >= 5
    assert window.stuck_count() == 0
    lengths = sorted(n for sample in window.samples for n in sample.run_lengths())
    # The agent and the scheduler's loader wake up now and then; most looks find nobody.
    assert lengths[len(lengths) * 3 // 4] == 0
    assert (window.avg_dsq_depth() or 0.0) < 0.5


def test_a_crowd_on_one_cpu_is_an_imbalance_and_a_deep_queue(truths: Truths) -> None:
    # The last second and a half: everybody has started by then.
    settled = truths.step(CROWD)[-12:]
    for sample in settled:
        by_cpu = {cpu.cpu: cpu for cpu in sample.cpus}
        crowded = by_cpu[CROWDED]
        assert crowded.nr_running is not None and crowded.local_dsq_depth is not None
        assert crowded.nr_running >= SPINNERS
        assert crowded.scx_nr_running is not None and crowded.scx_nr_running >= SPINNERS
        # One runs, the others wait; in the moment between two of them nobody may be running.
        assert crowded.local_dsq_depth >= SPINNERS - 1
    idle = [c.nr_running for s in settled for c in s.cpus if c.cpu != CROWDED]
    assert sorted(idle)[len(idle) // 2] == 0  # type: ignore[type-var]
    # 6 waiting for one CPU while others are empty: 6 / max(1, 0).
    assert MonitorWindow(settled).max_imbalance() >= SPINNERS  # type: ignore[operator]
    assert any(
        "imbalance ratio" in detail and "above limit 4" in detail for detail in truths.details
    )
    assert any(
        "local DSQ depth" in detail and "above limit 3" in detail for detail in truths.details
    )


def test_the_spinner_is_the_current_task(truths: Truths) -> None:
    current = [
        (c.curr_comm, c.curr_pid) for s in truths.step(CROWD)[-12:] for c in s.cpus if c.cpu == 1
    ]
    assert len({pid for _, pid in current}) > 1, "six take turns"
    assert all(pid for _, pid in current)


def _apart(samples: list[MonitorSample]) -> list[MonitorSample]:
    """Every fourth reading: a loaded host lets a vCPU run for ten ticks in 400 ms, not in 100."""
    return samples[::4]


def test_a_cpu_that_spins_with_interrupts_off_is_stuck(truths: Truths) -> None:
    locked_up = _apart(truths.step(LOCKUP))
    # It stands for 2 s, and CPUs that want its queue's lock stand with it.
    assert 2 <= (MonitorWindow(locked_up).stuck_count() or 0) <= 5 * CPUS
    for step in (IDLE, CROWD):
        assert MonitorWindow(_apart(truths.step(step))).stuck_count() == 0
    checks = Assert(fail_on_rq_clock_stuck=True, sustained_samples=2)
    found = list(judge_monitor(checks, locked_up))
    assert found and all(isinstance(each, Fail) for each in found)
    assert all("runqueue clock stuck for" in each.detail.message for each in found)  # type: ignore[union-attr]


def test_limits_fail_the_run_through_the_monitor(truths: Truths) -> None:
    assert truths.record.result is not None
    found = truths.record.result.failure_details()
    assert {detail.kind for detail in found} == {DetailKind.MONITOR}
    crowd, depth, *stuck = [detail.message for detail in found]
    assert "imbalance ratio" in crowd and "local DSQ depth" in depth
    # On a host with room the clock that stood still comes too, and that of a CPU waiting for it.
    assert all("runqueue clock stuck" in message for message in stuck), stuck


def _fits(proc: dict[str, dict[str, int]], before: MonitorSample, after: MonitorSample) -> bool:
    """Whether /proc/stat may have been read between two readings."""
    first = {cpu.cpu: cpu.time for cpu in before.cpus}
    for cpu in after.cpus:
        early, late = first[cpu.cpu], cpu.time
        assert early is not None and late is not None
        for name, low, high in (
            ("user", early.user_ns, late.user_ns),
            ("system", early.system_ns, late.system_ns),
        ):
            told = proc[f"cpu{cpu.cpu}"][name] * USER_HZ_NS
            if not low - USER_HZ_NS - TICK_NS <= told <= high + TICK_NS:
                return False
    return True


def test_cpu_times_are_those_of_proc_stat(truths: Truths) -> None:
    assert truths.record.result is not None
    found = {
        name.removeprefix("payload.stat."): value
        for name, value in truths.record.result.measurements.items()
        if name.startswith("payload.stat.cpu")
    }
    assert len(found) == 2 * CPUS, json.dumps(found)
    proc: dict[str, dict[str, int]] = {}
    for name, value in found.items():
        cpu, state = name.split(".")
        proc.setdefault(cpu, {})[state] = int(value)
    fitting = [pair for pair in pairwise(truths.report.samples) if _fits(proc, *pair)]
    assert fitting, f"no two neighbouring readings lie around {proc}"
    # Some CPU is never idle, so the times tell the moment to a few readings.
    assert len(fitting) <= 6


def test_counters_only_grow_and_are_counted(truths: Truths) -> None:
    summary = truths.report.summary
    assert truths.report.torn_reads == 0
    assert {name for name, grown in summary.schedstat.items() if grown > 0} >= {
        *("run_delay", "pcount", "sched_count", "ttwu_count"),
    }
    times = [[c.time.user_ns for c in s.cpus if c.time] for s in truths.report.samples]
    assert all(a <= b for one, two in pairwise(times) for a, b in zip(one, two, strict=True))
    hardirqs = [c.time.hardirqs for c in truths.report.samples[-1].cpus if c.time]
    assert sum(hardirqs) > 0


def test_phases_take_their_figures_from_the_monitor(truths: Truths) -> None:
    phases = {phase.step_index: phase for phase in truths.record.phases}
    assert phases[CROWD].get("max_imbalance_ratio") >= SPINNERS  # type: ignore[operator]
    assert phases[IDLE].get("stuck_count") == phases[CROWD].get("stuck_count") == 0
    assert phases[LOCKUP].get("stuck_count") is not None
    assert phases[CROWD].get("total_sched_count") is not None
    again = truths.record.fold_again()
    assert again.phases == truths.record.phases


def _ends(events: Sequence[StimulusEvent]) -> list[int]:
    return [event.elapsed_ms for event in events if event.is_step_end]


def test_readings_carry_workload_time(truths: Truths) -> None:
    held = truths.report.held_samples()
    assert [s.elapsed_ms for s in held] == sorted(s.elapsed_ms for s in held)
    for step, end in zip((IDLE, CROWD, LOCKUP), _ends(truths.record.events), strict=True):
        # The guest's clock and the host's agree but for the way of the frames.
        assert all(s.elapsed_ms <= end + 500 for s in truths.step(step))
    assert any(not s.held for s in truths.report.samples), "between steps"
