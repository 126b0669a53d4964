# SPDX-License-Identifier: GPL-2.0-only
"""What compiles a kernel here: versions for the key, and what is missing, with one line to get it.

The kernel's own list: Documentation/process/changes.rst.
"""

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass

from anyio import create_task_group

from ktstr.errors import HostUnfit
from ktstr.kernels.build.command import stream

PROGRAMS: Mapping[str, str] = {
    "make": "make",
    "gcc": "gcc",
    "ld": "binutils",
    "objcopy": "binutils",
    "flex": "flex",
    "bison": "bison",
    "bc": "bc",
    "perl": "perl",
    "pahole": "dwarves",
    "xz": "xz-utils",
}
"""Programs that a build runs, and Debian's packages with them."""

HEADERS: Mapping[str, str] = {
    "gelf.h": "libelf-dev",
    "zlib.h": "zlib1g-dev",
}
"""Headers that the build's own programs include, and Debian's packages with them."""

_VERSIONED = ("gcc", "ld", "pahole")
_NUMBERS = re.compile(r"\d+(?:\.\d+)+")
_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Toolchain:
    """The programs whose versions change what comes out of a build.

    :param versions: the first line that each prints of itself, by program.
    :param ccache: compile through ccache, which changes nothing but the time.
    """

    versions: Mapping[str, str]
    ccache: bool

    def __str__(self) -> str:
        numbers = {name: _NUMBERS.findall(text) for name, text in self.versions.items()}
        return ", ".join(f"{name} {found[-1]}" for name, found in numbers.items() if found)


async def find_toolchain() -> Toolchain:
    """The toolchain of this machine.

    :raise HostUnfit: programs are missing; all are named.
    """
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        raise _lacking(missing, {PROGRAMS[program] for program in missing})
    versions: dict[str, str] = {}

    async def ask(program: str) -> None:
        _, tail = await stream([program, "--version"], seconds=_SECONDS)
        versions[program] = tail[0].strip() if tail else ""

    async with create_task_group() as group:
        for program in _VERSIONED:
            group.start_soon(ask, program)
    return Toolchain(
        {program: versions[program] for program in _VERSIONED}, shutil.which("ccache") is not None
    )


async def check_headers() -> None:
    """See that the compiler finds what the build's own programs include.

    :raise HostUnfit: headers are missing; all are named.
    """
    missing = []
    for header in HEADERS:
        argv = ["gcc", "-E", "-x", "c", "-include", header, "-o", os.devnull, os.devnull]
        status, _ = await stream(argv, seconds=_SECONDS)
        if status:
            missing.append(header)
    if missing:
        raise _lacking(missing, {HEADERS[header] for header in missing})


def _lacking(what: list[str], packages: set[str]) -> HostUnfit:
    return HostUnfit(
        f"building a kernel needs {', '.join(what)}, not on this machine",
        hint=f"sudo apt-get install {' '.join(sorted(packages))}",
    )
