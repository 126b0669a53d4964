# SPDX-License-Identifier: GPL-2.0-only
"""Finding QEMU and what comes with it on this host."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from ktstr.errors import HostUnfit

VARIABLE = "KTSTR_QEMU"
"""Names the program to use, in place of the one in ``$PATH``."""

_PROGRAM = "qemu-system-x86_64"
_QBOOT = "qboot.rom"
_SYSTEM_SHARE = Path("/usr/share")


@dataclass(frozen=True, slots=True)
class Qemu:
    """A QEMU on this host.

    :param program: absolute path of the emulator.
    :param qboot: the small firmware for PVH kernels, ``None`` where it is not installed.
    :param data: the folder of its option ROMs, ``None`` where QEMU finds them by itself.
    """

    program: Path
    qboot: Path | None
    data: Path | None = None

    def options(self) -> list[tuple[str, ...]]:
        """What this QEMU has to be told of itself."""
        return [] if self.data is None else [("-L", str(self.data))]


def find_qemu(path: str | None = None) -> Qemu:
    """Look QEMU up in ``path``, by default what ``$KTSTR_QEMU`` names, else ``$PATH``.

    :raises HostUnfit: when it is not there.
    """
    named = named_qemu() if path is None else None
    if named is not None:
        if not os.access(named, os.X_OK) or not Path(named).is_file():
            raise HostUnfit(
                f"{named}, which {VARIABLE} names, is not a program",
                hint=f"let {VARIABLE} name a qemu-system-x86_64, or unset it",
            )
        return qemu_at(Path(named))
    found = shutil.which(_PROGRAM, path=path)
    if found is None:
        raise HostUnfit(
            f"{_PROGRAM} is not in PATH ({path or os.environ.get('PATH', '')})",
            hint="install QEMU, on Debian: apt-get install qemu-system-x86",
        )
    return qemu_at(Path(found))


def named_qemu() -> str | None:
    """What ``$KTSTR_QEMU`` says, ``None`` when nothing."""
    return os.environ.get(VARIABLE) or None


def qemu_at(program: Path) -> Qemu:
    """The QEMU whose program is at ``program``, with the firmware that lies beside it."""
    program = program.absolute()
    share = program.resolve().parent.parent / "share"
    candidates = (share / "qemu" / _QBOOT, share / "qboot" / _QBOOT)
    qboot = next((c for c in candidates if c.is_file()), None)
    # Distributions build in the system's folder, which is wrong for what is unpacked elsewhere.
    elsewhere = share != _SYSTEM_SHARE and (share / "qemu").is_dir()
    return Qemu(program, qboot, share / "qemu" if elsewhere else None)


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
