# SPDX-License-Identifier: GPL-2.0-only
"""When two machines are so alike that one can continue what the other began."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from ktstr.errors import HostUnfit
from ktstr.vm.argv import Wiring, build_options, flatten
from ktstr.vm.qemu import Qemu
from ktstr.vm.spec import VmSpec

FORMAT = 1
"""Raise it when the meaning of a template's files changes."""

_KERNEL, _INITRD = Path("/kernel"), Path("/initrd")


def template_key(
    spec: VmSpec, qemu: Qemu, kernel_digest: str, image_digest: str, preparation: bytes
) -> str:
    """Digest of everything that shapes a guest up to the moment it is saved.

    The spec counts as QEMU's command line, so whatever comes to shape that shapes the key. Left
    out is how the machine is connected, and the connection for watches, which QEMU alone sees.

    :param preparation: what the guest has been told to get ready; empty at its first waiting.
    :raises HostUnfit: QEMU cannot be read.
    """
    shape = replace(spec, kernel=_KERNEL, initrd=_INITRD, watch=False, debug=False)
    wiring = Wiring(
        ram=("ram",) * spec.topology.nodes, bulk="bulk", ctl="ctl", console="console", monitors=()
    )
    parts = {
        "format": FORMAT,
        "argv": flatten(build_options(shape, wiring, qemu.qboot)),
        # The digest is that of the compressed image, of which vmlinux is another form.
        "kernel": [kernel_digest, spec.pvh],
        "image": image_digest,
        "qemu": _identity(qemu.program),
        "firmware": None if qemu.qboot is None else _identity(qemu.qboot),
        "cpu": host_cpu() if spec.accel.name == "kvm" else "",
        "preparation": preparation.hex(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _identity(program: Path) -> list[str | int]:
    # Asking QEMU for its version takes as long as cloning half a guest; a new one is a new file.
    try:
        found = program.resolve()
        stat = found.stat()
    except OSError as error:
        raise HostUnfit(f"{program}: {error.strerror}") from error
    return [str(found), stat.st_size, stat.st_mtime_ns]


def host_cpu(cpuinfo: str | None = None) -> str:
    """What of the host's CPU a KVM guest sees.

    :param cpuinfo: text in the form of /proc/cpuinfo; read from there when ``None``.
    """
    text = Path("/proc/cpuinfo").read_text() if cpuinfo is None else cpuinfo
    first = text.partition("\n\n")[0]
    kept = ("vendor_id", "cpu family", "model", "stepping", "microcode", "flags")
    return "\n".join(line for line in first.splitlines() if line.startswith(kept))
