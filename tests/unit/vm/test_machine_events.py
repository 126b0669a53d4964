# SPDX-License-Identifier: GPL-2.0-only
from collections.abc import Mapping

import pytest

from ktstr.errors import GuestLost, GuestPanicked, QemuDied
from ktstr.vm.events import (
    MachineEnd,
    MachineEvent,
    end_from_event,
    end_from_exit,
    event_from_qmp,
)


def test_event_is_read() -> None:
    event = event_from_qmp(
        {
            "event": "SHUTDOWN",
            "timestamp": {"seconds": 12, "microseconds": 34},
            "data": {"guest": True, "reason": "guest-reset"},
        }
    )
    assert event == MachineEvent("SHUTDOWN", 12_000_034, {"guest": True, "reason": "guest-reset"})


@pytest.mark.parametrize(
    "message", [{}, {"event": "STOP", "timestamp": 5, "data": []}, {"timestamp": {"seconds": "x"}}]
)
def test_odd_members_count_as_absent(message: Mapping[str, object]) -> None:
    event = event_from_qmp(message)
    assert (event.at_us, event.data) == (0, {})


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("GUEST_PANICKED", {"action": "pause"}, "guest-panic"),
        ("SHUTDOWN", {"reason": "guest-shutdown"}, "guest-shutdown"),
        ("SHUTDOWN", {"reason": "guest-reset"}, "guest-reset"),
        ("SHUTDOWN", {"reason": "guest-panic"}, "guest-panic"),
        ("SHUTDOWN", {"reason": "host-error"}, "internal-error"),
        ("SHUTDOWN", {"reason": "host-qmp-quit"}, None),
        ("SHUTDOWN", {}, None),
        ("STOP", {}, None),
        ("RESUME", {}, None),
    ],
)
def test_which_events_end_a_machine(name: str, data: dict[str, object], kind: str | None) -> None:
    end = end_from_event(MachineEvent(name, 0, data))
    assert (end and end.kind) == kind


def test_exit_tells_signal_or_status() -> None:
    assert "killed by SIGKILL" in end_from_exit(-9, (), "SIGKILL").detail
    assert "exited with status 1" in end_from_exit(1, ("no memory",), None).detail


@pytest.mark.parametrize(
    ("end", "error", "said"),
    [
        (MachineEnd("guest-panic", "panicked"), GuestPanicked, "panicked"),
        (MachineEnd("guest-shutdown", "off"), GuestLost, "off"),
        (MachineEnd("guest-reset", "reset"), GuestLost, "reset"),
        (end_from_exit(1, ("out of memory",), None), QemuDied, "qemu: out of memory"),
    ],
)
def test_end_as_error(end: MachineEnd, error: type[GuestLost], said: str) -> None:
    got = end.as_error()
    assert type(got) is error
    assert said in str(got)
