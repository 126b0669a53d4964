# SPDX-License-Identifier: GPL-2.0-only
"""What the guest's kernel would find out about its time stamp counter by waiting.

Under TCG a guest's TSC runs as fast as the host's, or by the virtual clock one count each
nanosecond. Linux learns that from the PIT, whose reading is slow under emulation: 120 ms of a boot
go by, and then 90 ms for the delay loop of each further CPU, which often comes out wrong
(calibrate_delay_direct() in init/calibrate.c takes delays of the host for the guest's). Both can be
told instead: ``tsc_early_khz=`` (arch/x86/kernel/tsc.c) and ``lpj=``, delay loops per tick. After a
second the kernel still refines the rate it was told by the HPET.
"""

import ctypes
import json
import mmap
import os
import platform
import time
from contextlib import suppress
from pathlib import Path

import platformdirs

VIRTUAL_KHZ = 1_000_000
"""The TSC of a guest with a virtual clock counts nanoseconds (QEMU: cpus_get_elapsed_ticks)."""

PLAUSIBLE_KHZ = range(400_000, 10_000_000)
"""Clock rates of a TSC that are believed, kHz."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_CACHE_FILE = "tsc.json"
_MEASURE_S = 0.02
# mfence; lfence; rdtsc; shl rdx, 32; or rax, rdx; ret
_RDTSC = bytes.fromhex("0faef0 0faee8 0f31 48c1e220 4809d0 c3")


def tsc_words(khz: int | None, hz: int | None) -> tuple[str, ...]:
    """Kernel arguments that tell a guest its TSC's rate.

    :param khz: the rate in kHz; without it nothing is known.
    :param hz: the kernel's CONFIG_HZ, without which the delay loop cannot be told.
    """
    if khz is None:
        return ()
    return (f"tsc_early_khz={khz}", *(() if hz is None else (f"lpj={khz * 1000 // hz}",)))


def host_tsc_khz(cache_dir: Path | None = None) -> int | None:
    """Rate of the host's TSC in kHz, ``None`` where it cannot be known; blocks for 20 ms.

    It is measured once for each boot of the host and kept in *cache_dir*, by default the user's
    cache folder: arguments that differ from run to run would make every saved guest useless.
    """
    if platform.machine() != "x86_64":
        return None
    cache = (cache_dir or platformdirs.user_cache_path("ktstr")) / _CACHE_FILE
    try:
        boot = _BOOT_ID.read_text("ascii").strip()
        known = _kept(cache, boot)
        if known is None:
            known = _measured()
            _keep(cache, boot, known)
    except (OSError, ValueError):
        return None  # no boot id, or no memory that may be executed: the guest finds out by itself
    return known if known in PLAUSIBLE_KHZ else None


def _kept(cache: Path, boot: str) -> int | None:
    with suppress(OSError, ValueError, AttributeError):
        khz = json.loads(cache.read_bytes()).get(boot)
        return khz if type(khz) is int else None
    return None


def _keep(cache: Path, boot: str, khz: int) -> None:
    partial = cache.with_name(f"{cache.name}.{os.getpid()}")
    with suppress(OSError):
        cache.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps({boot: khz}), "ascii")
        partial.replace(cache)


def _measured() -> int:
    """Counts of the TSC in a while of the host's clock.

    :raise OSError: the host lets no program execute what it wrote.
    """
    with mmap.mmap(
        -1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    ) as code:
        code.write(_RDTSC)
        anchor = ctypes.c_char.from_buffer(code)
        read = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(anchor))
        began, first = _pair(read)
        time.sleep(_MEASURE_S)
        ended, last = _pair(read)
        del anchor
    return round((last - first) * 1_000_000 / (ended - began))


def _pair(read: "ctypes._FuncPointer") -> tuple[int, int]:
    """Time in ns and count that belong together: of several tries the quickest."""
    tries = []
    for _ in range(16):
        before = time.monotonic_ns()
        count = read()
        after = time.monotonic_ns()
        tries.append((after - before, (before + after) // 2, count))
    _, now, count = min(tries)
    return now, count
