# SPDX-License-Identifier: GPL-2.0-only
"""Programs that come with a kernel's source (tools/…), made out of tree for one kernel.

They are made with the tree's own libbpf and bpftool, and see that kernel's types: its vmlinux is
what their vmlinux.h is generated from.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

import anyio

from ktstr.errors import HostUnfit, KernelUnfit
from ktstr.kernels.apt import Progress
from ktstr.kernels.locks import exclusive
from ktstr.kernels.process import started

CLANGS: Final = ("clang-19", "clang")
"""What BPF programs are compiled with, best first."""

_MAKE_SECONDS: Final = 1200.0
_TAIL_LINES: Final = 15
_TAIL_BYTES: Final = 1 << 16
_LINE_CHARS: Final = 300
# Nothing of a make that ktstr runs under, and no variable that kernel makefiles listen to.
_KEPT: Final = ("PATH", "HOME", "TMPDIR", "CCACHE_DIR")
_BPFTOOL: Final = "tools/bpf/bpftool"
_BPFTOOL_OUT: Final = "bpftool"
_HEADER: Final = re.compile(r"fatal error: '?(?:(?:gelf|libelf|zlib|openssl/\w+)\.h)")


async def make_tool(
    source: Path,
    subdir: str,
    *,
    vmlinux: Path,
    out: Path,
    args: Sequence[str] = (),
    progress: Progress | None = None,
) -> Path:
    """Run ``make -C SOURCE/SUBDIR`` with its results in *out*, and return *out*.

    The tree is not written to. What make printed is kept as ``OUT.log``; bpftool is made once, in
    ``bpftool`` beside *out*. A make that was interrupted goes on where it was.

    :param vmlinux: the kernel that the programs are for; its BTF gives their vmlinux.h.
    :param out: ``O`` and ``OUTPUT`` of make; made when it is not there.
    :param args: further words for make: targets, variables.
    :raise HostUnfit: a program or library that is needed is not on this machine.
    :raise KernelUnfit: the tree has no such folder, or it does not compile; with the log's end.
    """
    folder = source / subdir
    if not (folder / "Makefile").is_file():
        raise KernelUnfit(f"the kernel source {source} has no {subdir}")
    clang = find_clang()
    out, vmlinux = _absolute(out), _absolute(vmlinux)
    _make_folders(out, out.parent / _BPFTOOL_OUT)
    log = out.with_name(out.name + ".log")
    async with exclusive(
        out.parent / ".lock", _MAKE_SECONDS, f"another ktstr is making tools in {out.parent}"
    ):
        with log.open("wb") as sink:
            make = _Make(sink, log, clang, out, progress or _silent)
            bpftool = await _bpftool(make, source, out.parent / _BPFTOOL_OUT)
            words = [f"BPFTOOL={bpftool}", f"VMLINUX_BTF={vmlinux}", *args]
            await make.run(folder, subdir, words)
    return out


async def _bpftool(make: "_Make", source: Path, out: Path) -> Path:
    """The tree's own bpftool, as far as generating headers takes it (its bootstrap form)."""
    made = out / "bootstrap/bpftool"
    if not made.is_file():
        # It needs none of the libraries that would be looked for, and looking takes seconds.
        words = [f"OUTPUT={out}/", "FEATURES_DUMP=/dev/null", "bootstrap"]
        await make.run(source / _BPFTOOL, _BPFTOOL, words)
    return made


class _Make:
    """Runs make into one log; who waits is told what is being made."""

    def __init__(
        self, sink: IO[bytes], log: Path, clang: str, out: Path, progress: Progress
    ) -> None:
        self._sink = sink
        self._log = log
        self._clang = clang
        self._out = out
        self._progress = progress

    async def run(self, folder: Path, name: str, words: Sequence[str]) -> None:
        argv = ["make", "-C", str(folder), f"-j{_cpus()}", f"CLANG={self._clang}", *words]
        env = {name: os.environ[name] for name in _KEPT if name in os.environ}
        env |= {"LC_ALL": "C", "O": str(self._out), "OUTPUT": str(self._out)}
        self._sink.write(f"$ {' '.join(argv)}\n".encode())
        self._sink.flush()
        self._progress(f"making {name}", None)
        try:
            with anyio.fail_after(_MAKE_SECONDS):
                async with started(
                    argv, env, stdout=self._sink, stderr=subprocess.STDOUT
                ) as process:
                    status = await process.wait()
        except TimeoutError:
            raise KernelUnfit(
                f"making {name} did not end within {_MAKE_SECONDS:.0f} s",
                hint=f"see {self._log}",
            ) from None
        if status:
            self._refuse(name)

    def _refuse(self, name: str) -> None:
        tail = _tail(self._log, _TAIL_LINES)
        if _HEADER.search(tail):
            raise HostUnfit(
                f"{name} needs headers that are not on this machine:\n{tail}",
                hint="apt-get install libelf-dev zlib1g-dev libssl-dev",
            )
        raise KernelUnfit(
            f"{name} of the kernel source does not compile:\n{tail}\n  see {self._log}"
        )


def find_clang() -> str:
    """The clang on this machine, by name.

    :raise HostUnfit: make, a C compiler or clang is missing.
    """
    missing = [tool for tool in ("make", "gcc") if shutil.which(tool) is None]
    clang = next((name for name in CLANGS if shutil.which(name)), None)
    if clang is None:
        missing.append(CLANGS[0])
    if missing or clang is None:
        raise HostUnfit(
            f"to make programs of the kernel source, {' and '.join(missing)} must be on this"
            " machine",
            hint=f"apt-get install {' '.join(missing)}",
        )
    return clang


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))


def _make_folders(*folders: Path) -> None:
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)


def _cpus() -> int:
    return len(os.sched_getaffinity(0))


def _tail(path: Path, lines: int) -> str:
    """The last lines of a log, each of bounded length."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
        text = file.read().decode("utf-8", "replace")
    return "\n".join(line[:_LINE_CHARS] for line in text.rstrip().splitlines()[-lines:])


def _silent(stage: str, fraction: float | None) -> None:
    """The progress callback of a caller that wants none."""
