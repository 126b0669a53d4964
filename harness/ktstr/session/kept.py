# SPDX-License-Identifier: GPL-2.0-only
"""A VM that was kept: what another process needs to reach it."""

import json
import os
import shlex
import sys
from pathlib import Path

from ktstr.vm.machine import Machine

DEBUG_FILE = "debug.json"


def write_debug_file(machine: Machine, vmcoreinfo: tuple[int, int] | None) -> Path:
    """What another process needs to read the guest's memory, beside the sockets."""
    facts = {
        "pid": os.getpid(),
        "fds": list(machine.ram.fds),
        "segments": [
            [segment.address, segment.size, segment.offset, segment.backing]
            for segment in machine.ram.segments
        ],
        "vmcoreinfo": None if vmcoreinfo is None else list(vmcoreinfo),
    }
    target = machine.console_log.parent / DEBUG_FILE
    target.write_text(json.dumps(facts))
    return target


def commands(machine: Machine) -> list[tuple[str, str]]:
    """What each command does, and the command."""
    folder = Path(sys.executable).parent
    qmp, console = (shlex.quote(str(machine.sockets[name])) for name in ("qmp", "console"))
    ktstr = shlex.quote(str(folder / "ktstr"))
    shell = shlex.quote(str(folder / "qmp-shell"))
    found = [
        ("QMP", f"{shell} {qmp}"),
        ("serial console", f"{ktstr} console {console}"),
        ("drgn prompt", f"{ktstr} debug {qmp}"),
    ]
    if "gdb" in machine.sockets:
        target = shlex.quote(f"target remote {machine.sockets['gdb']}")
        found.append(("gdb", f"gdb -ex {target}"))
    return [*found, ("resume", f"{ktstr} resume {qmp}")]
