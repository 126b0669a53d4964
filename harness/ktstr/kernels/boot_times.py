# SPDX-License-Identifier: GPL-2.0-only
"""How long kernels took to boot here: the last few times of each, kept beside the cache.

::

    ROOT/boots/DIGEST.json    {"schema": 1, "seconds": {"2 tcg": [3.1, 2.9]}}

Only what it tells people depends on it, so a file that cannot be read or written is as good as
none.
"""

import json
import os
import statistics
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ktstr.kernels.cache import KernelCache

KEPT: Final = 9
"""Times kept of each kind: enough for a median that one slow boot does not move."""

_SCHEMA: Final = 1
_MAX_FILE: Final = 1 << 16
_MAX_KINDS: Final = 64


@dataclass(frozen=True, slots=True)
class BootTime:
    """How long a kernel takes from QEMU's start to the agent's first word.

    :param cpus: vCPUs of the guests.
    :param accelerator: ``kvm`` or ``tcg``.
    :param median_s: of the last :data:`KEPT` boots, seconds.
    :param boots: how many that are.
    """

    cpus: int
    accelerator: str
    median_s: float
    boots: int

    def __str__(self) -> str:
        times = f", {self.boots} boots" if self.boots > 1 else ""
        cpus = f"{self.cpus} vCPU{'' if self.cpus == 1 else 's'}"
        return f"{self.median_s:.1f} s ({cpus}, {self.accelerator}{times})"


class BootTimes:
    """The boot times that belong to a kernel cache."""

    def __init__(self, cache: KernelCache | None = None) -> None:
        self._folder = (cache if cache is not None else KernelCache()).root / "boots"

    def add(self, digest: str, cpus: int, accelerator: str, seconds: float) -> None:
        """Note one boot.

        Of two runs that end at the same instant one may be lost; a median does not miss it.
        """
        times = self._read(digest)
        kind = f"{cpus} {accelerator}"
        times[kind] = [*times.get(kind, []), round(seconds, 3)][-KEPT:]
        if len(times) > _MAX_KINDS:
            return
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor, scratch = tempfile.mkstemp(dir=self._folder, prefix=".")
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as out:
                    json.dump({"schema": _SCHEMA, "seconds": times}, out)
                os.replace(scratch, self._file(digest))
            except BaseException:
                os.unlink(scratch)
                raise

    def of(self, digest: str) -> list[BootTime]:
        """What is known of a kernel, the fewest vCPUs first."""
        found = []
        for kind, seconds in self._read(digest).items():
            cpus, _, accelerator = kind.partition(" ")
            median = statistics.median(seconds)
            found.append(BootTime(int(cpus), accelerator, median, len(seconds)))
        return sorted(found, key=lambda time: (time.cpus, time.accelerator))

    def _file(self, digest: str) -> Path:
        return self._folder / f"{digest}.json"

    def _read(self, digest: str) -> dict[str, list[float]]:
        try:
            with self._file(digest).open(encoding="utf-8") as file:
                data = json.loads(file.read(_MAX_FILE))
        except (OSError, ValueError, RecursionError):
            return {}
        if not isinstance(data, dict) or data.get("schema") != _SCHEMA:
            return {}
        kinds = data.get("seconds")
        return {
            kind: [float(second) for second in seconds]
            for kind, seconds in (kinds.items() if isinstance(kinds, dict) else ())
            if kind.partition(" ")[0].isdecimal() and _all_numbers(seconds)
        }


def _all_numbers(seconds: object) -> bool:
    if not isinstance(seconds, list) or not 0 < len(seconds) <= KEPT:
        return False
    return all(isinstance(second, int | float) for second in seconds)
