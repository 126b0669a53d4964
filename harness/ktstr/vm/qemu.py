# SPDX-License-Identifier: GPL-2.0-only
"""Finding QEMU and what comes with it on this host."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from ktstr.errors import HostUnfit

_PROGRAM = "qemu-system-x86_64"
_QBOOT = "qboot.rom"


@dataclass(frozen=True, slots=True)
class Qemu:
    """The QEMU of this host.

    :param program: absolute path of the emulator.
    :param qboot: the small firmware for PVH kernels, ``None`` where it is not installed.
    """

    program: Path
    qboot: Path | None


def find_qemu(path: str | None = None) -> Qemu:
    """Look QEMU up in ``path``, by default ``$PATH``.

    :raises HostUnfit: when it is not installed.
    """
    found = shutil.which(_PROGRAM, path=path)
    if found is None:
        raise HostUnfit(
            f"{_PROGRAM} is not in PATH ({path or os.environ.get('PATH', '')})",
            hint="install QEMU, on Debian: apt-get install qemu-system-x86",
        )
    program = Path(found).absolute()
    share = program.resolve().parent.parent / "share"
    candidates = (share / "qemu" / _QBOOT, share / "qboot" / _QBOOT)
    return Qemu(program, next((c for c in candidates if c.is_file()), None))


def find_setpriv() -> Path:
    """The program that ties QEMU's life to ours.

    :raises HostUnfit: when it is not installed.
    """
    found = shutil.which("setpriv")
    if found is None:
        raise HostUnfit(
            "setpriv is not in PATH", hint="install it, on Debian: apt-get install util-linux"
        )
    return Path(found).absolute()
