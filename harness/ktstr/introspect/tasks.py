# SPDX-License-Identifier: GPL-2.0-only
"""CPU time of every process: its live threads, and what ended threads left in ``signal_struct``.

Processes come and go, so the list of tasks belongs to the moment it is read at (see ``trail``); a
frozen guest may hold still for the walk, which is bounded. Kernel threads are no processes and are
left out.
"""

from dataclasses import dataclass

from ktstr.introspect.kernel import Kernel
from ktstr.introspect.memory import UnreadableMemory
from ktstr.introspect.trail import Reader, Shape
from ktstr.series.host import TgidTime

MAX_TASKS = 1024
"""List entries that one walk visits."""

_KTHREAD = 0x00200000  # PF_KTHREAD, include/linux/sched.h
_TASK = ("flags", "tgid", "utime", "stime", "start_time", "signal", "tasks", "thread_node")
_SIGNAL = ("utime", "stime", "thread_head")
_LEADS = ("tasks", "signal", "thread_node", "thread_head")
_MAX_WINDOW = 32768


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """Where the walk begins and what it reads of each task."""

    first: int = 0
    task: Shape | None = None
    signal: Shape | None = None

    def walk(self, memory: Reader, unavailable: dict[str, str]) -> tuple[TgidTime, ...]:
        """Every process that the list shows; a list that breaks off is told of."""
        if self.task is None or self.signal is None:
            return ()
        found: list[TgidTime] = []
        link = self.task.offset("tasks")
        left = MAX_TASKS
        try:
            at = memory.fields(self.first, self.task)["tasks"]
            while at != self.first + link and left > 0:
                left -= 1
                task = memory.fields(at - link, self.task)
                at = task["tasks"]
                if not task["flags"] & _KTHREAD:
                    time, left = self._group(memory, task, left)
                    found.append(time)
        except UnreadableMemory as error:
            unavailable["host.per_tgid_time"] = f"the list of tasks breaks off: {error.message}"
        if left <= 0:
            unavailable["host.per_tgid_time"] = f"more than {MAX_TASKS} tasks; the rest is left out"
        return tuple(found)

    def _group(self, memory: Reader, leader: dict[str, int], left: int) -> tuple[TgidTime, int]:
        assert self.task is not None and self.signal is not None
        user, system, readable = leader["utime"], leader["stime"], True
        try:
            signal = memory.fields(leader["signal"], self.signal)
            user, system = signal["utime"], signal["stime"]
            head = leader["signal"] + self.signal.offset("thread_head")
            node, at = self.task.offset("thread_node"), signal["thread_head"]
            while at != head and left > 0:
                left -= 1
                thread = memory.fields(at - node, self.task)
                user, system = user + thread["utime"], system + thread["stime"]
                at = thread["thread_node"]
        except UnreadableMemory:
            readable = False
        time = TgidTime(leader["tgid"], user, system, leader["start_time"], readable)
        return time, left


def plan_tasks(kernel: Kernel, unavailable: dict[str, str]) -> TaskPlan:
    """Plan the walk; what this kernel lacks is named in ``unavailable``."""
    task, signal = _shape(kernel, "task_struct", _TASK), _shape(kernel, "signal_struct", _SIGNAL)
    first = kernel.symbol("init_task")
    if task is None or signal is None or first is None:
        unavailable["host.per_tgid_time"] = (
            f"kernel {kernel.release} shows no CPU time of processes in its task list"
        )
        return TaskPlan()
    return TaskPlan(first, task, signal)


def _shape(kernel: Kernel, struct: str, names: tuple[str, ...]) -> Shape | None:
    places = {name: place for name in names if (place := kernel.field(struct, name)) is not None}
    if len(places) < len(names):
        return None
    shape = Shape.of(places, _LEADS)
    return shape if shape.length <= _MAX_WINDOW else None
