# SPDX-License-Identifier: GPL-2.0-only
"""The sched_ext self-tests of a kernel's own source: their runner, made for that kernel."""

import hashlib
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

from ktstr.errors import HostUnfit, KernelUnfit
from ktstr.kernels.apt import Progress
from ktstr.kernels.build.source import SourceTree
from ktstr.kernels.build.tools import make_tool
from ktstr.kernels.features import parse_config
from ktstr.kernels.kernel import Kernel
from ktstr.kernels.locks import exclusive
from ktstr.kernels.process import run

SUBDIR: Final = "tools/testing/selftests/sched_ext"

RUNNER: Final = "runner"
"""All tests in one program: that is how the kernel's makefile links them."""

_PREFIX: Final = "selftests-"
_TREE: Final = ".tree"
_UNFINISHED: Final = ".unfinished"
_MAKE_SECONDS: Final = 1500.0
_LIST_SECONDS: Final = 20.0
_ASK_SECONDS: Final = 20.0
_LIBRARY: Final = re.compile(r"cannot find -l([\w+.-]{1,40})")
_NO_TEST: Final = "\x01"
"""A part of no test's name."""


async def make_runner(
    kernel: Kernel, source: SourceTree, folder: Path, *, progress: Progress | None = None
) -> Path:
    """Make the runner for a kernel, or bring up to date what was made before.

    :param source: the kernel's source tree; it is not written to.
    :param folder: folder for programs made for this kernel.
    :return: the runner.
    :raise KernelUnfit: the tree has no such tests, or they do not compile; or the kernel's types
        are not known.
    :raise HostUnfit: a program or library that is needed is not on this machine.
    """
    if kernel.vmlinux is None:
        raise KernelUnfit(
            f"the types of kernel {kernel.release} are not known: its vmlinux cannot be unpacked",
            hint="give the vmlinux itself (path:FILE)",
        )
    if not (source.path / SUBDIR / "Makefile").is_file():
        raise KernelUnfit(
            f"the kernel source {source.path} has no sched_ext self-tests ({SUBDIR})",
            hint="they came with sched_ext in 6.12",
        )
    folder = _absolute(folder)
    busy = f"another ktstr is making self-tests in {folder}"
    async with exclusive(folder / ".selftests.lock", _MAKE_SECONDS, busy):
        return await _make(kernel.vmlinux, source, folder, progress)


async def _make(vmlinux: Path, source: SourceTree, folder: Path, progress: Progress | None) -> Path:
    out = folder / f"{_PREFIX}{_identity(source)}"
    runner = out / RUNNER
    unfinished = _begin(out, source.path)
    words = (str(runner), *await _linking(folder / "lib"))
    try:
        await make_tool(
            source.path, SUBDIR, vmlinux=vmlinux, out=out, args=words, progress=progress
        )
    except KernelUnfit as error:
        missing = _LIBRARY.search(error.message)
        if missing is None:
            raise
        raise HostUnfit(
            f"the self-tests are linked with lib{missing[1]}, which is not on this machine",
            hint=f"apt-get install lib{missing[1]}-dev",
        ) from error
    if not runner.is_file():
        raise KernelUnfit(f"make has left no {runner}", hint=f"see {out}.log")
    unfinished.unlink()
    return runner


def _begin(out: Path, tree: Path) -> Path:
    """Leave a mark that make is at work in a folder; the caller takes it away when it is done.

    What a make that was killed has left may be half an object, which the next one takes for whole.
    """
    for note in out.parent.glob(f"{_PREFIX}*{_TREE}"):
        # Of a tree that is gone, nothing will be made again.
        if not Path(note.read_text(errors="replace")).is_dir():
            _remove(note.with_suffix(""))
    mark = out.with_name(out.name + _UNFINISHED)
    if mark.exists():
        shutil.rmtree(out, ignore_errors=True)
    out.with_name(out.name + _TREE).write_text(str(tree))
    mark.touch()
    return mark


def _remove(out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)
    for suffix in (_TREE, _UNFINISHED, ".log"):
        out.with_name(out.name + suffix).unlink(missing_ok=True)


def _absolute(folder: Path) -> Path:
    return Path(os.path.abspath(folder))


def _identity(source: SourceTree) -> str:
    """Another tree for the same kernel is another set of tests.

    That of a folder of the user's is its place: make finds out what has changed there.
    """
    named = source.digest if source.kept else hashlib.sha256(os.fsencode(source.path)).hexdigest()
    return named[:12]


async def _linking(folder: Path) -> tuple[str, ...]:
    """Words for make by which the linker finds libzstd where its package for developers is missing.

    The makefile names it for a static libelf; nothing of it is called, and there is no header.
    """
    linked, loaded = [await _library(name) for name in ("libzstd.so", "libzstd.so.1")]
    if linked is not None or loaded is None:
        return ()
    os.makedirs(folder, exist_ok=True)
    with suppress(FileExistsError):
        os.symlink(loaded, folder / "libzstd.so")
    return (f"CC=gcc -L{folder}",)


async def _library(name: str) -> Path | None:
    """Where the linker finds a library."""
    told = await run(["gcc", f"-print-file-name={name}"], _ASK_SECONDS)
    path = Path(told.output.strip())
    return path if path.is_absolute() else None


def lacking(kernel: Kernel, source: SourceTree) -> list[str]:
    """Options that the tests ask for (their ``config``) and the kernel does not have.

    Nothing where the kernel came without its configuration, or the tests ask for nothing.
    """
    asked = source.path / SUBDIR / "config"
    if kernel.config is None or not asked.is_file():
        return []
    wanted, has = (
        parse_config(path.read_text(errors="replace")) for path in (asked, kernel.config)
    )
    return [name for name, value in wanted.items() if has.get(name, "n") != value]


async def listing(runner: Path) -> str:
    """What the runner prints when it lists its tests, or skips every one: nothing is run.

    :raise HostUnfit: it cannot be started here, or does not end.
    """
    listed = await run([str(runner), "-l"], _LIST_SECONDS)
    if listed.status == 0:
        return listed.output
    # Before 7.0 or so it has no such option, but names what it skips.
    return (await run([str(runner), "-s", "-t", _NO_TEST], _LIST_SECONDS)).output
