# SPDX-License-Identifier: GPL-2.0-only
"""Which version a QEMU is, by its own word."""

import re
import subprocess
from pathlib import Path
from typing import Final

import anyio

from ktstr.errors import HostUnfit
from ktstr.vm.checkpoint_manifest import QemuVersion

VERSION_DEADLINE_S: Final = 10.0

SHARES_TURNS: Final = (8, 1)
"""Oldest version that splits the time up to the next timer between all vCPUs, where they count
instructions on one thread (accel/tcg/tcg-accel-ops-rr.c); before, one vCPU got all of it."""


async def installed_version(program: Path) -> QemuVersion:
    """The version that a QEMU tells: ``QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)``.

    :raises HostUnfit: when it does not run, or tells none.
    """
    try:
        with anyio.fail_after(VERSION_DEADLINE_S):
            done = await anyio.run_process([program, "--version"], stderr=subprocess.STDOUT)
        said = done.stdout.decode("utf-8", "replace")
    except (OSError, subprocess.CalledProcessError, TimeoutError) as error:
        raise HostUnfit(f"{program} does not tell its version: {error}") from None
    return parsed_version(said)


def parsed_version(said: str) -> QemuVersion:
    """The version in what ``qemu-system-x86_64 --version`` prints.

    :raises HostUnfit: when there is none.
    """
    line = next(iter(said.splitlines()), "")
    _, found, rest = line.partition(" version ")
    number, _, package = rest.partition(" ")
    if not found or not number:
        raise HostUnfit(f"QEMU's version is not told in {line[:200]!r}")
    return QemuVersion(number=number[:200], package=package.strip("() ")[:200])


def numbers(version: QemuVersion) -> tuple[int, ...]:
    """A version as numbers that compare: ``(7, 2, 22)``; empty when it has none."""
    found = re.match(r"\d+(\.\d+)*", version.number)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def shares_turns(version: QemuVersion) -> bool:
    """Whether busy vCPUs get about the same time where they count instructions."""
    return numbers(version) >= SHARES_TURNS
