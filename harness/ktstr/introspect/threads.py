# SPDX-License-Identifier: GPL-2.0-only
"""Every thread of a guest that stands still, with its place in the scheduler."""

from dataclasses import dataclass, field, replace
from typing import Final

from ktstr.errors import KtstrError
from ktstr.introspect.btf import Field
from ktstr.introspect.kernel import Kernel
from ktstr.introspect.memory import UnreadableMemory
from ktstr.series.dump.parts import TaskState

MAX_TASKS: Final = 4096
_MAX_TASK_BYTES = 32 << 10
_CLASSES = ("stop", "dl", "rt", "fair", "ext", "idle")
_STATES = (
    (0x1, "S"), (0x2, "D"), (0x4, "T"), (0x8, "t"), (0x10, "X"), (0x20, "Z"), (0x40, "P"),
)  # fmt: skip
_IDLE_STATE = 0x402  # TASK_UNINTERRUPTIBLE | TASK_NOLOAD: a kernel thread that waits for work
_QUEUED = 1
_HZ = (100, 250, 300, 1000)
_MEMBERS = {
    "pid": "pid",
    "tgid": "tgid",
    "comm": "comm",
    "cpu": "thread_info.cpu",
    "state": "__state",
    "on_rq": "on_rq",
    "on_cpu": "on_cpu",
    "class": "sched_class",
    "policy": "policy",
    "prio": "prio",
    "static_prio": "static_prio",
    "weight": "scx.weight",
    "dsq": "scx.dsq",
    "slice": "scx.slice",
    "vtime": "scx.dsq_vtime",
    "flags": "scx.flags",
    "runnable_at": "scx.runnable_at",
    "mm": "mm",
}


@dataclass(slots=True)
class Tasks:
    """Threads by the address of their ``task_struct``.

    :param note: why some are missing; ``None`` when all were found.
    """

    by_address: dict[int, TaskState] = field(default_factory=dict)
    note: str | None = None


def read_tasks(kernel: Kernel, clock_ns: int | None) -> Tasks:
    """Walk processes and their threads; a damaged list ends the walk with a note.

    :param clock_ns: a runqueue's clock, for the length of a jiffy; without it ages are not known.
    :raises KernelUnfit: when this kernel's ``task_struct`` is not as needed.
    """
    return _Walk(kernel, clock_ns).all()


def ticks_per_second(jiffies: int, clock_ns: int) -> int | None:
    """CONFIG_HZ of a guest: the counter starts five minutes before its 32 bits are full.

    :param jiffies: ``jiffies_64``; :param clock_ns: time since boot.
    :return: ``None`` when no usual value fits.
    """
    seconds = clock_ns / 1e9
    off = {hz: abs((jiffies - ((1 << 32) - 300 * hz)) / hz - seconds) for hz in _HZ}
    best = min(off, key=lambda hz: off[hz])
    return best if off[best] < 5 + seconds / 20 else None


class _Walk:
    def __init__(self, kernel: Kernel, clock_ns: int | None) -> None:
        self._kernel = kernel
        kernel.need("task_struct", "comm")
        kernel.need("task_struct", "pid")
        self._places: dict[str, Field] = {}
        for name, path in _MEMBERS.items():
            place = kernel.field("task_struct", path)
            if place is not None:
                self._places[name] = place
        self._size = min(kernel.btf.size(kernel.struct("task_struct") or 0), _MAX_TASK_BYTES)
        self._classes = {kernel.symbol(f"{name}_sched_class"): name for name in _CLASSES}
        self._dsq_id = kernel.field("scx_dispatch_q", "id")
        address = kernel.symbol("jiffies_64")
        self._jiffies = 0 if address is None else kernel.read_unsigned(address, 8)
        fits = clock_ns is not None and self._jiffies
        self._hz = ticks_per_second(self._jiffies, clock_ns or 0) if fits else None

    def all(self) -> Tasks:
        kernel, found = self._kernel, Tasks()
        first = kernel.symbol("init_task")
        if first is None:
            found.note = f"kernel {kernel.release} has no init_task"
            return found
        tasks_at = kernel.need("task_struct", "tasks").offset
        signal_at = kernel.need("task_struct", "signal").offset
        head_at = kernel.need("signal_struct", "thread_head").offset
        node_at = kernel.need("task_struct", "thread_node").offset
        leader = first
        try:
            for _ in range(MAX_TASKS):
                head = self._word(leader + signal_at) + head_at
                node = self._word(head)
                while node != head:
                    if not self._add(found, node - node_at):
                        return found
                    node = self._word(node)
                leader = self._word(leader + tasks_at) - tasks_at
                if leader == first:
                    return found
            found.note = f"the list of processes does not end within {MAX_TASKS}"
        except UnreadableMemory as error:
            found.note = f"the list of tasks is damaged: {error.message}"
        return found

    def _add(self, found: Tasks, address: int) -> bool:
        if address in found.by_address:
            found.note = "the list of threads leads back into itself"
        elif len(found.by_address) >= MAX_TASKS:
            found.note = f"more than {MAX_TASKS} tasks; the rest was not read"
        else:
            found.by_address[address] = self.task(address)
            return True
        return False

    def task(self, address: int) -> TaskState:
        """One thread.

        :raises UnreadableMemory: when the address is wild.
        """
        raw = self._kernel.read(address, self._size)
        number = {
            name: int.from_bytes(raw[place.offset :][: place.size], "little")
            for name, place in self._places.items()
            if name != "comm"
        }
        name = self._places["comm"]
        comm = raw[name.offset :][: name.size].split(b"\0", 1)[0]
        pid, on_rq, on_cpu = number["pid"], number.get("on_rq"), bool(number.get("on_cpu"))
        plain = TaskState(
            pid=_signed(pid),
            tgid=_signed(number.get("tgid", pid)),
            comm=comm.decode("utf-8", "backslashreplace"),
            cpu=number.get("cpu"),
            state=_letter(number.get("state")),
            on_rq=on_rq == _QUEUED,
            on_cpu=on_cpu,
            sched_class=self._classes.get(number.get("class")),
            policy=number.get("policy"),
            prio=number.get("prio"),
            static_prio=number.get("static_prio"),
            is_user=bool(number.get("mm")),
        )
        if plain.sched_class != "ext":
            return plain
        return replace(
            plain,
            weight=number.get("weight"),
            slice_ns=number.get("slice"),
            dsq_vtime=number.get("vtime"),
            scx_flags=number.get("flags"),
            dsq_id=self._queue(number.get("dsq")),
            runnable_ms=self._age(number) if plain.on_rq and not on_cpu else None,
        )

    def _queue(self, pointer: int | None) -> int | None:
        if not pointer or self._dsq_id is None:
            return None
        try:
            return self._word(pointer + self._dsq_id.offset)
        except UnreadableMemory:
            return None

    def _age(self, number: dict[str, int]) -> float | None:
        since = number.get("runnable_at")
        if since is None or self._hz is None or not 0 <= self._jiffies - since < 1 << 40:
            return None
        return (self._jiffies - since) * 1000 / self._hz

    def _word(self, address: int) -> int:
        return self._kernel.read_unsigned(address, 8)


def _signed(value: int) -> int:
    return value - (1 << 32) if value >> 31 else value


def _letter(state: int | None) -> str:
    if state is None:
        return "?"
    if state == 0:
        return "R"
    if state & _IDLE_STATE == _IDLE_STATE:
        return "I"
    return next((letter for bit, letter in _STATES if state & bit), "?")


def task_at(kernel: Kernel, tasks: Tasks, address: int) -> TaskState | None:
    """The task at an address: one of those found, else read from there (idle tasks have no list).

    :return: ``None`` when nothing readable is there.
    """
    try:
        return tasks.by_address.get(address) or _Walk(kernel, None).task(address)
    except KtstrError:
        return None
