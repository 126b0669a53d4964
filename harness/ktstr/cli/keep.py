# SPDX-License-Identifier: GPL-2.0-only
"""A VM that was kept: how to reach it, printed ready to paste."""

import json
import os
import shlex
import sys
from pathlib import Path

from rich.console import Console

from ktstr.session.live import Live

DEBUG_FILE = "debug.json"


def write_debug_file(live: Live) -> Path:
    """What another process needs to read the guest's memory, beside the sockets."""
    hello = live.recorder.hello
    facts = {
        "pid": os.getpid(),
        "fds": list(live.machine.ram.fds),
        "segments": [
            [segment.address, segment.size, segment.offset, segment.backing]
            for segment in live.machine.ram.segments
        ],
        "vmcoreinfo": None if hello is None else list(hello.vmcoreinfo),
    }
    target = live.machine.console_log.parent / DEBUG_FILE
    target.write_text(json.dumps(facts))
    return target


def commands(live: Live) -> list[tuple[str, str]]:
    """What each command does, and the command."""
    folder = Path(sys.executable).parent
    qmp, console = (shlex.quote(str(live.machine.sockets[name])) for name in ("qmp", "console"))
    ktstr = shlex.quote(str(folder / "ktstr"))
    shell = shlex.quote(str(folder / "qmp-shell"))
    return [
        ("QMP", f"{shell} {qmp}"),
        ("serial console", f"{ktstr} console {console}"),
        ("drgn prompt", f"{ktstr} debug {qmp}"),
        ("resume", f"{ktstr} resume {qmp}"),
    ]


def announce(console: Console, live: Live) -> bool:
    """Say that the VM is kept, and how to reach it; never raises, for the run is over.

    :return: whether there is a VM to keep: QEMU may be gone.
    """
    end = live.machine.end
    if end is not None and end.kind == "qemu-exit":
        _print(console, f"no VM is kept: {end.detail}")
        return False
    state = "paused" if end is None else f"paused after {end.kind}"
    _print(console, f"the VM is kept, {state} (QEMU pid {live.machine.pid}); Ctrl-C ends it")
    try:
        write_debug_file(live)
    except OSError as error:
        _print(console, f"  no drgn prompt: {DEBUG_FILE} cannot be written: {error.strerror}")
    for what, command in commands(live):
        _print(console, f"  {what + ':':16}{command}")
    return True


def _print(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False)
