# SPDX-License-Identifier: GPL-2.0-only
"""The sched_ext self-tests that come with a kernel's source, made for that kernel and run on it."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from ktstr.errors import DefinitionInvalid, GuestBuildFailed, GuestLost, KernelUnfit, Problem
from ktstr.kernels import Kernel, KernelCache, open_kernel
from ktstr.kernels.apt import Progress
from ktstr.kernels.build.selftests import lacking, listing, make_runner
from ktstr.kernels.build.source import SourceTree, ensure_source, locked, source_of
from ktstr.session.emulator import slipped
from ktstr.session.events import Emit, Note, StageProgress
from ktstr.session.guest import Guest, Wanted, guest_scenario, open_guest
from ktstr.session.options import RunOptions
from ktstr.session.program import Size
from ktstr.session.stages import stage
from ktstr.verdict.selftests import (
    Began,
    Ending,
    Selftest,
    SelftestReport,
    Transcript,
    conclude,
    listed,
)
from ktstr.vm.closure import library_entries, stripped
from ktstr.vm.console import tail
from ktstr.vm.cpio import Entry

DEFAULT_KERNEL: Final = "debian:7"
GUEST_RUNNER: Final = "/ktstr/selftests/runner"

TERMINAL: Final = Size(rows=24, columns=200)
"""The runner writes to a terminal: into a pipe, its own lines would come long after its errors."""

ALIVE_S: Final = 20.0
"""How long the guest of a test that hangs may take to start another program, seconds."""

LOG_LINES: Final = 200
"""Lines of the kernel log that are kept of one test."""

LOG_BYTES: Final = 8 * 1024 * 1024
KERNEL_ARGS: Final = ("loglevel=7", "printk.devkmsg=on")
"""So that the console has what the kernel says of its schedulers, and every mark."""

_BEGINS: Final = "TEST: "
_MARK: Final = f"ktstr: {_BEGINS}"
_SIGNALLED: Final = 128

News = Callable[[Began | Selftest], None]
Output = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class SelftestOptions:
    """What a person can set.

    :param topology: of the guest; the tests of CPU hotplug need two CPUs.
    :param word: only tests with this in their name.
    :param source: the kernel's source tree, where it is not to be found out.
    :param test_s: how long one test may take, seconds.
    """

    kernel: str = DEFAULT_KERNEL
    topology: str = "1n1l2c1t"
    memory: str = "1G"
    word: str | None = None
    source: Path | None = None
    test_s: float = 300.0


@dataclass(frozen=True, slots=True)
class SelftestRun:
    """One run of the tests.

    :param release: of the kernel, as ``uname -r`` prints it.
    :param seconds: from the first test to the end of the last.
    :param console: the end of the kernel log, where the guest was lost.
    """

    report: SelftestReport
    release: str
    topology: str
    accelerator: str
    seconds: float
    console: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Made:
    """A kernel with the runner of its tests."""

    kernel: Kernel
    runner: Path
    tests: tuple[Selftest, ...]


async def list_selftests(options: SelftestOptions, emit: Emit) -> tuple[Selftest, ...]:
    """Names and descriptions of a kernel's tests; nothing is run.

    :raise CannotRun: as :func:`run_selftests`.
    """
    async with _made(options, emit) as made:
        return made.tests


async def run_selftests(
    options: SelftestOptions, emit: Emit, news: News, output: Output
) -> SelftestRun:
    """Make the runner, run it in a guest, and read what it prints.

    :param news: told of each test that begins or ends.
    :param output: takes what the runner prints, as it comes.
    :raise CannotRun: the kernel, its source, or what is needed to make the runner is missing; no
        test has that name; there is no such guest.
    :raise GuestLost: the guest did not come up.
    """
    wanted = Wanted(
        kernel=options.kernel,
        topology=options.topology,
        memory=options.memory,
        kernel_args=KERNEL_ARGS,
    )
    guest_scenario(wanted)  # a mistake in it is to be known before minutes of making
    async with _made(options, emit) as made:
        with stage(emit, "runner", "packing the runner"):
            entries = await anyio.to_thread.run_sync(_entries, made.runner)
        stay = partial(_stay, made, wanted, entries, options, emit, news, output)
        run = await stay(one_thread=False)
        if run is None:
            run = await stay(one_thread=True)
        assert run is not None, "on one thread the emulator does not slip"
        return run


async def _stay(
    made: _Made,
    wanted: Wanted,
    entries: Sequence[Entry],
    options: SelftestOptions,
    emit: Emit,
    news: News,
    output: Output,
    *,
    one_thread: bool,
) -> SelftestRun | None:
    """All tests in one guest; None, with a word about it, where they are to be run again."""
    async with open_guest(
        wanted, RunOptions(), emit, entries=entries, one_thread=one_thread
    ) as guest:
        _check_same(guest, made.kernel)
        reading = _Reading(guest, options.test_s, news, output)
        try:
            ending = await _run(guest, options, reading)
        except GuestLost as error:
            # It is to be read from here: with the block, its log is gone too.
            console = tail(guest.live.machine.console_log)
            if not one_thread and slipped(guest.live.prepared.accel.name, console):
                sentence = (
                    f"the emulator seems to have slipped in {reading.running} ({error.message}); "
                    "all tests are started again, with all vCPUs on one thread"
                )
                emit(Note(sentence, warning=True))
                return None
            ending = Ending(lost=error.message)
        return reading.concluded([test.name for test in made.tests], ending)


async def _run(guest: Guest, options: SelftestOptions, reading: "_Reading") -> Ending:
    argv = [GUEST_RUNNER, *(() if options.word is None else ("-t", options.word))]
    with anyio.CancelScope() as scope:
        async with guest.program(argv, terminal=TERMINAL, mark=_BEGINS) as program:
            scope.deadline = anyio.current_time() + options.test_s
            async for _, data in program.output():
                if reading.take(data):
                    scope.deadline = anyio.current_time() + options.test_s
    if not scope.cancelled_caught:
        code = program.exit_code
        return Ending(_SIGNALLED - code if code is not None and code > _SIGNALLED else code)
    # A guest that stands still altogether is another matter than a test that does.
    with suppress(TimeoutError):
        await guest.run([GUEST_RUNNER, "-h"], ALIVE_S)
    what = reading.running or "the runner, between two tests,"
    return Ending(hung=f"{what} had not ended after {options.test_s:g} s")


class _Reading:
    """The runner's text as it comes, each test with the part of the kernel log it saw."""

    def __init__(self, guest: Guest, test_s: float, news: News, output: Output) -> None:
        self._guest = guest
        self._test_s = test_s
        self._news = news
        self._output = output
        self._transcript = Transcript()
        self._began = time.monotonic()

    @property
    def running(self) -> str | None:
        """The test that has begun and not ended."""
        return self._transcript.running

    def take(self, data: bytes) -> bool:
        """The next piece of output; whether a test began or ended in it."""
        self._output(data)
        return self._tell(self._transcript.feed(data, time.monotonic()))

    def _tell(self, events: Sequence[Began | Selftest]) -> bool:
        for event in events:
            self._news(event)
        return bool(events)

    def concluded(self, expected: Sequence[str], ending: Ending) -> SelftestRun:
        """All that was read."""
        seconds = time.monotonic() - self._began
        self._tell(self._transcript.close(time.monotonic(), self._why(ending)))
        report = conclude(self._transcript, expected, ending)
        live = self._guest.live
        logs = read_logs(live.machine.console_log)
        results = tuple(
            replace(result, kernel_log=tuple(logs.get(result.name, ())[-LOG_LINES:]))
            if result.verdict == "fail"
            else result
            for result in report.results
        )
        return SelftestRun(
            replace(report, results=results),
            live.prepared.kernel.release,
            str(live.definition.topology),
            live.prepared.accel.name,
            seconds,
            self._guest.console() if ending.lost is not None else (),
        )

    def _why(self, ending: Ending) -> str:
        """Why the test that had begun last has not ended."""
        if ending.lost is not None:
            return ending.lost
        if ending.hung is not None:
            return f"it had not ended after {self._test_s:g} s"
        if ending.status is not None and ending.status < 0:
            return f"the runner was ended by signal {-ending.status}"
        return f"the runner exited with status {ending.status}"


def read_logs(path: Path) -> dict[str, list[str]]:
    """The kernel log in parts, by the test that ran then; what came before any is left out."""
    parts: dict[str, list[str]] = {}
    part: list[str] = []
    for line in tail(path, LOG_BYTES).splitlines():
        _, mark, name = line.partition(_MARK)
        if mark:
            part = parts.setdefault(name.strip(), [])
        elif line.strip():
            part.append(line.rstrip())
    return parts


@asynccontextmanager
async def _made(options: SelftestOptions, emit: Emit) -> AsyncIterator[_Made]:
    """The kernel, held in the cache, and the runner made for it."""
    progress, cache = partial(_relay, emit), KernelCache()
    async with open_kernel(options.kernel, progress=progress, cache=cache) as kernel:
        with stage(emit, "selftests", "self-tests") as done:
            source = await _source(options, kernel, cache, progress)
            with locked(source, cache):
                if options_lacking := lacking(kernel, source):
                    words = ", ".join(options_lacking)
                    emit(Note(f"the tests ask for what the kernel lacks: {words}", warning=True))
                folder = cache.tools(kernel.digest)
                runner = await make_runner(kernel, source, folder, progress=progress)
            tests = _named(listed(await listing(runner)), options.word)
            done(f"{len(tests)} self-tests of kernel source {source.version}")
        yield _Made(kernel, runner, tests)


def _relay(emit: Emit, text: str, fraction: float | None) -> None:
    emit(StageProgress("selftests", text, fraction))


async def _source(
    options: SelftestOptions, kernel: Kernel, cache: KernelCache, progress: Progress
) -> SourceTree:
    """The source tree of a kernel.

    :raise KernelUnfit: it is not known, or the folder that was given is none.
    """
    if options.source is not None:
        return await ensure_source(f"path:{options.source}", cache=cache, progress=progress)
    tree = await source_of(kernel, cache=cache, progress=progress)
    if tree is None:
        raise KernelUnfit(
            f"the source of kernel {kernel.release}, which has the self-tests, cannot be found",
            hint="--source DIR names its tree",
        )
    return tree


def _named(every: Sequence[Selftest], word: str | None) -> tuple[Selftest, ...]:
    """The tests with ``word`` in their names.

    :raise DefinitionInvalid: when no name has it.
    :raise KernelUnfit: when there are no tests at all.
    """
    if not every:
        raise KernelUnfit("the runner of the self-tests names no test")
    tests = tuple(test for test in every if word is None or word in test.name)
    if not tests:
        names = ", ".join(test.name for test in every)
        problem = Problem("the command line", None, "--filter", repr(word), f"a part of {names}")
        raise DefinitionInvalid([problem])
    return tests


def _entries(runner: Path) -> list[Entry]:
    """The runner and its libraries, for the guest.

    :raise GuestBuildFailed: when one cannot be read.
    """
    try:
        program = Entry.file(GUEST_RUNNER.lstrip("/"), stripped(runner), 0o755)
        return [program, *library_entries([runner])]
    except OSError as error:
        raise GuestBuildFailed(f"{runner}: {error.strerror}") from None


def _check_same(guest: Guest, kernel: Kernel) -> None:
    """A newer kernel may have come between the two looks for one.

    :raise KernelUnfit: the guest has another kernel than the tests were made for.
    """
    found = guest.live.prepared.kernel
    if found.digest != kernel.digest:
        raise KernelUnfit(
            f"the guest has kernel {found.release}, the tests were made for {kernel.release}",
            hint="run the same command again",
        )
