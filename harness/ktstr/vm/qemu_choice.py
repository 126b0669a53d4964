# SPDX-License-Identifier: GPL-2.0-only
"""Which QEMU a run uses: the host's, or for the virtual clock a newer one."""

from dataclasses import dataclass

from ktstr.errors import HostUnfit
from ktstr.kernels.apt import Progress
from ktstr.vm.checkpoint_manifest import QemuVersion
from ktstr.vm.qemu import VARIABLE, Qemu, find_qemu, named_qemu
from ktstr.vm.qemu_store import SUITE, QemuStore
from ktstr.vm.qemu_version import installed_version, shares_turns


@dataclass(frozen=True, slots=True)
class Choice:
    """A QEMU to count instructions with.

    :param origin: whence it is, to follow "QEMU 10.0.2"; empty where it is the host's.
    :param obstacle: why it is one that shares time unevenly, ``None`` when it does not.
    """

    qemu: Qemu
    version: QemuVersion
    origin: str = ""
    obstacle: str | None = None

    def __str__(self) -> str:
        return f"QEMU {self.version.number}" + (f" {self.origin}" if self.origin else "")


async def virtual_clock_qemu(
    progress: Progress | None = None, *, store: QemuStore | None = None
) -> Choice:
    """The host's QEMU, or one out of the cache when that is too old to share time between vCPUs.

    What ``$KTSTR_QEMU`` names is used whatever it is.

    :raise HostUnfit: the host has no QEMU, or it does not start.
    """
    own = find_qemu()
    version = await installed_version(own.program)
    origin = f"named by {VARIABLE}" if named_qemu() else ""
    if shares_turns(version):
        return Choice(own, version, origin)
    if origin:
        return Choice(own, version, origin, f"{VARIABLE} names it")
    try:
        newer = await (store or QemuStore()).newest(progress)
        return Choice(newer, await installed_version(newer.program), f"from {SUITE}")
    except HostUnfit as error:
        return Choice(own, version, "", error.message)


async def qemu_of_version(wanted: QemuVersion, *, store: QemuStore | None = None) -> Qemu:
    """The QEMU here that has a version, the host's when none has; nothing is fetched.

    :raise HostUnfit: the host has no QEMU.
    """
    own = find_qemu()
    if named_qemu():
        return own
    for qemu in (own, *(store or QemuStore()).kept()):
        try:
            if (await installed_version(qemu.program)).number == wanted.number:
                return qemu
        except HostUnfit:
            continue
    return own
