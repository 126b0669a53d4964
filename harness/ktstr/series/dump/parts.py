# SPDX-License-Identifier: GPL-2.0-only
"""What a failure dump holds beside a snapshot: tasks, queues, registers, stack traces.

Pure data. ``None`` means not measured. Text comes from the guest, cut to a limit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

RUNNABLE: Final = "R"
"""State letter of a task that runs or wants to."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One function of a stack trace.

    :param address: where it goes on, kernel-virtual.
    :param name: ``schedule+0x27``; ``None`` where nothing is known at that address.
    :param method: how the frame was found: ``register`` (the vCPU's own), ``saved`` (where a
        sleeping task goes on), ``orc``, ``frame-pointer``, or ``scan`` (a word of the stack that
        looks like a return address, which may be left over from an earlier call).
    """

    address: int
    name: str | None
    method: str

    def in_words(self) -> str:
        """As a kernel's oops shows it: a doubtful frame has a question mark."""
        shown = self.name or f"{self.address:#x}"
        return f"? {shown}" if self.method == "scan" else shown


@dataclass(frozen=True, slots=True)
class StackTrace:
    """The kernel stack of one task, the innermost function first.

    :param source: ``task`` for one that does not run, ``vcpu`` for the current task of a CPU.
    :param note: why there are no frames, or why there are no more.
    """

    pid: int
    comm: str
    source: str
    frames: tuple[Frame, ...] = ()
    note: str | None = None

    @property
    def method(self) -> str:
        """How most frames behind the first were found; ``none`` without any."""
        found = [frame.method for frame in self.frames[1:]] or [f.method for f in self.frames]
        return max(found, key=found.count) if found else "none"


@dataclass(frozen=True, slots=True)
class TaskState:
    """One thread of the guest.

    :param state: letter as in ps(1): R, S, D, T, t, X, Z, P, I; ``?`` for another.
    :param on_rq: whether it is on a runqueue; :param on_cpu: whether it runs at this instant.
    :param sched_class: ``fair``, ``ext``, ``rt``, ``dl``, ``stop`` or ``idle``.
    :param prio: the kernel's priority, 0 highest; 100 to 139 for normal tasks.
    :param weight: of sched_ext, 100 for nice 0; the fields from here on are ``None`` for others.
    :param dsq_id: the dispatch queue that it waits in; :param dsq_vtime: its place in one by vtime.
    :param slice_ns: what is left of its time slice.
    :param is_user: whether it is of a process, and no thread of the kernel's own.
    :param runnable_ms: how long it has been runnable without running.
    """

    pid: int
    tgid: int
    comm: str
    cpu: int | None = None
    state: str = "?"
    on_rq: bool = False
    on_cpu: bool = False
    sched_class: str | None = None
    policy: int | None = None
    prio: int | None = None
    static_prio: int | None = None
    weight: int | None = None
    dsq_id: int | None = None
    slice_ns: int | None = None
    dsq_vtime: int | None = None
    scx_flags: int | None = None
    is_user: bool = False
    runnable_ms: float | None = None


@dataclass(frozen=True, slots=True)
class DsqState:
    """One dispatch queue with the tasks in it, the next one first.

    :param kind: ``local``, ``global``, ``user`` or ``bypass``.
    :param cpu: of a queue that belongs to a CPU; :param node: to a NUMA node.
    :param length: what the kernel counts; :param pids: those that were found.
    :param note: why the walk ended before the end of the queue.
    """

    kind: str
    id: int
    cpu: int | None = None
    node: int | None = None
    length: int | None = None
    pids: tuple[int, ...] = ()
    note: str | None = None

    @property
    def name(self) -> str:
        """``local of CPU 1``, ``global of node 0``, ``user 0x17``."""
        if self.kind == "user":
            return f"user {self.id:#x}"
        if self.cpu is not None:
            return f"{self.kind} of CPU {self.cpu}"
        return self.kind if self.node is None else f"{self.kind} of node {self.node}"


@dataclass(frozen=True, slots=True)
class VcpuRegisters:
    """What one vCPU's registers held.

    :param cpu: number of the guest's CPU, which its per-CPU base tells; else the vCPU's own.
    :param cpl: 3 in user space, 0 in the kernel; :param halted: whether it waits for an interrupt.
    :param values: by lower-case name (``rip``, ``rsp``, ``cr3``, ``gs_base``).
    """

    cpu: int
    cpl: int | None = None
    halted: bool | None = None
    values: Mapping[str, int] = field(default_factory=dict)


BUILTIN: Final = 1 << 63
LOCAL_ON: Final = 1 << 62
_BUILTIN = {BUILTIN: "none", BUILTIN | 1: "global", BUILTIN | 2: "local", BUILTIN | 3: "bypass"}


def dsq_name(dsq_id: int) -> str:
    """An id in words: ``local``, ``local of CPU 3``, ``user 0x17`` (enum scx_dsq_id_flags)."""
    if not dsq_id & BUILTIN:
        return f"user {dsq_id:#x}"
    if dsq_id & LOCAL_ON:
        return f"local of CPU {dsq_id & 0xFFFFFFFF}"
    return _BUILTIN.get(dsq_id, f"builtin {dsq_id & ~BUILTIN:#x}")
