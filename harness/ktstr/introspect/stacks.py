# SPDX-License-Identifier: GPL-2.0-only
"""Kernel stack traces of a guest that stands still: sleeping tasks, and what each vCPU runs."""

from collections.abc import Iterable
from itertools import islice
from typing import Final

from ktstr.errors import KtstrError
from ktstr.introspect.kernel import Kernel
from ktstr.introspect.memory import UnreadableMemory
from ktstr.introspect.orc import NoUnwind, OrcTable, Place, Unwinder
from ktstr.introspect.watch import code_at
from ktstr.series.dump.parts import Frame, StackTrace, TaskState, VcpuRegisters

MAX_FRAMES: Final = 48
MAX_SCANNED: Final = 24
"""Doubtful frames that one trace may show."""

STACK_BYTES: Final = 16 << 10
"""THREAD_SIZE of x86-64 without KASAN."""

NAME_CHARS: Final = 200


class Stacks:
    """Makes stack traces; remembers what code an address belongs to.

    :ivar unavailable: why the kernel's ORC tables are not used; ``None`` when they are.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._names: dict[int, str | None] = {}
        self.unavailable: str | None = None
        table: OrcTable | None = None
        try:
            table = OrcTable(kernel)
        except KtstrError as error:
            self.unavailable = error.message
        self._unwinder = Unwinder(kernel, table, self._is_start)

    def of_task(self, task: TaskState, address: int) -> StackTrace:
        """The stack of a task that does not run.

        :param address: its ``task_struct``.
        """
        try:
            need = self._kernel.need
            saved = self._kernel.read_unsigned(address + need("task_struct", "thread.sp").offset, 8)
            ip = self._word(saved + need("inactive_task_frame", "ret_addr").offset)
            bp = self._word(saved + need("inactive_task_frame", "bp").offset)
            size = self._kernel.btf.size(self._kernel.struct("inactive_task_frame") or 0)
        except KtstrError as error:
            return StackTrace(task.pid, task.comm, "task", note=error.message)
        start = Place(ip, saved + size, bp, method="saved")
        return self._trace(task, "task", start)

    def of_vcpu(self, task: TaskState, registers: VcpuRegisters) -> StackTrace:
        """What the current task of a CPU does."""
        values = registers.values
        if registers.cpl == 3:
            return StackTrace(task.pid, task.comm, "vcpu", note="it runs in user space")
        if not {"rip", "rsp", "rbp"} <= set(values):
            return StackTrace(task.pid, task.comm, "vcpu", note="its registers were not read")
        start = Place(values["rip"], values["rsp"], values["rbp"], True, values)
        return self._trace(task, "vcpu", start)

    def _trace(self, task: TaskState, source: str, start: Place) -> StackTrace:
        frames: list[Frame] = []
        note: str | None = None
        top = start.sp
        try:
            for place in islice(self._unwinder.follow(start), MAX_FRAMES):
                name = self._name(place.ip, exact=place.signal)
                if name is None and frames:
                    raise NoUnwind(f"nothing is known of the code at {place.ip:#x}")
                frames.append(Frame(place.ip, name, place.method))
                top = place.sp
            if len(frames) == MAX_FRAMES:
                note = f"cut after {MAX_FRAMES} frames"
        except NoUnwind as error:
            note = f"{error}; what follows are words that look like return addresses"
            frames += self._scan(top)
        return StackTrace(task.pid, task.comm, source, tuple(frames), note)

    def _scan(self, sp: int) -> Iterable[Frame]:
        sp &= ~7
        end = (sp & ~(STACK_BYTES - 1)) + STACK_BYTES
        found = []
        for address in range(sp, end, 8):
            try:
                word = self._word(address)
            except UnreadableMemory:
                break
            name = self._name(word) if self._unwinder.is_text(word) else None
            if name is not None:
                found.append(Frame(word, name, "scan"))
            if len(found) == MAX_SCANNED:
                break
        return found

    def _is_start(self, address: int) -> bool:
        return (self._name(address, exact=True) or "").partition(" ")[0].endswith("+0x0")

    def _name(self, address: int, *, exact: bool = False) -> str | None:
        key = address if exact else address - 1
        if key not in self._names:
            name = code_at(self._kernel, key)
            if name is not None and not exact:
                # Looked up one byte before: a call may be the last thing its function does.
                head, plus, rest = name.partition("+0x")
                digits, space, of = rest.partition(" ")
                name = f"{head}{plus}{int(digits or '0', 16) + 1:x}{space}{of}"
            self._names[key] = None if name is None else name[:NAME_CHARS]
        return self._names[key]

    def _word(self, address: int) -> int:
        return self._kernel.read_unsigned(address, 8)
