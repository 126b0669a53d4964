# SPDX-License-Identifier: GPL-2.0-only
"""Reads a failure dump out of a guest that stands still; whatever cannot be read is named.

Nothing here stops or continues the guest, and nothing the guest's memory holds makes it raise.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final, TypeVar

from ktstr.errors import KtstrError
from ktstr.introspect import Kernel, Limits, copy, decode, make_plan
from ktstr.introspect.dsq import read_queues
from ktstr.introspect.memory import PhysicalMemory
from ktstr.introspect.registers import parse_registers
from ktstr.introspect.stacks import Stacks
from ktstr.introspect.threads import Tasks, read_tasks, task_at
from ktstr.series.dump.parts import DsqState, StackTrace, TaskState, VcpuRegisters
from ktstr.series.dump.report import AT_END, EventCounterSample, FailureDumpReport
from ktstr.series.repro.probes import RING
from ktstr.series.snapshot import SchedExtState, Snapshot

_T = TypeVar("_T")

MAX_TRACES: Final = 512
LIMITS: Final = Limits(max_map_bytes=256 << 10, max_total=8 << 20)
"""Of a dump's maps: rendered as text they grow twentyfold."""


def read_dump(
    kernel: Kernel,
    memory: PhysicalMemory,
    registers: str | None,
    *,
    reason: str,
    trigger: str = AT_END,
    elapsed_ms: float = 0.0,
    scheduler_comm: str | None = None,
    timeline: Iterable[EventCounterSample] = (),
) -> FailureDumpReport:
    """Read everything. Blocks for about a second; run it in a thread while the guest stands.

    :param registers: what QEMU says about its vCPUs; ``None`` when it cannot be asked.
    :param scheduler_comm: name of the process that loaded the scheduler; ``None`` for runs with
        the kernel's own, of which nothing of sched_ext is read.
    """
    began = time.perf_counter_ns()
    reader = _Reader(kernel, memory)
    kernel.forget()
    snapshot = reader.attempt("snapshot", reader.snapshot)
    vcpus = parse_registers(registers or "", kernel.cpu_offsets)
    if not vcpus:
        reader.unavailable["vcpu_regs"] = "QEMU did not tell them"
    tasks = reader.attempt("task_enrichments", lambda: reader.tasks(snapshot)) or Tasks()
    if tasks.note:
        reader.unavailable["task_enrichments"] = tasks.note
    scheduler = next(
        (t.tgid for t in tasks.by_address.values() if t.comm == scheduler_comm and t.pid == t.tgid),
        None,
    )
    queues: tuple[DsqState, ...] | None = None
    if scheduler_comm is None:
        reader.unavailable["dsq_states"] = "the kernel's own scheduler runs, which has none"
        if snapshot is not None:
            snapshot = replace(snapshot, sched_ext=SchedExtState())
    else:
        queues = reader.attempt(
            "dsq_states", lambda: read_queues(kernel, tasks, reader.unavailable)
        )
    traces = reader.attempt("stack_traces", lambda: reader.traces(tasks, vcpus))
    return FailureDumpReport(
        reason=reason,
        trigger=trigger,
        elapsed_ms=elapsed_ms,
        snapshot=snapshot,
        tasks=tuple(tasks.by_address.values()),
        queues=queues or (),
        registers=vcpus,
        traces=traces or (),
        timeline=tuple(timeline),
        scheduler_tgid=scheduler,
        unavailable=reader.unavailable,
        took_us=(time.perf_counter_ns() - began) // 1000,
    )


class _Reader:
    def __init__(self, kernel: Kernel, memory: PhysicalMemory) -> None:
        self._kernel = kernel
        self._memory = memory
        self.unavailable: dict[str, str] = {}

    def attempt(self, name: str, read: Callable[[], _T]) -> _T | None:
        """What ``read`` gives; ``None`` with a reason when it cannot."""
        try:
            return read()
        except Exception as error:
            # Guest memory may hold anything, so reading it may raise anything.
            plain = f"{type(error).__name__}: {error}"
            why = error.message if isinstance(error, KtstrError) else plain
            self.unavailable[name] = why[:400]
            return None

    def snapshot(self) -> Snapshot:
        # The probes' ring is read by who asked for it, and dwarfs all the rest.
        plan = make_plan(self._kernel, limits=LIMITS, maps=lambda found: found.name != RING)
        return decode(plan, copy(plan, self._memory), self._kernel)

    def tasks(self, snapshot: Snapshot | None) -> Tasks:
        clocks = [cpu.clock for cpu in snapshot.cpus if cpu.clock] if snapshot else []
        return read_tasks(self._kernel, max(clocks, default=None))

    def traces(self, tasks: Tasks, vcpus: tuple[VcpuRegisters, ...]) -> tuple[StackTrace, ...]:
        """Stacks of what runs, of what waits on a runqueue or for the disk, and of processes."""
        stacks = Stacks(self._kernel)
        if stacks.unavailable is not None:
            self.unavailable["stack_traces.orc"] = stacks.unavailable
        found = [stacks.of_vcpu(task, vcpu) for task, vcpu in self._current(tasks, vcpus)]
        for address, task in tasks.by_address.items():
            wanted = task.on_rq or task.is_user or task.state == "D"
            if task.on_cpu or not wanted or not task.pid:
                continue
            if len(found) >= MAX_TRACES:
                self.unavailable["stack_traces"] = f"more than {MAX_TRACES}; the rest was left out"
                break
            found.append(stacks.of_task(task, address))
        return tuple(found)

    def _current(
        self, tasks: Tasks, vcpus: tuple[VcpuRegisters, ...]
    ) -> Iterable[tuple[TaskState, VcpuRegisters]]:
        runqueues, curr = self._kernel.symbol("runqueues"), self._kernel.need("rq", "curr")
        for vcpu in vcpus if runqueues is not None else ():
            if vcpu.cpu in self._kernel.cpu_offsets:
                at = self._kernel.percpu(runqueues or 0, vcpu.cpu) + curr.offset
                task = task_at(self._kernel, tasks, self._kernel.read_unsigned(at, 8))
                if task is not None:
                    yield task, vcpu
