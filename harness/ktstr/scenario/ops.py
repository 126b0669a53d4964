# SPDX-License-Identifier: GPL-2.0-only
"""The ops, one function each, named as in the file but for the spelling (``SetCpuset``)."""

from collections.abc import Sequence
from typing import Literal, Unpack

from ktstr.scenario.keys import CgroupKeys, Cpuset, Duration, Work
from ktstr.scenario.parts import Op, Program


def add_cgroup(cgroup: str) -> Op:
    """Create an empty cgroup."""
    return Op.of(op="AddCgroup", cgroup=cgroup)


def add_cgroup_def(name: str, **keys: Unpack[CgroupKeys]) -> Op:
    """Create a cgroup with its limits and workers."""
    return Op.of(op="AddCgroupDef", name=name, **keys)


def remove_cgroup(cgroup: str) -> Op:
    """Kill a cgroup's workers and remove it."""
    return Op.of(op="RemoveCgroup", cgroup=cgroup)


def set_cpuset(cgroup: str, cpuset: str | Cpuset) -> Op:
    """Give a cgroup these CPUs."""
    return Op.of(op="SetCpuset", cgroup=cgroup, cpuset=cpuset)


def clear_cpuset(cgroup: str) -> Op:
    """Lift a cgroup's limit to certain CPUs."""
    return Op.of(op="ClearCpuset", cgroup=cgroup)


def swap_cpusets(cgroup: str, other: str) -> Op:
    """Exchange the cpusets of two cgroups."""
    return Op.of(op="SwapCpusets", cgroup=cgroup, other=other)


def spawn(cgroup: str, work: Work) -> Op:
    """Start workers in a cgroup."""
    return Op.of(op="Spawn", cgroup=cgroup, work=work)


def spawn_host(work: Work) -> Op:
    """Start workers beside all cgroups."""
    return Op.of(op="SpawnHost", work=work)


def stop_cgroup(cgroup: str) -> Op:
    """Kill a cgroup's workers and keep it."""
    return Op.of(op="StopCgroup", cgroup=cgroup)


def set_affinity(cgroup: str, affinity: str) -> Op:
    """Bind a cgroup's workers to CPUs."""
    return Op.of(op="SetAffinity", cgroup=cgroup, affinity=affinity)


def move_all_tasks(cgroup: str, to: str) -> Op:
    """Move every task of a cgroup to another."""
    return Op.of(op="MoveAllTasks", cgroup=cgroup, to=to)


def set_weight(cgroup: str, weight: int) -> Op:
    """Set a cgroup's ``cpu.weight``."""
    return Op.of(op="SetWeight", cgroup=cgroup, weight=weight)


def freeze_cgroup(cgroup: str) -> Op:
    """Stop all tasks of a cgroup."""
    return Op.of(op="FreezeCgroup", cgroup=cgroup)


def unfreeze_cgroup(cgroup: str) -> Op:
    """Let a frozen cgroup's tasks run again."""
    return Op.of(op="UnfreezeCgroup", cgroup=cgroup)


def run_payload(
    name: str,
    command: str,
    *,
    args: Sequence[str] | None = None,
    cgroup: str | None = None,
    files: Sequence[str] | None = None,
    output: Literal["json", "text"] | None = None,
    exit_code: int | None = None,
) -> Op:
    """Start a program in the background."""
    return Op.of(
        op="RunPayload",
        name=name,
        command=command,
        args=args,
        cgroup=cgroup,
        files=files,
        output=output,
        exit_code=exit_code,
    )


def wait_payload(name: str, *, timeout: Duration | None = None) -> Op:
    """Wait for a program's end."""
    return Op.of(op="WaitPayload", name=name, timeout=timeout)


def kill_payload(name: str) -> Op:
    """Kill a program with all it started."""
    return Op.of(op="KillPayload", name=name)


def attach_scheduler(*, scheduler: Program | None = None) -> Op:
    """Start a scheduler, the scenario's own where none is given."""
    return Op.of(op="AttachScheduler", scheduler=scheduler)


def detach_scheduler() -> Op:
    """End the scheduler: the kernel's own takes over."""
    return Op.of(op="DetachScheduler")


def replace_scheduler(scheduler: Program) -> Op:
    """End the scheduler and start another."""
    return Op.of(op="ReplaceScheduler", scheduler=scheduler)


def restart_scheduler() -> Op:
    """End the scheduler and start it again."""
    return Op.of(op="RestartScheduler")


def capture_snapshot(name: str) -> Op:
    """Let the host freeze the guest and keep what its memory shows."""
    return Op.of(op="CaptureSnapshot", name=name)


def watch_snapshot(
    name: str,
    *,
    symbol: str | None = None,
    variable: str | None = None,
    section: Literal[".bss", ".data"] | None = None,
    size: int | None = None,
    hits: int | None = None,
) -> Op:
    """Let the host freeze the guest at each write to a symbol or variable."""
    return Op.of(
        op="WatchSnapshot",
        name=name,
        symbol=symbol,
        variable=variable,
        section=section,
        size=size,
        hits=hits,
    )


def write_bpf_global(
    name: str, value: int, *, section: Literal[".bss", ".data"] | None = None
) -> Op:
    """Let the host write a variable of the loaded scheduler."""
    return Op.of(op="WriteBpfGlobal", name=name, value=value, section=section)


def pause(*, duration: Duration | None = None) -> Op:
    """Stop the workload clock until :func:`resume`."""
    return Op.of(op="Pause", duration=duration)


def resume() -> Op:
    """Let the workload clock run again."""
    return Op.of(op="Resume")


def inject_fault(
    fault: str,
    *,
    at: Duration | None = None,
    cgroup: str | None = None,
    size: str | None = None,
) -> Op:
    """Break something on purpose."""
    return Op.of(op="InjectFault", fault=fault, at=at, cgroup=cgroup, size=size)
