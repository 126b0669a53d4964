# SPDX-License-Identifier: GPL-2.0-only
"""Failure dumps of real guests: what memory showed where the scheduler failed, and at the end."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ktstr.cli.main import main as ktstr_command
from ktstr.series.dump.report import AT_END, AT_EXIT, FailureDumpReport, dump_from_text

pytestmark = [pytest.mark.vm, pytest.mark.timeout(400)]

STALL = """
name = "stalls"
kernel = "debian:7"
[vm]
topology = "1n1l2c1t"
[scheduler]
bpf = "scx_ktstr"
timeout = "3s"
[[backdrop.cgroups]]
name = "busy"
works = [{ type = "Mixed", workers = 4 }]
[[steps]]
hold = "500ms"
[[steps]]
hold = "10s"
ops = [{ op = "WriteBpfGlobal", name = "stall", value = 1 }]
[checks]
not_starved = true
"""

WRONG = """
name = "wrong"
[vm]
topology = "1n1l2c1t"
[scheduler]
bpf = "scx_ktstr"
globals = { scatter_wrong = 1 }
[[steps]]
hold = "10s"
[[steps.cgroups]]
name = "busy"
cpuset = "0"
works = [{ type = "YieldHeavy", workers = 2 }]
[checks]
not_starved = true
"""

EEVDF = """
name = "eevdf"
[vm]
topology = "1n1l1c1t"
[scheduler]
kernel_default = true
[[steps]]
hold = "300ms"
[[steps.cgroups]]
name = "busy"
works = [{ type = "SpinWait", workers = 2 }]
[checks]
max_spread_pct = 0.0
max_gap_ms = 1
"""


PATIENT = {"scx_load": "do_epoll_wait", "python3": "do_epoll_wait", "worker": "do_sys_poll"}
"""Programs that wait for events, and in which function."""


def dump_of(done: Any) -> FailureDumpReport:
    """The dump of a run that did not pass; its record names it, and its text is there."""
    (folder,) = done.out_dir.glob("*.evidence")
    assert done.record["host"]["failure_dump"] == str(folder / "failure-dump.json")
    assert "failure-dump.txt" in done.evidence
    text = done.evidence["failure-dump.json"]
    found = dump_from_text(text)
    assert isinstance(found, FailureDumpReport) and not found.is_placeholder
    assert json.loads(json.dumps(found.to_json())) == json.loads(text)
    return found


def names(dump: FailureDumpReport, pid: int) -> list[str]:
    """The functions on one thread's stack that are certain, innermost first."""
    frames = dump.trace(pid).frames
    return [(f.name or "?").partition("+")[0] for f in frames if f.method != "scan"]


def vcpu_names(dump: FailureDumpReport) -> set[str]:
    """All functions that CPUs were in."""
    return {
        (frame.name or "?").partition("+")[0]
        for trace in dump.traces
        if trace.source == "vcpu"
        for frame in trace.frames
    }


def ask(done: Any, *args: str) -> str:
    """What ``ktstr dump`` prints about a run."""
    result = CliRunner().invoke(ktstr_command, ["dump", str(done.out_dir), *args])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_stall_is_dumped_where_the_watchdog_found_it(
    ktstr: Any, scenario_file: Callable[[str], Path]
) -> None:
    done = ktstr.run(scenario_file(STALL))
    assert done.code == 1, done.output
    dump = dump_of(done)
    assert dump.trigger == AT_EXIT, done.output
    assert dump.snapshot is not None
    state = dump.snapshot.sched_ext
    assert (state.state, state.exit_kind, state.exit_name) == ("enabled", 1026, "error_stall")
    assert state.exit_message is not None and "runnable task stall" in state.exit_message
    assert vcpu_names(dump) & {"scx_vexit", "scx_ops_exit_kind", "scx_exit", "__scx_exit"}

    # All workers but one that may run still wait in the queue that is dispatched no more.
    workers = {task.pid: task for task in dump.tasks if task.comm == "Mixed"}
    waiting = {pid for pid, task in workers.items() if task.on_rq and not task.on_cpu}
    (queue,) = [q for q in dump.queues if q.kind == "user" and q.id == 0]
    assert waiting and waiting <= set(queue.pids), (workers, queue)
    assert queue.length == len(queue.pids)
    assert all(workers[pid].dsq_id == 0 and workers[pid].sched_class == "ext" for pid in waiting)
    assert max(workers[pid].runnable_ms or 0 for pid in waiting) > 1000

    # The loader, the agent and the leader of the workers wait for events: from the system call
    # down to the switch. The tick that found the stall may have come at any one of them.
    (loader,) = [t for t in dump.tasks if t.comm == "scx_load"]
    assert dump.scheduler_tgid == loader.pid
    asleep = [t for t in dump.tasks if t.comm in PATIENT and not t.on_rq]
    assert asleep
    for task in asleep:
        found = names(dump, task.pid)
        assert found[0] == "__schedule" and found[-1] == "entry_SYSCALL_64_after_hwframe"
        assert {PATIENT[task.comm], "do_syscall_64"} <= set(found)
        assert dump.trace(task.pid).method == "orc"
    # PID 1 waits for the agent to end, and for nothing else.
    assert {"do_wait", "do_syscall_64"} <= set(names(dump, 1))

    assert [vcpu.cpu for vcpu in dump.registers] == [0, 1]
    assert all({"rip", "rsp", "cr3"} <= set(vcpu.values) for vcpu in dump.registers)
    assert dump.timeline and dump.unavailable == {}

    assert ask(done, "--var", "stall") == "1\n"
    assert ask(done, "--map", "heartbeat_arr").startswith("\nmap heartbeat_arr")
    assert "scx_vexit" in ask(done) or "scx_ops_exit_kind" in ask(done)


def test_an_error_of_the_schedulers_own_code_has_its_function_on_the_stack(
    ktstr: Any, scenario_file: Callable[[str], Path]
) -> None:
    done = ktstr.run(scenario_file(STALL.replace('"stall"', '"crash"')))
    assert done.code == 1, done.output
    dump = dump_of(done)
    assert dump.trigger == AT_EXIT and dump.snapshot is not None
    assert dump.snapshot.sched_ext.exit_kind == 1025
    assert "host-triggered crash" in str(dump.snapshot.sched_ext.exit_message)
    frames = [frame for t in dump.traces if t.source == "vcpu" for frame in t.frames]
    # Whichever looks at the knob first raises the error: a dispatch, or the heartbeat's timer.
    programs = {
        word: {f.method for f in frames if f.name and f.name.startswith(f"{word}+")}
        for word in ("ktstr_dispatch", "beat")
    }
    assert any(programs.values()), frames
    # A program's callee, a function of the kernel, tells where it was called.
    assert set().union(*programs.values()) == {"orc"}, frames
    if programs["ktstr_dispatch"]:
        stub = "bpf__sched_ext_ops_dispatch"
        called = [f for f in frames if f.name and f.name.startswith(stub)]
        # Another CPU may be in the same call, waiting for the lock that the first one holds.
        assert {f.method for f in called} == {"frame-pointer"}, frames


def test_a_dispatch_to_a_cpu_that_is_not_allowed(
    ktstr: Any, scenario_file: Callable[[str], Path]
) -> None:
    done = ktstr.run(scenario_file(WRONG))
    assert done.code == 1, done.output
    dump = dump_of(done)
    message = done.record["scheduler"]["exit"]["message"]
    assert message in dump.reason
    # It may have happened before anybody could watch: the wrong CPUs come from the first task on.
    if dump.trigger == AT_EXIT:
        assert dump.snapshot is not None and dump.snapshot.sched_ext.exit_kind == 1024
        assert message in str(dump.snapshot.sched_ext.exit_message)
        assert dump.snapshot.var("scatter_wrong").as_u64() == 1


def test_a_panic_is_dumped_with_the_stack_that_panicked(ktstr: Any) -> None:
    done = ktstr.run("faults/panic.toml")
    assert done.code == 3, done.output
    dump = dump_of(done)
    assert dump.trigger == AT_END and "panic" in dump.reason
    found = vcpu_names(dump)
    assert any("panic" in name for name in found), found
    assert "sysrq_handle_crash" in found, found


def test_a_run_without_sched_ext_is_dumped_without_it(
    ktstr: Any, scenario_file: Callable[[str], Path]
) -> None:
    done = ktstr.run(scenario_file(EEVDF))
    assert done.code == 1, done.output
    dump = dump_of(done)
    assert dump.trigger == AT_END and dump.queues == ()
    assert "scx_sched_state" not in dump.to_json() and "dispatch queues" not in ask(done)
    assert "the kernel's own" in dump.unavailable["dsq_states"]
    assert {task.sched_class for task in dump.tasks} >= {"fair", "idle"}
    assert "ext" not in {task.sched_class for task in dump.tasks}
