# SPDX-License-Identifier: GPL-2.0-only
"""Which accelerator runs the guest: KVM when it really does, TCG otherwise."""

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import platformdirs

from ktstr.errors import HostUnfit
from ktstr.vm.probe import trial_boot
from ktstr.vm.qemu import Qemu, find_qemu

AccelName = Literal["kvm", "tcg"]

_DEVICE = Path("/dev/kvm")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_CACHE_FILE = "accelerator.json"
_MOST_ANSWERS = 16


@dataclass(frozen=True, slots=True)
class Accelerator:
    """The accelerator of a machine.

    :param reason: why this one, and why not the other, in a sentence.
    """

    name: AccelName
    reason: str


async def choose_accelerator(
    wanted: Literal["auto", "kvm", "tcg"],
    *,
    cache_dir: Path | None = None,
    qemu: Qemu | None = None,
) -> Accelerator:
    """Decide between KVM and TCG; ``auto`` prefers KVM when a trial guest ran under it.

    The trial is made once per boot of the host, QEMU and state of /dev/kvm; its answer is kept in
    ``cache_dir``, by default the user's cache folder.

    :raises HostUnfit: ``kvm`` is wanted and does not work here, or QEMU is not installed.
    """
    if wanted == "tcg":
        return Accelerator("tcg", "TCG, because it was asked for; KVM was not tried")
    qemu = qemu or find_qemu()
    obstacle = await kvm_obstacle(qemu, cache_dir=cache_dir)
    if obstacle is None:
        return Accelerator("kvm", "KVM, because a trial guest ran under it; TCG is slower")
    if wanted == "kvm":
        raise HostUnfit(
            f"KVM was asked for and cannot be used: {obstacle}",
            hint="use --accel tcg (slower, always there) or a host with working virtualization",
        )
    return Accelerator("tcg", f"TCG, because KVM cannot be used: {obstacle}")


async def kvm_obstacle(qemu: Qemu, *, cache_dir: Path | None = None) -> str | None:
    """Why KVM cannot be used, ``None`` when it can.

    :raises HostUnfit: when QEMU cannot be executed.
    """
    if (closed := _device_obstacle()) is not None:
        return closed
    folder = cache_dir or platformdirs.user_cache_path("ktstr")
    cache = folder / _CACHE_FILE
    key = _identity(qemu.program)
    known, obstacle = _cached(cache, key)
    if not known:
        trial = await trial_boot(qemu.program, "kvm")
        obstacle = None if trial.ran else f"the trial guest {trial.detail}"
        _store(cache, key, obstacle)
    return obstacle


def _device_obstacle() -> str | None:
    if not _DEVICE.exists():
        return f"{_DEVICE} does not exist"
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        return f"{_DEVICE} may not be opened by this user (it belongs to group kvm)"
    return None


def _identity(program: Path) -> str:
    """What the answer depends on: this boot of the host, the QEMU file, the device node."""
    binary, device = program.stat(), _DEVICE.stat()
    return " ".join(
        str(part)
        for part in (
            _BOOT_ID.read_text().strip(),
            program,
            binary.st_size,
            binary.st_mtime_ns,
            device.st_rdev,
            device.st_ino,
            device.st_mode,
            os.geteuid(),
        )
    )


def _cached(cache: Path, key: str) -> tuple[bool, str | None]:
    answers = _answers(cache)
    return key in answers, answers.get(key)


def _answers(cache: Path) -> dict[str, str | None]:
    """All answers kept, oldest first; anything but answers in the file is none."""
    with suppress(OSError, ValueError):
        record = json.loads(cache.read_text())
        if isinstance(record, dict):
            return {
                key: obstacle
                for key, obstacle in record.items()
                if obstacle is None or isinstance(obstacle, str)
            }
    return {}


def _store(cache: Path, key: str, obstacle: str | None) -> None:
    """Keep an answer; a cache folder that refuses only costs the next run a trial."""
    with suppress(OSError):
        answers = list((_answers(cache) | {key: obstacle}).items())[-_MOST_ANSWERS:]
        cache.parent.mkdir(parents=True, exist_ok=True)
        scratch = cache.with_name(f"{cache.name}.{os.getpid()}")
        scratch.write_text(json.dumps(dict(answers)))
        scratch.replace(cache)
