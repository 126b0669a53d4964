# SPDX-License-Identifier: GPL-2.0-only
"""The schedulers of a kernel's own source (tools/sched_ext), made for that kernel.

::

    TOOLS/sched_ext-KEY/bin/NAME            the programs, without debug information
    TOOLS/sched_ext-KEY/bin/NAME.sources    digest of the sources they were made from
    TOOLS/sched_ext-KEY/build/              where make works, so that the next one is made sooner

TOOLS is the ``tools`` folder of the kernel's cache entry, KEY stands for compiler and flags.
"""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from anyio import to_thread

from ktstr.errors import KernelLacks, KernelUnfit
from ktstr.kernels.apt import Progress
from ktstr.kernels.build.source import SourceTree, locked, source_of
from ktstr.kernels.build.tools import find_clang, make_tool
from ktstr.kernels.cache import KernelCache
from ktstr.kernels.kernel import Kernel

SUBDIR: Final = "tools/sched_ext"
"""Where a kernel source has its schedulers."""

KNOWN: Final = frozenset(
    f"scx_{name}"
    for name in ("simple", "qmap", "central", "flatcg", "pair", "userland", "cpu0", "sdt")
)
"""Schedulers that kernel sources have had: all of them Linux 7.2, the first four 6.12."""

_FLAGS: Final = "-fno-builtin-memset"
"""Without it, zeros stored side by side into an arena become one memset, and clang 19 does not cast
a memset's pointer into the arena: the verifier refuses scx_qmap of Linux 7.2 for that."""

_RUN_SECONDS: Final = 60.0

FindSource = Callable[..., Awaitable[SourceTree | None]]
"""As :func:`~ktstr.kernels.build.source.source_of`."""


async def kernel_schedulers(
    kernel: Kernel,
    names: Iterable[str],
    *,
    cache: KernelCache | None = None,
    find_source: FindSource = source_of,
    progress: Progress | None = None,
) -> dict[str, Path]:
    """The programs *names* of the kernel's source, made where they are not there yet.

    Call it with the kernel's cache entry locked.

    :param find_source: finds the source when the kernel does not lie in it.
    :raise KernelLacks: its source lacks a scheduler that others have.
    :raise KernelUnfit: there is no source, it has no such scheduler, or it does not compile.
    :raise HostUnfit: a compiler or library is missing, or the source cannot be fetched.
    """
    wanted = sorted(set(names))
    cache = cache if cache is not None else KernelCache()
    clang = await to_thread.run_sync(find_clang)
    home = cache.tools(kernel.digest) / f"sched_ext-{await to_thread.run_sync(_key, clang)}"
    tree = tree_around(kernel)
    # A tree that somebody works in may change; a published one does not.
    digest = None if tree is None else await to_thread.run_sync(sources_digest, tree)
    lacking = [name for name in wanted if not _is_made(home, name, digest)]
    if lacking and tree is not None:
        await _make(kernel, tree, home, lacking, clang, progress)
    elif lacking:
        source = await find_source(kernel, cache=cache, progress=progress or _silent)
        if source is None:
            raise KernelUnfit(
                f"the source of kernel {kernel.release} is not at hand, and {lacking[0]} is made"
                " from it",
                hint='give the scheduler\'s program itself: binary = "PATH"',
            )
        with locked(source, cache):
            await _make(kernel, source.path, home, lacking, clang, progress)
    return {name: home / "bin" / name for name in wanted}


async def all_schedulers(
    kernel: Kernel,
    *,
    cache: KernelCache | None = None,
    find_source: FindSource = source_of,
    progress: Progress | None = None,
) -> tuple[dict[str, Path], dict[str, str]]:
    """Every scheduler of the kernel's source that can be made, and why the others cannot.

    Call it with the kernel's cache entry locked. A kernel without sched_ext has none.

    :raise HostUnfit: a compiler or library is missing, or the source cannot be fetched.
    """
    cache = cache if cache is not None else KernelCache()
    tree = tree_around(kernel)
    if tree is None:
        source = await find_source(kernel, cache=cache, progress=progress or _silent)
        tree = None if source is None else source.path
    made: dict[str, Path] = {}
    failed: dict[str, str] = {}
    names = available(tree) if tree is not None and kernel.features.sched_ext is not False else []
    for name in names:
        try:
            made |= await kernel_schedulers(
                kernel, [name], cache=cache, find_source=find_source, progress=progress
            )
        except KernelUnfit as error:
            failed[name] = error.message
    return made, failed


def available(tree: Path) -> list[str]:
    """Names of the schedulers a source tree has: programs with a BPF part."""
    folder = tree / SUBDIR
    names = (path.name.removesuffix(".bpf.c") for path in folder.glob("*.bpf.c"))
    return sorted(name for name in names if (folder / f"{name}.c").is_file())


def tree_around(kernel: Kernel) -> Path | None:
    """The source tree that a kernel's image lies in, as built there; ``None`` when in none."""
    for folder in (kernel.image.parent, *kernel.image.parents[3:4]):
        if (folder / SUBDIR / "Makefile").is_file() and (folder / "Kbuild").is_file():
            return folder
    return None


def sources_digest(tree: Path) -> str:
    """What tells the sources of a tree's schedulers from those of another, in hexadecimal."""
    found = hashlib.sha256()
    folder = tree / SUBDIR
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".c", ".h") and "build" not in path.relative_to(folder).parts:
            found.update(f"{path.relative_to(folder)}\0".encode())
            found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def _key(clang: str) -> str:
    """What programs made by another compiler, or otherwise, are told from these by."""
    done = subprocess.run(
        [clang, "--version"], capture_output=True, timeout=_RUN_SECONDS, check=False
    )
    return hashlib.sha256(done.stdout + _FLAGS.encode()).hexdigest()[:12]


def _is_made(home: Path, name: str, digest: str | None) -> bool:
    program = home / "bin" / name
    if not program.is_file():
        return False
    if digest is None:
        return True
    with suppress(OSError):
        return _mark(program).read_text() == digest
    return False


async def _make(
    kernel: Kernel,
    tree: Path,
    home: Path,
    names: list[str],
    clang: str,
    progress: Progress | None,
) -> None:
    there = await to_thread.run_sync(available, tree)
    for name in names:
        if name not in there:
            # What some kernels have, another lacks; what none has is a mistake of whoever asks.
            raise (KernelLacks if name in KNOWN else KernelUnfit)(
                f"the source of kernel {kernel.release} has no scheduler {name!r}",
                hint=_choices(name, there),
            )
    if kernel.vmlinux is None:
        raise KernelUnfit(
            f"kernel {kernel.release} could not be unpacked, and its schedulers are made with the"
            " types in it",
            hint="give its vmlinux: path:FILE",
        )
    words = [f"CLANG={clang} {_FLAGS}", *names]
    await make_tool(tree, SUBDIR, vmlinux=kernel.vmlinux, out=home, args=words, progress=progress)
    digest = await to_thread.run_sync(sources_digest, tree)
    for name in names:
        await to_thread.run_sync(_keep, home / "build/bin" / name, home / "bin" / name, digest)


def _choices(name: str, there: list[str]) -> str:
    if not there:
        return f"it has no {SUBDIR}"
    close = get_close_matches(name, there, n=1)
    return f"it has {', '.join(there)}" + (f"; did you mean {close[0]}?" if close else "")


def _keep(made: Path, target: Path, digest: str) -> None:
    """Put a program in its place in one go, without its debug information."""
    target.parent.mkdir(exist_ok=True)
    new = target.with_name(f".{target.name}-{os.getpid()}")
    if not _stripped(made, new):
        shutil.copyfile(made, new)
    new.chmod(0o755)
    os.replace(new, target)
    _mark(target).write_text(digest)


def _stripped(made: Path, new: Path) -> bool:
    with suppress(OSError, subprocess.TimeoutExpired):
        command = ["strip", "-o", str(new), str(made)]
        done = subprocess.run(command, capture_output=True, timeout=_RUN_SECONDS, check=False)
        return done.returncode == 0
    return False


def _mark(program: Path) -> Path:
    return program.with_name(f"{program.name}.sources")


def _silent(stage: str, fraction: float | None) -> None:
    """The progress callback of a caller that wants none."""
