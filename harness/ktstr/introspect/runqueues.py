# SPDX-License-Identifier: GPL-2.0-only
"""Per-CPU runqueues: ``struct rq`` is copied whole, its current task by one bounded chase."""

from dataclasses import dataclass
from typing import Any

from ktstr.introspect.btf import Field
from ktstr.introspect.kernel import Kernel
from ktstr.introspect.memory import AddressSpace, UnreadableMemory
from ktstr.introspect.regions import Builder, Captured, OverLimit, Region
from ktstr.series.snapshot import CpuSnapshot

_NUMBERS = {
    "nr_running": "nr_running",
    "scx_nr_running": "scx.nr_running",
    "local_dsq_depth": "scx.local_dsq.nr",
    "scx_flags": "scx.flags",
    "clock": "clock",
    "nr_switches": "nr_switches",
}
_MAX_TASK_WINDOW = 16384


@dataclass(frozen=True, slots=True)
class TaskWindow:
    """The part of ``task_struct`` that holds pid, tgid and comm; offsets from its start."""

    start: int
    length: int
    pid: Field
    tgid: Field
    comm: Field


@dataclass(frozen=True, slots=True)
class RunqueuePlan:
    """Runqueues by CPU and the places of the values inside them."""

    cpus: tuple[tuple[int, Region], ...]
    numbers: dict[str, Field]
    curr: Field | None
    idle: Field | None
    task: TaskWindow | None

    def chase(self, captured: Captured, space: AddressSpace) -> None:
        """Read each CPU's current task from guest memory."""
        if self.curr is None or self.task is None:
            return
        for cpu, region in self.cpus:
            pointer = captured.unsigned(region, self.curr.offset)
            try:
                captured.tasks[cpu] = space.read(pointer + self.task.start, self.task.length)
            except UnreadableMemory:
                continue  # decode says so for this CPU

    def decode(self, captured: Captured, unavailable: dict[str, str]) -> tuple[CpuSnapshot, ...]:
        """One snapshot per CPU."""
        return tuple(self._cpu(cpu, region, captured, unavailable) for cpu, region in self.cpus)

    def _cpu(
        self, cpu: int, region: Region, captured: Captured, unavailable: dict[str, str]
    ) -> CpuSnapshot:
        raw = captured.content(region)
        numbers: dict[str, Any] = {n: _number(raw, place) for n, place in self.numbers.items()}
        if self.curr is not None and self.idle is not None:
            numbers["idle"] = _number(raw, self.curr) == _number(raw, self.idle)
        task = captured.tasks.get(cpu)
        if self.task is None or task is None:
            if self.task is not None:
                unavailable[f"cpus.{cpu}.curr"] = "the current task's address is not readable"
            return CpuSnapshot(cpu, **numbers)
        start = self.task.start
        comm = task[self.task.comm.offset - start :][: self.task.comm.size]
        return CpuSnapshot(
            cpu,
            curr_pid=_number(task, self.task.pid, start),
            curr_tgid=_number(task, self.task.tgid, start),
            curr_comm=comm.split(b"\0", 1)[0].decode("utf-8", "backslashreplace"),
            **numbers,
        )


def _number(raw: bytes, place: Field, start: int = 0) -> int:
    return int.from_bytes(raw[place.offset - start :][: place.size], "little")


def plan_runqueues(kernel: Kernel, builder: Builder, unavailable: dict[str, str]) -> RunqueuePlan:
    """Plan the runqueues; what this kernel lacks is named in ``unavailable``."""
    symbol, struct_id = kernel.symbol("runqueues"), kernel.struct("rq")
    if symbol is None or struct_id is None:
        unavailable["cpus"] = "this kernel has no runqueues in kallsyms or BTF"
        return RunqueuePlan((), {}, None, None, None)
    size = kernel.btf.size(struct_id)
    cpus = []
    for cpu in kernel.cpus:
        try:
            cpus.append((cpu, builder.add(kernel.percpu(symbol, cpu), size)))
        except (UnreadableMemory, OverLimit) as error:
            unavailable[f"cpus.{cpu}"] = error.message
    numbers = {}
    for name, path in _NUMBERS.items():
        place = kernel.field("rq", path)
        if place is None:
            unavailable[f"cpus.{name}"] = f"struct rq of {kernel.release} has no {path}"
        else:
            numbers[name] = place
    task = _task_window(kernel)
    if task is None:
        unavailable["cpus.curr"] = f"struct task_struct of {kernel.release} lacks pid or comm"
    return RunqueuePlan(
        tuple(cpus), numbers, kernel.field("rq", "curr"), kernel.field("rq", "idle"), task
    )


def _task_window(kernel: Kernel) -> TaskWindow | None:
    found = [kernel.field("task_struct", name) for name in ("pid", "tgid", "comm")]
    pid, tgid, comm = found
    if pid is None or tgid is None or comm is None:
        return None
    start = min(place.offset for place in (pid, tgid, comm))
    end = max(place.offset + place.size for place in (pid, tgid, comm))
    if end - start > _MAX_TASK_WINDOW:
        return None
    return TaskWindow(start, end - start, pid, tgid, comm)
