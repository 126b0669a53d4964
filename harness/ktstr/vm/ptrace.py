# SPDX-License-Identifier: GPL-2.0-only
"""As much of ptrace(2) as it takes to halt one thread at a write to one word.

The word is watched by a debug register of the host's CPU (Intel SDM 3B, 18.2; the offsets are those
of ``struct user``, arch/x86/include/asm/user_64.h). All calls about a thread have to come from the
thread that seized it.
"""

import ctypes
import os
from typing import Final

from ktstr.errors import HostUnfit, QemuDied

_CONT: Final = 7
_DETACH: Final = 17
_PEEKUSER: Final = 3
_POKEUSER: Final = 6
_SEIZE: Final = 0x4206
_INTERRUPT: Final = 0x4207
_LISTEN: Final = 0x4208

_EXITKILL: Final = 0x0010_0000
"""Option of a seizure: the thread's process is killed when the tracer ends."""

_EVENT_STOP: Final = 128
_WALL: Final = 0x4000_0000

_DEBUG_REGISTERS: Final = 848
"""Offset of ``u_debugreg`` in ``struct user``."""

_WORD_WRITTEN: Final = 0b10_01 << 16 | 1
"""DR7: register 0 is on, breaks on writes, covers 8 bytes."""

WORD: Final = 8
"""Size of what is watched, bytes; its address is a multiple of it."""


class Traced:
    """One seized thread of another process.

    :raises HostUnfit: when this host does not let its own children be traced.
    :raises QemuDied: when the thread has ended.
    """

    def __init__(self, thread: int) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.ptrace.restype = ctypes.c_long
        self._libc.ptrace.argtypes = (ctypes.c_long,) * 4
        self._thread = thread
        self._call(_SEIZE, 0, _EXITKILL)

    def interrupt(self) -> None:
        """Have the thread halt soon; :meth:`halted` tells when it did."""
        self._call(_INTERRUPT)

    def go_on(self, signal: int = 0) -> None:
        """Let the halted thread run, with a signal that had been meant for it."""
        self._call(_CONT, 0, signal)

    def watch(self, address: int | None) -> None:
        """Have the halted thread halt after each write to the word there; ``None``: no more."""
        self._poke(7, 0)
        if address is not None:
            self._poke(0, address)
            self._poke(7, _WORD_WRITTEN)

    def hit(self) -> bool:
        """Whether the thread halted because of the watch; asked once per halt."""
        status = self._call(_PEEKUSER, _DEBUG_REGISTERS + 6 * WORD)
        self._poke(6, 0)
        return bool(status & 1)

    def halted(self) -> int | None:
        """The signal that halted the thread, 0 when it was none; ``None`` while it runs.

        :raises QemuDied: when the thread has ended.
        """
        try:
            thread, status = os.waitpid(self._thread, _WALL | os.WNOHANG)
        except ChildProcessError:
            raise QemuDied("QEMU is gone") from None
        if not thread:
            return None
        if not os.WIFSTOPPED(status):
            raise QemuDied("QEMU ended")
        if status >> 16 == _EVENT_STOP:
            if os.WSTOPSIG(status) == 5:
                return 0
            # Job control has stopped the whole process; the thread waits with the others.
            self._call(_LISTEN)
            return None
        return os.WSTOPSIG(status)

    def ended(self) -> bool:
        """Whether the thread has ended; it is not seen to halt any more."""
        try:
            thread, status = os.waitpid(self._thread, _WALL | os.WNOHANG)
        except ChildProcessError:
            return True
        return bool(thread) and not os.WIFSTOPPED(status)

    def release(self) -> None:
        """Leave the halted thread to itself; it runs on."""
        self.watch(None)
        self._call(_DETACH)

    def _poke(self, register: int, value: int) -> None:
        self._call(_POKEUSER, _DEBUG_REGISTERS + register * WORD, value)

    def _call(self, request: int, address: int = 0, data: int = 0) -> int:
        ctypes.set_errno(0)
        result = int(self._libc.ptrace(request, self._thread, address, data))
        number = ctypes.get_errno()
        if result != -1 or not number:
            return result
        if number == 3:
            raise QemuDied("QEMU is gone, or runs where it should stand")
        raise HostUnfit(
            f"QEMU's thread cannot be halted from outside: {os.strerror(number)}",
            hint="ktstr needs ptrace(2) on its own children, and debug registers of the CPU; "
            "a container's seccomp profile or kernel.yama.ptrace_scope = 3 may forbid it",
        )
