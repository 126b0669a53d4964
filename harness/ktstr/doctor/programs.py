# SPDX-License-Identifier: GPL-2.0-only
"""What builds guests and kernels, and what of it is in the cache already."""

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from importlib.util import find_spec
from typing import Final

from ktstr.doctor.finding import Finding, Grade, fine
from ktstr.errors import HostUnfit, KtstrError
from ktstr.kernels import KernelCache
from ktstr.kernels.build.toolchain import check_headers, find_toolchain
from ktstr.kernels.build.tools import CLANGS
from ktstr.kernels.sources import debian_mirror
from ktstr.vm.image import ImageStore

GUEST_PROGRAMS: Final = {"gcc": "gcc", "make": "make", "strip": "binutils"}
"""Programs that make the guest, and Debian's packages with them."""

GUEST_HEADERS: Final = {"gelf.h": "libelf-dev", "zlib.h": "zlib1g-dev", "stdio.h": "libc6-dev"}

_SECONDS: Final = 30.0


def python(version: Sequence[int] = sys.version_info[:3]) -> Finding:
    """The Python that runs this, and is packed into guests."""
    number = ".".join(map(str, version[:3]))
    if tuple(version[:2]) < (3, 11):
        fix = "sudo apt-get install python3.11-venv"
        return Finding("Python", Grade.GAP, f"{number}; 3.11 is the oldest that works", fix)
    return fine("Python", f"{number}, {sys.executable}")


def guest_tools() -> Finding:
    """Compilers for the guest's own programs; needed once, and after changes to them."""
    missing = {
        package for program, package in GUEST_PROGRAMS.items() if shutil.which(program) is None
    }
    if not any(shutil.which(name) for name in CLANGS):
        missing.add("clang-19")
    if "gcc" not in missing:
        missing |= {package for header, package in GUEST_HEADERS.items() if not _includes(header)}
    if missing:
        packages = " ".join(sorted(missing))
        found = f"the guest cannot be built: {packages} not installed"
        return Finding("guest tools", Grade.GAP, found, f"sudo apt-get install {packages}")
    return fine("guest tools", "gcc, clang, make and their headers are here")


async def kernel_tools() -> Finding:
    """What `ktstr kernel build` needs."""
    try:
        toolchain = await find_toolchain()
        await check_headers()
    except HostUnfit as error:
        found = f"{error.message}; prebuilt kernels work without"
        return Finding("kernel tools", Grade.HINT, found, error.hint or "")
    cache = "with ccache" if toolchain.ccache else "without ccache"
    return fine("kernel tools", f"{toolchain}, {cache}")


def kernels(cache: KernelCache | None = None) -> Finding:
    """Whether a kernel is here, or can be fetched."""
    cache = cache or KernelCache()
    entries = cache.entries()
    if entries:
        able = sum(1 for entry in entries if entry.features.sched_ext)
        newest = entries[0].release
        return fine("kernels", f"{len(entries)} in the cache, {able} with sched_ext; {newest}")
    try:
        debian_mirror()
    except KtstrError as error:
        found = f"none in the cache, and none can be fetched here: {error}".splitlines()[0]
        return Finding(
            "kernels",
            Grade.GAP,
            found,
            "ktstr-run SCENARIO --kernel path:/boot/vmlinuz-$(uname -r)",
        )
    found = "none in the cache; the first run fetches one (13 MB, and 70 MB of package lists)"
    return Finding("kernels", Grade.HINT, found, "ktstr kernel fetch debian:7")


async def image(store: ImageStore | None = None) -> AsyncIterator[Finding]:
    """Whether the guest is built."""
    store = store or ImageStore()
    if any(store.root.glob("*")):
        yield fine("guest image", f"built, {store.root}")
    else:
        found = "not built yet; the first run does it (10 to 20 s)"
        yield Finding("guest image", Grade.HINT, found, "ktstr image")


def extras() -> Iterator[Finding]:
    """What is installed beside what every run needs."""
    if find_spec("distributed") is None:
        found = "not installed: gauntlets run on this machine only"
        yield Finding("fleet", Grade.HINT, found, "pip install 'ktstr[fleet]'")
    else:
        yield fine("fleet", "Dask is here: gauntlets can run on many machines")


def _includes(header: str) -> bool:
    argv = ["gcc", "-E", "-x", "c", "-include", header, "-o", os.devnull, os.devnull]
    try:
        done = subprocess.run(argv, capture_output=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
