# SPDX-License-Identifier: GPL-2.0-only
"""What people work with inside a guest: a shell and the usual small programs, all of one busybox.

Only guests that are asked for it have it (docs/decisions/0034).
"""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from anyio import to_thread
from platformdirs import user_cache_dir

from ktstr.errors import HostUnfit
from ktstr.kernels.apt import AptState, Progress, extract
from ktstr.kernels.locks import exclusive
from ktstr.vm.cpio import Entry
from ktstr.vm.image import program_overlay

VARIABLE: Final = "KTSTR_BUSYBOX"
"""Environment variable that names the busybox to take."""

PLACE: Final = "bin/busybox"
"""Where it lies in the guest."""

SHELL: Final = "/bin/sh"
"""The guest's shell."""

PROFILE: Final = "/etc/ktstr.sh"
"""What a shell reads first: interactive ones by themselves (``ENV``), others when they are told."""

_PACKAGE: Final = "busybox-static"
_IN_PACKAGE: Final = re.compile(r"(usr/)?bin/busybox")
_LOCK_SECONDS: Final = 600.0
_LIST_SECONDS: Final = 20.0
_APPLET: Final = re.compile(r"(usr/)?s?bin/[\w.\[+-]+")
_NOT_TAKEN: Final = frozenset({"sbin/init", PLACE})
# PID 1 is ktstr's own, and hears no signals: without -f these would ask it, and nothing happens.
_ENDS: Final = ("poweroff", "reboot", "halt")
_FUNCTION_NAME: Final = re.compile(r"[A-Za-z_]\w*")

_FILES: Final = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "etc/group": "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
}


async def busybox(
    cache_root: Path | None = None,
    *,
    progress: Progress | None = None,
    apt: AptState | None = None,
) -> Path:
    """A busybox on this host, or else one out of Debian's package, kept in the cache (1 MB).

    :raise HostUnfit: neither is there and it cannot be fetched.
    """
    named = os.environ.get(VARIABLE)
    own = named or shutil.which("busybox")
    if own is not None:
        if not os.access(own, os.X_OK):
            raise HostUnfit(f"{VARIABLE} is {own!r}, which is no program", hint="correct or unset")
        return Path(own)
    cache = cache_root if cache_root is not None else Path(user_cache_dir("ktstr"))
    home = cache / "busybox"
    if (kept := _kept(home)) is not None:
        return kept
    async with exclusive(home / ".lock", _LOCK_SECONDS, "another ktstr is fetching busybox"):
        if (kept := _kept(home)) is not None:
            return kept
        state = apt if apt is not None else AptState(cache / "kernels" / "apt")
        await state.refresh(progress=progress)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=home) as folder:
            try:
                deb = await state.fetch(_PACKAGE, Path(folder), progress=progress)
            except HostUnfit as error:
                raise HostUnfit(
                    f"a shell for the guest is not on this machine: {error.message}",
                    hint=f"install busybox, or name one with {VARIABLE}",
                ) from error
            return await to_thread.run_sync(_unpack, deb, Path(folder) / "root", home)


def _kept(home: Path) -> Path | None:
    """The busybox in the cache that is as it was when it was fetched."""
    return next((path for path in sorted(home.glob("busybox-*")) if _name(path) == path.name), None)


def _name(path: Path) -> str:
    return f"busybox-{hashlib.sha256(path.read_bytes()).hexdigest()}"


def _unpack(deb: Path, root: Path, home: Path) -> Path:
    found = extract(deb, lambda name: _IN_PACKAGE.fullmatch(name) is not None, root)
    if len(found) != 1:
        raise HostUnfit(f"{deb.name} holds no busybox")
    found[0].chmod(0o755)
    return found[0].rename(home / _name(found[0]))


def tool_entries(program: Path, others: Iterable[str] = ()) -> list[Entry]:
    """A guest's shell and its other programs, each a link to ``program``; blocks.

    :param others: paths in the guest of the user's programs. Debian's busybox takes the programs
        that it can be itself for any others of that name; where the user has one, it goes first.
    :raise HostUnfit: it is no busybox with a shell.
    :raise GuestBuildFailed: it, or a library of it, cannot be read.
    """
    entries = program_overlay(program, f"/{PLACE}")
    applets = [path for path in _applets(program) if path not in _NOT_TAKEN]
    if "bin/sh" not in applets:
        raise HostUnfit(
            f"{program} brings no shell along", hint=f"name another busybox with {VARIABLE}"
        )
    entries += [Entry.symlink(path, f"/{PLACE}") for path in applets]
    profile = profile_text((path.rpartition("/")[2] for path in applets), others)
    entries.append(Entry.file(PROFILE.lstrip("/"), profile.encode()))
    entries += [Entry.file(path, text.encode()) for path, text in _FILES.items()]
    entries += [Entry.directory("root", 0o700), Entry.directory("include")]
    return entries


def profile_text(applets: Iterable[str], others: Iterable[str]) -> str:
    """Functions of the shell for what it would not find, or find wrongly, by itself."""
    known = set(applets)
    calls = {name: f"/{PLACE} {name} -f" for name in _ENDS}
    for path in others:
        name = path.rpartition("/")[2]
        if name in known and _FUNCTION_NAME.fullmatch(name):
            calls[name] = f'{shlex.quote(path)} "$@"'
    return "".join(f"{name}() {{ {call}; }}\n" for name, call in sorted(calls.items()))


def _applets(program: Path) -> list[str]:
    """Paths of the programs it can be, as it says itself."""
    try:
        done = subprocess.run(
            [str(program), "--list-full"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_LIST_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostUnfit(f"{program} does not run here: {error}") from error
    return [line for line in done.stdout.split() if _APPLET.fullmatch(line)]
