# SPDX-License-Identifier: GPL-2.0-only
"""Stop, act, continue: QEMU's process, by job control, in one turn of the event loop.

A freeze costs the guest what lies between the stop and the continue. SIGSTOP stops the threads of
the vCPUs wherever they are, under KVM as under TCG, and wait(2) tells when the last of them stands;
nobody else has a part in it, neither QEMU's main loop nor its gdb stub (docs/decisions/0020).
Memory is then what another CPU would see at that instant.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import anyio

from ktstr.errors import GuestHung, QemuDied

DEADLINE_S: Final = 30.0
"""How long QEMU's threads may take to stop (seed: rendezvous)."""

SPIN_S: Final = 0.005
"""How long the event loop itself waits for the threads; one that is in disk I/O takes longer."""

_NAP_S: Final = 0.00002
"""Between two looks: really asleep, since the threads may need this very CPU to stop on."""

_LATE_NAP_S: Final = 0.001


class Stoppable(Protocol):
    """A child process under job control."""

    def stop(self) -> None: ...

    def stands(self) -> bool: ...

    def cont(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Stood:
    """How long one freeze took, ns.

    :param paused_ns: from the signal that stops the vCPUs to the one that lets them go on; the
        first of them stands later than that, by about 0.1 ms.
    :param request_ns: the same, with the wait for another freeze to end.
    """

    paused_ns: int
    request_ns: int


class Freezes:
    """Freezes of one QEMU, one at a time."""

    def __init__(self, process: Stoppable) -> None:
        self._process = process
        self._turn = anyio.Lock(fast_acquire=True)

    async def freeze(self, inside: Callable[[], object]) -> Stood:
        """Run ``inside`` while the guest stands still; it must neither wait nor take long.

        The guest goes on whatever ``inside`` does, also under cancellation. A guest that QEMU had
        stopped before stays as it is.

        :raises QemuDied: QEMU is gone.
        :raises GuestHung: its threads did not stop in time.
        :raises Exception: whatever ``inside`` raised.
        """
        asked_ns = time.perf_counter_ns()
        async with self._turn:
            began_ns = time.perf_counter_ns()
            try:
                self._process.stop()
                if not self._stood_soon():
                    await self._stood_late()
                inside()
            except (ProcessLookupError, ChildProcessError):
                raise QemuDied("QEMU is gone") from None
            finally:
                # Before the signal: on a busy host the threads it wakes take this CPU at once.
                over_ns = time.perf_counter_ns()
                self._process.cont()
        return Stood(over_ns - began_ns, over_ns - asked_ns)

    def _stood_soon(self) -> bool:
        """Wait within the event loop: to go through it costs more than the threads take."""
        until = time.perf_counter() + SPIN_S
        while not self._process.stands():
            if time.perf_counter() > until:
                return False
            time.sleep(_NAP_S)
        return True

    async def _stood_late(self) -> None:
        with anyio.move_on_after(DEADLINE_S, shield=True):
            while not self._process.stands():  # noqa: ASYNC110 - wait(2) tells of no event
                await anyio.sleep(_LATE_NAP_S)
            return
        raise GuestHung(f"QEMU's threads did not stop within {DEADLINE_S:g} s")
