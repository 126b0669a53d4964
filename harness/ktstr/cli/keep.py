# SPDX-License-Identifier: GPL-2.0-only
"""A VM that was kept: how to reach it, printed ready to paste."""

from collections.abc import Iterable

from rich.console import Console

from ktstr.daemon.remote import Kept
from ktstr.session.kept import DEBUG_FILE, commands, write_debug_file
from ktstr.session.live import Live
from ktstr.vm.machine import Machine


def announce(console: Console, live: Live) -> bool:
    """Say that the VM of a run is kept, and how to reach it: see :func:`announce_machine`."""
    hello = live.recorder.hello
    return announce_machine(console, live.machine, None if hello is None else hello.vmcoreinfo)


def announce_kept(console: Console, kept: Kept) -> bool:
    """As :func:`announce`, of a VM in the daemon's hands."""
    if kept.qemu is None:
        _print(console, kept.problem or "no VM is kept")
        return False
    _print(console, f"the VM is kept, {kept.state} (QEMU pid {kept.qemu}); Ctrl-C ends it")
    if kept.problem is not None:
        _print(console, f"  {kept.problem}")
    _print_commands(console, kept.commands)
    return True


def announce_machine(
    console: Console, machine: Machine, vmcoreinfo: tuple[int, int] | None
) -> bool:
    """Say that the VM is kept, and how to reach it; never raises, for what was asked for is done.

    :param vmcoreinfo: guest-physical address and size of its kernel's note, when it is known.
    :return: whether there is a VM to keep: QEMU may be gone.
    """
    end = machine.end
    if end is not None and end.kind == "qemu-exit":
        _print(console, f"no VM is kept: {end.detail}")
        return False
    state = "paused" if end is None else f"paused after {end.kind}"
    _print(console, f"the VM is kept, {state} (QEMU pid {machine.pid}); Ctrl-C ends it")
    try:
        write_debug_file(machine, vmcoreinfo)
    except OSError as error:
        _print(console, f"  no drgn prompt: {DEBUG_FILE} cannot be written: {error.strerror}")
    _print_commands(console, commands(machine))
    return True


def _print_commands(console: Console, found: Iterable[tuple[str, str]]) -> None:
    for what, command in found:
        _print(console, f"  {what + ':':16}{command}")


def _print(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False)
