# SPDX-License-Identifier: GPL-2.0-only
"""Run a kernel's make: configure, compile with progress, and say what went wrong.

Everything is made out of tree (``O=``), so that a source serves several configurations. A build
that was interrupted goes on where it stopped: make finds what is there.
"""

import json
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from anyio import to_thread

from ktstr.errors import KernelUnfit
from ktstr.kernels.apt import Progress
from ktstr.kernels.build.command import stream
from ktstr.kernels.build.explain import explain
from ktstr.kernels.build.fragments import Fragment, Lost, lost_options, merged, render
from ktstr.kernels.build.kconfig import Kconfig
from ktstr.kernels.build.recipe import Recipe
from ktstr.kernels.build.source import SourceTree, configured_in
from ktstr.kernels.features import parse_config

LOG = "build.log"
VMLINUX = "vmlinux"

_CONFIGURE_SECONDS = 900.0
_BUILD_SECONDS = 8 * 3600.0
_SILENCE_SECONDS = 3600.0
"""Linking with types takes minutes without a word, on a loaded host many of them."""

_COMPILED = re.compile(r"  (?:CC|AS|HOSTCC|HOSTLD) +(?:\[M\] +)?\S+")
_LINKING = re.compile(r"  (?:LD +(?:vmlinux|\.tmp_vmlinux)|BTF |BTFIDS|KSYMS|NM |SORTTAB)")
_FIRST_GUESS = 1350
"""Files of a kernel with ``base`` and nothing known of its like."""

_ERRORS = (
    re.compile(r"\S+:\d+(?::\d+)?: (?:fatal )?error: .*"),
    re.compile(r"(?:\S*\bld(?:\.\w+)?|\S+): (?:.*undefined reference|cannot find|.*undefined) .*"),
    re.compile(r"(?:^|(?<=\s))(?:FAILED|ERROR|[Ee]rror|fatal): .*"),
    re.compile(r"\*\*\* (?!\[).*"),
)
"""What tells most, first: the compiler's word, the linker's, any program's, make's own."""

_MAKES_END = re.compile(r"make(?:\[\d+\])?: \*\*\* \[")


async def configure(
    recipe: Recipe, source: SourceTree, build: Path, progress: Progress
) -> dict[str, str]:
    """Write *build*/.config from the fragments, on top of ``tinyconfig``; return its options.

    :raise KernelUnfit: an option was lost, each with the dependency that is not met; or the
        source's own programs fail.
    :raise HostUnfit: they do not end in time.
    """
    done = build / "configured"
    if not _is(done, recipe.key):
        progress(f"configuring linux {source.version} ({recipe.names})", None)
        done.unlink(missing_ok=True)
        argv = _make(recipe, source, build)
        with (build / LOG).open("ab", buffering=0) as log:
            for target in ("tinyconfig", "olddefconfig"):
                if target == "olddefconfig":
                    _merge(build / ".config", recipe.fragments)
                status, _ = await stream(
                    [*argv, target], seconds=_CONFIGURE_SECONDS, sink=log.write
                )
                if status:
                    raise _failed(f"`make {target}`", source, build)
        options = read_options(build / ".config")
        lost = lost_options(recipe.fragments, options)
        if lost:
            raise await to_thread.run_sync(_lost, lost, source, options)
        done.write_text(recipe.key)
    return read_options(build / ".config")


async def compile_kernel(
    recipe: Recipe, source: SourceTree, build: Path, jobs: int, progress: Progress
) -> Path:
    """Make vmlinux and return it.

    :raise KernelUnfit: it does not compile; the message has the first error of the log.
    :raise HostUnfit: it does not end in time.
    """
    counts = _Counts(build.parent / "counts.json", recipe, source)
    counter = _Counter(source.version, counts.expected, progress)
    argv = [*_make(recipe, source, build), f"-j{jobs}", VMLINUX]
    with (build / LOG).open("a+b", buffering=0) as log:
        log.seek(0)
        counter.resume(log.readall().decode("utf-8", "replace"))
        log.write(f"== make -j{jobs} {VMLINUX}\n".encode())
        started = log.tell()
        counter.tell()
        status, _ = await stream(
            argv,
            seconds=_BUILD_SECONDS,
            silence=_SILENCE_SECONDS,
            sink=log.write,
            on_line=counter.line,
        )
    if status:
        raise _failed("the build", source, build, started)
    counts.save(counter.files)
    return build / VMLINUX


def read_options(path: Path) -> dict[str, str]:
    """Options of a configuration file, names without ``CONFIG_``.

    :raise KernelUnfit: it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise KernelUnfit(f"the configuration {path} was not made: {error.strerror}") from error
    return {name.removeprefix("CONFIG_"): value for name, value in parse_config(text).items()}


def _make(recipe: Recipe, source: SourceTree, build: Path) -> list[str]:
    """make with all variables that change what it makes; none comes from the environment."""
    compiler = "ccache gcc" if recipe.toolchain.ccache else "gcc"
    return [
        *("make", "-C", str(source.path), f"O={build}", "ARCH=x86_64"),
        *(f"CC={compiler}", f"HOSTCC={compiler}"),
        "LOCALVERSION=",  # else a git tree adds a plus sign to the release
        "KBUILD_BUILD_TIMESTAMP=Thu Jan  1 00:00:00 UTC 2026",
        *("KBUILD_BUILD_USER=ktstr", "KBUILD_BUILD_HOST=ktstr", "KBUILD_BUILD_VERSION=1"),
    ]


def _merge(path: Path, fragments: Sequence[Fragment]) -> None:
    """Put the fragments' options in the place of the configuration's own.

    Each option stands there once: of a choice, the last line that is read would win.
    """
    wanted = merged(fragments)
    options = {k: v for k, v in read_options(path).items() if k not in wanted}
    path.write_text(render({**options, **wanted}), encoding="utf-8")


def refuse_built_in(tree: Path) -> None:
    """See that the kernel's make will build *tree* elsewhere.

    :raise KernelUnfit: it was built or configured in place.
    """
    found = configured_in(tree)
    if found is not None:
        committed = f"git:{tree}#HEAD for what is committed, " if (tree / ".git").exists() else ""
        raise KernelUnfit(
            f"{tree} was built or configured in place ({found} is there), and the kernel's make"
            " then refuses to build elsewhere",
            hint=f"`make mrproper` there, {committed}or give its kernel: path:{tree / VMLINUX}",
        )


def _lost(lost: Sequence[Lost], source: SourceTree, options: dict[str, str]) -> KernelUnfit:
    kconfig = Kconfig(source.path)
    told = "".join(f"\n  {explain(one, kconfig, options)}" for one in lost)
    count = f"{len(lost)} option" + ("s" if len(lost) > 1 else "")
    return KernelUnfit(
        f"linux {source.version} does not take {count} of the configuration:{told}",
        hint="set what they depend on, or leave them out",
    )


def _failed(what: str, source: SourceTree, build: Path, start: int = 0) -> KernelUnfit:
    log = build / LOG
    written = configured_in(source.path)
    if written is not None:  # headers made there come before those of the build
        return KernelUnfit(
            f"{what} of linux {source.version} failed, and meanwhile somebody ran make in"
            f" {source.path}: {written} is there",
            hint=f"`ktstr kernel clean --all`, then try again; the log is {log}",
        )
    with log.open("rb") as file:
        file.seek(start)
        text = file.read().decode("utf-8", "replace")
    return KernelUnfit(
        f"{what} of linux {source.version} failed: {first_error(text)}",
        hint=f"the whole log is {log}; the same command goes on where this one stopped",
    )


def first_error(text: str) -> str:
    """The line of a build log that says what went wrong first."""
    lines = text.splitlines()
    for pattern in _ERRORS:
        for line in lines:
            if match := pattern.search(line):
                return match[0].strip()[:400]
    end = next((at for at, line in enumerate(lines) if _MAKES_END.match(line)), len(lines))
    told = lines[max(0, end - 1) : end + 1]  # what a program said before make gave up
    return told[0].strip()[:400] if told else "make printed nothing"


def _is(path: Path, text: str) -> bool:
    with suppress(OSError):
        return path.read_text(encoding="utf-8") == text
    return False


class _Counts:
    """How many files a build of a series had, for the next one's bar."""

    def __init__(self, path: Path, recipe: Recipe, source: SourceTree) -> None:
        self._path = path
        self._name = ".".join(source.version.split(".")[:2]) + " " + recipe.names
        self._all: dict[str, int] = {}
        with suppress(OSError, ValueError):
            self._all = {str(k): int(v) for k, v in json.loads(path.read_text()).items()}
        like = [n for k, n in self._all.items() if k.partition(" ")[2] == recipe.names]
        self.expected = self._all.get(self._name) or max(like, default=_FIRST_GUESS)

    def save(self, count: int) -> None:
        self._all[self._name] = count
        aside = self._path.with_suffix(f".{os.getpid()}")
        with suppress(OSError):
            aside.write_text(json.dumps(self._all), encoding="utf-8")
            aside.replace(self._path)


class _Counter:
    """Turns make's lines into progress."""

    def __init__(self, version: str, expected: int, progress: Progress) -> None:
        self.files = 0
        self._what = f"linux {version}"
        self._expected = expected
        self._progress = progress
        self._linking = False

    def resume(self, log: str) -> None:
        """Count what earlier attempts have made."""
        self.files = sum(_COMPILED.match(line) is not None for line in log.splitlines())

    def line(self, line: str) -> None:
        """Take one line of make's output."""
        if _COMPILED.match(line):
            self.files += 1
        elif _LINKING.match(line):
            self._linking = True
        else:
            return
        self.tell()

    def tell(self) -> None:
        """Report where it stands."""
        if self._linking:
            self._progress(f"linking {self._what}", None)
        else:
            about = max(self._expected, self.files)
            text = f"compiling {self._what}: {self.files} of about {about} files"
            self._progress(text, min(0.99, self.files / about))
