# SPDX-License-Identifier: GPL-2.0-only
"""A host clock that stands still, for the QEMU of a guest with a virtual clock.

QEMU's software TLB shrinks and grows by what was used within a tenth of a second of the host's time
(accel/tcg/cputlb.c, tlb_mmu_resize_locked, by gettimeofday), and runs of one seed parted by it. A
library preloaded into QEMU answers gettimeofday(2) with the same instant for ever: the TLB then
only grows, by what the guest does (docs/decisions/0022).
"""

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from platformdirs import user_cache_path

from ktstr.errors import HostUnfit

INSTANT: Final = 1767225600
"""What gettimeofday tells, seconds: 2026-01-01, which the guest's real-time clock starts with."""

SOURCE: Final = f"""\
#include <sys/time.h>

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{{
	(void)zone;
	now->tv_sec = {INSTANT};
	now->tv_usec = 0;
	return 0;
}}
"""

_COMMAND: Final = ("gcc", "-O2", "-shared", "-fPIC", "-xc", "-")
_DEADLINE_S: Final = 60.0


def still_clock(cache: Path | None = None) -> Path:
    """The library, built on first use; blocks for a tenth of a second then.

    :param cache: the cache folder, by default the user's.
    :raises HostUnfit: when it cannot be built.
    """
    digest = hashlib.sha256("\0".join((*_COMMAND, SOURCE)).encode()).hexdigest()[:16]
    target = (cache or user_cache_path("ktstr")) / "still-clock" / f"{digest}.so"
    if target.is_file():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=target.parent) as folder:
            made = Path(folder) / "made.so"
            subprocess.run(
                [*_COMMAND, "-o", str(made)],
                input=SOURCE,
                text=True,
                capture_output=True,
                check=True,
                timeout=_DEADLINE_S,
            )
            made.rename(target)
    except subprocess.CalledProcessError as error:
        raise _unfit(str(error.stderr).strip().rpartition("\n")[2]) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _unfit(str(error)) from error
    return target


def _unfit(why: str) -> HostUnfit:
    return HostUnfit(
        f"the clock that QEMU needs for a virtual-clock run cannot be built: {why}",
        hint="install gcc, and free space in the cache folder",
    )


def preloaded(command: tuple[str, ...], library: Path) -> tuple[str, ...]:
    """The command with the library in it, before any that is preloaded already."""
    before = os.environ.get("LD_PRELOAD")
    names = str(library) if not before else f"{library}:{before}"
    return ("/usr/bin/env", f"LD_PRELOAD={names}", *command)
