# SPDX-License-Identifier: GPL-2.0-only
"""Headers and static library of a libbpf that is new enough to build the guest's loader."""

import re
import tempfile
from pathlib import Path

from anyio import to_thread
from platformdirs import user_cache_dir

from ktstr.errors import HostUnfit
from ktstr.kernels.apt import AptState, Progress, extract
from ktstr.kernels.locks import exclusive

MINIMUM = (1, 4)
"""Oldest libbpf with struct_ops features the loader uses (weak kfuncs, optional callbacks)."""

SUITE = "bookworm-backports"
"""Built against the oldest C library, so its static archive links everywhere."""

_ARCHIVE = "usr/lib/x86_64-linux-gnu/libbpf.a"
_HEADERS = "usr/include/bpf/"
_LOCK_SECONDS = 600.0


async def libbpf_sysroot(
    cache_root: Path | None = None,
    *,
    progress: Progress | None = None,
    apt: AptState | None = None,
    system: Path = Path("/"),
) -> Path:
    """The folder below which ``usr/include/bpf`` and the static ``libbpf.a`` lie.

    That is *system* when its libbpf-dev is new enough, else one unpacked in the cache (default:
    the user's XDG cache folder) from Debian's backports; nothing is installed.

    :raise HostUnfit: neither is there and it cannot be fetched.
    """
    if (version_at(system) or (0, 0)) >= MINIMUM:
        return system
    cache = cache_root if cache_root is not None else Path(user_cache_dir("ktstr"))
    home = cache / "sysroot"
    async with exclusive(home / ".lock", _LOCK_SECONDS, "another ktstr is fetching libbpf"):
        ready = _ready(home)
        if ready is not None:
            return ready
        state = apt if apt is not None else AptState(cache / "kernels" / "apt")
        await state.refresh(progress=progress)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=home) as folder:
            deb = await state.fetch("libbpf-dev", Path(folder), suite=SUITE, progress=progress)
            return await to_thread.run_sync(_unpack, deb, Path(folder) / "root", home)


def version_at(root: Path) -> tuple[int, int] | None:
    """Version of the libbpf development files below *root*; ``None`` when not all are there."""
    try:
        text = (root / _HEADERS / "libbpf_version.h").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    parts = dict(re.findall(r"#define LIBBPF_(MAJOR|MINOR)_VERSION (\d+)", text))
    if len(parts) != 2 or not (root / _ARCHIVE).is_file():
        return None
    return int(parts["MAJOR"]), int(parts["MINOR"])


def _ready(home: Path) -> Path | None:
    found = [path for path in home.glob("libbpf-*") if (version_at(path) or (0, 0)) >= MINIMUM]
    return max(found, key=lambda path: version_at(path) or (0, 0), default=None)


def _unpack(deb: Path, root: Path, home: Path) -> Path:
    extract(deb, lambda name: name == _ARCHIVE or name.startswith(_HEADERS), root)
    version = version_at(root)
    if version is None or version < MINIMUM:
        raise HostUnfit(
            f"{deb.name} holds libbpf {version}, and {MINIMUM[0]}.{MINIMUM[1]} is the oldest that"
            " will do",
            hint="install a newer libbpf-dev on this machine",
        )
    return root.rename(home / f"libbpf-{version[0]}.{version[1]}")
