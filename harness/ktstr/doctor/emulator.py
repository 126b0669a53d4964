# SPDX-License-Identifier: GPL-2.0-only
"""QEMU, its accelerator, and the QEMU that counts instructions."""

import grp
import os
from collections.abc import AsyncIterator
from pathlib import Path

from ktstr.doctor.finding import Finding, Grade, fine
from ktstr.errors import HostUnfit
from ktstr.session.stages import shortened
from ktstr.vm.accel import choose_accelerator
from ktstr.vm.qemu import find_qemu, find_setpriv
from ktstr.vm.qemu_store import QemuStore
from ktstr.vm.qemu_version import SHARES_TURNS, installed_version, shares_turns

_DEVICE = Path("/dev/kvm")


async def emulator() -> AsyncIterator[Finding]:
    """What runs guests here."""
    try:
        qemu = find_qemu()
        version = await installed_version(qemu.program)
    except HostUnfit as error:
        install = "sudo apt-get install qemu-system-x86 qemu-system-data"
        yield Finding("QEMU", Grade.GAP, error.message, install)
        return
    boots = "with qboot" if qemu.qboot else "without qboot, which boots faster"
    yield fine("QEMU", f"{version.number}, {qemu.program}, {boots}")
    if not shares_turns(version):
        kept = QemuStore().kept()
        least = ".".join(map(str, SHARES_TURNS))
        if kept:
            found = f"{(await installed_version(kept[-1].program)).number}, out of the cache"
            yield fine("virtual clock", found)
        else:
            yield Finding(
                "virtual clock",
                Grade.HINT,
                f"this QEMU is older than {least} and shares time between vCPUs unevenly; a newer "
                "one is fetched with the first such run",
                "ktstr qemu fetch",
            )
    try:
        find_setpriv()
    except HostUnfit as error:
        yield Finding("setpriv", Grade.GAP, error.message, "sudo apt-get install util-linux")
    chosen = await choose_accelerator("auto", qemu=qemu)
    if chosen.name == "kvm":
        yield fine("accelerator", chosen.reason)
    else:
        fix = _kvm_fix()
        unmended = "" if fix else "; no command here mends that"
        found = f"{shortened(chosen.reason)}; {_SLOWER}{unmended}"
        yield Finding("accelerator", Grade.LIMIT, found, fix)


_SLOWER = "guests are 5 to 20 times slower, and 8 vCPUs are the most that make sense"


def _kvm_fix(device: Path = _DEVICE, cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The command that may bring KVM; empty where the hardware, or who rents it out, has to."""
    if not device.exists():
        flags = set(cpuinfo.read_text().split()) if cpuinfo.exists() else set()
        for flag, module in (("vmx", "kvm_intel"), ("svm", "kvm_amd")):
            if flag in flags:
                return f"sudo modprobe {module}"
        return ""
    if not os.access(device, os.R_OK | os.W_OK):
        try:
            group = grp.getgrgid(device.stat().st_gid).gr_name
        except KeyError:
            group = "kvm"
        return f"sudo usermod -aG {group} $USER  # then log in again"
    return ""
