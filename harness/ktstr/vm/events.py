# SPDX-License-Identifier: GPL-2.0-only
"""What QEMU reports about a machine, as typed records, and how a machine's life can end."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ktstr.errors import GuestLost, GuestPanicked, QemuDied

EndKind = Literal["guest-shutdown", "guest-reset", "guest-panic", "internal-error", "qemu-exit"]

_STDERR_LINES = 20


@dataclass(frozen=True, slots=True)
class MachineEvent:
    """One QMP event.

    :param name: as QEMU spells it (``STOP``, ``RESUME``, ``SHUTDOWN``, ``GUEST_PANICKED`` …).
    :param at_us: QEMU's wall clock at the event, microseconds since the epoch.
    :param data: the event's members.
    """

    name: str
    at_us: int
    data: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class MachineEnd:
    """Why a machine will not run any further by itself.

    ``guest-shutdown``, ``guest-reset`` and ``guest-panic`` leave QEMU paused with the guest's
    memory readable; after ``qemu-exit`` only the mapped RAM is left. ``internal-error`` is a vCPU
    the accelerator could not go on with.

    :param detail: one sentence for people.
    :param status: exit status of QEMU, negative for the signal that killed it (``qemu-exit``).
    :param stderr: what QEMU last wrote there (``qemu-exit``).
    """

    kind: EndKind
    detail: str
    status: int | None = None
    stderr: tuple[str, ...] = ()

    def as_error(self) -> GuestLost:
        """The error for a caller that was not done with the guest."""
        match self.kind:
            case "guest-panic":
                return GuestPanicked(self.detail, hint="read the kernel log")
            case "qemu-exit" | "internal-error":
                said = "".join(f"\n  qemu: {line}" for line in self.stderr[-_STDERR_LINES:])
                return QemuDied(self.detail + said)
            case _:
                return GuestLost(self.detail, hint="read the end of the kernel log")


def event_from_qmp(message: Mapping[str, object]) -> MachineEvent:
    """Read a QMP event message; members of an unexpected type count as absent."""
    stamp = message.get("timestamp")
    seconds = micros = 0
    if isinstance(stamp, Mapping):
        raw_seconds, raw_micros = stamp.get("seconds"), stamp.get("microseconds")
        seconds = raw_seconds if isinstance(raw_seconds, int) else 0
        micros = raw_micros if isinstance(raw_micros, int) else 0
    data = message.get("data")
    return MachineEvent(
        name=str(message.get("event", "")),
        at_us=seconds * 1_000_000 + micros,
        data=data if isinstance(data, Mapping) else {},
    )


def end_from_event(event: MachineEvent) -> MachineEnd | None:
    """The end an event stands for, or ``None`` when the machine lives on.

    ``SHUTDOWN`` with a ``host-…`` reason is our own doing and is told by QEMU's exit.
    """
    if event.name == "GUEST_PANICKED":
        return MachineEnd("guest-panic", "the guest kernel panicked (reported through pvpanic)")
    if event.name == "SHUTDOWN":
        match event.data.get("reason"):
            case "guest-shutdown":
                return MachineEnd("guest-shutdown", "the guest powered itself off")
            case "guest-reset":
                return MachineEnd("guest-reset", "the guest reset itself")
            case "guest-panic":
                return MachineEnd("guest-panic", "the guest kernel panicked")
            case "host-error":
                return MachineEnd("internal-error", "QEMU stopped the guest after a host error")
    return None


def end_from_exit(status: int, stderr: tuple[str, ...], signal_name: str | None) -> MachineEnd:
    """The end that is QEMU's own exit.

    :param status: exit status, negative for a signal.
    :param signal_name: ``SIGKILL`` and the like when a signal ended it.
    """
    how = f"was killed by {signal_name}" if signal_name else f"exited with status {status}"
    return MachineEnd("qemu-exit", f"QEMU {how}", status=status, stderr=stderr)
