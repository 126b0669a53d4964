# SPDX-License-Identifier: GPL-2.0-only
"""The machine: CPUs, memory, disk, load, and who else runs guests on it."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ktstr.doctor.finding import Finding, Grade, fine
from ktstr.leases.ledger import FOLDER_VARIABLE, shared_ledger
from ktstr.session.room import Room, host_room

SMALLEST_GUEST_MIB: Final = 704
"""Memory of a run of the default scenario: guest, and what QEMU needs beside it."""

CACHE_MIB: Final = 400
"""A kernel, the guest image, apt's lists and a template or two."""

_MIB: Final = 1 << 20


def machine(room: Room | None = None) -> Iterator[Finding]:
    """CPUs and memory, and what fits."""
    room = room or host_room()
    yield fine(
        "CPUs",
        f"{room.cpus} for this process: guests of up to {room.cpus} vCPUs run undisturbed, larger "
        "ones share CPUs and are slower",
    )
    if room.memory_mib is None:
        yield Finding("memory", Grade.LIMIT, "the host does not tell how much is free")
    elif room.memory_mib < SMALLEST_GUEST_MIB:
        yield Finding(
            "memory",
            Grade.GAP,
            f"{room.memory_mib} MiB free; a guest of 512 MiB takes {SMALLEST_GUEST_MIB}",
            "ps -eo rss,pid,comm --sort -rss | head",
        )
    else:
        at_once = room.memory_mib // SMALLEST_GUEST_MIB
        yield fine("memory", f"{room.memory_mib} MiB free: {at_once} guests of 512 MiB at a time")


def disk(cache: Path, scratch: Path | None = None) -> Iterator[Finding]:
    """Room in the cache and for what a run keeps for a while."""
    for topic, folder, wanted, variable in (
        ("cache", cache, CACHE_MIB, "XDG_CACHE_HOME"),
        ("scratch", scratch or Path(tempfile.gettempdir()), 100, "TMPDIR"),
    ):
        nearest = _nearest(folder)
        if nearest is None or not os.access(nearest, os.W_OK | os.X_OK):
            yield Finding(
                topic,
                Grade.GAP,
                f"{folder} cannot be written by this user",
                f"export {variable}=$HOME/ktstr-{topic}; mkdir -p ${variable}",
            )
            continue
        free = shutil.disk_usage(nearest).free // _MIB
        if free < wanted:
            yield Finding(
                topic,
                Grade.GAP,
                f"{folder}: {free} MiB free, {wanted} needed",
                f"export {variable}=/another/disk",
            )
        else:
            yield fine(topic, f"{folder}: {free} MiB free")


def _nearest(folder: Path) -> Path | None:
    """The folder, or the closest above it that is there; ``None`` where that cannot be seen."""
    try:
        return next(path for path in (folder, *folder.absolute().parents) if path.exists())
    except OSError:
        return None


def load(cpus: int, average: float | None = None) -> Finding:
    """Whether others leave guests their time.

    :param average: the load of the last minute; None: this host's.
    """
    busy = os.getloadavg()[0] if average is None else average
    if busy > max(1.0, cpus / 2):
        found = (
            f"{busy:.1f} over the last minute on {cpus} CPUs: times and latencies measured now are "
            "those of a busy host"
        )
        return Finding("load", Grade.LIMIT, found, "ps -eo pcpu,pid,comm --sort -pcpu | head")
    return fine("load", f"{busy:.1f} over the last minute on {cpus} CPUs")


def leases() -> Finding:
    """Whether runs of other processes are heeded, and who holds what."""
    ledger = shared_ledger()
    if ledger is None:
        return Finding(
            "leases",
            Grade.LIMIT,
            f"{FOLDER_VARIABLE}=off: runs take CPUs that others are measured on",
            f"unset {FOLDER_VARIABLE}",
        )
    try:
        entries = ledger.entries()
        probe = ledger.folder if ledger.folder.exists() else ledger.folder.parent
        if not os.access(probe, os.W_OK | os.X_OK):
            raise PermissionError(13, os.strerror(13))
    except OSError as error:
        return Finding(
            "leases",
            Grade.LIMIT,
            f"{ledger.folder}: {error.strerror}; runs of other processes are not heeded",
            f"export {FOLDER_VARIABLE}=$HOME/.cache/ktstr/leases",
        )
    holders = len({entry.held.pid for entry in entries if not entry.waits})
    who = f"{holders} processes hold some" if holders else "nobody holds any"
    return fine("leases", f"{ledger.folder}: {who}")
