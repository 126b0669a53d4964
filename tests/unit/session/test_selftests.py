# SPDX-License-Identifier: GPL-2.0-only
"""A run of a kernel's self-tests in a scripted guest: what is told, what hangs, what is lost."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from ktstr.errors import (
    DefinitionInvalid,
    ExitCode,
    GuestHung,
    GuestLost,
    GuestPanicked,
    KernelUnfit,
)
from ktstr.kernels import Kernel, KernelCache
from ktstr.kernels.features import unknown_features
from ktstr.session import selftests
from ktstr.session.events import Note, RunEvent
from ktstr.session.selftests import GUEST_RUNNER, SelftestOptions, SelftestRun, run_selftests
from ktstr.verdict.selftests import Began, Selftest

HANGS = "hangs"
Step = bytes | str | BaseException | Callable[[], None]


def start(name: str) -> bytes:
    return f"===== START =====\r\nTEST: {name}\r\nDESCRIPTION: d\r\nOUTPUT:\r\n".encode()


def end(name: str, word: str = "ok") -> bytes:
    return f"{word} 1 {name} # \r\n=====  END  =====\r\n".encode()


def counts(passed: int, failed: int) -> bytes:
    return f"\r\nRESULTS:\r\n\r\nPASSED:  {passed}\r\nSKIPPED: 0\r\nFAILED:  {failed}\r\n".encode()


KERNEL = Kernel("k", "6.12.0", Path("image"), None, unknown_features("6.12.0", "a test"), "d" * 64)


class ScriptedProgram:
    def __init__(self, script: Sequence[Step], exit_code: int) -> None:
        self._script = script
        self._ends_with = exit_code
        self.exit_code: int | None = None

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        for step in self._script:
            if isinstance(step, BaseException):
                raise step
            if step == HANGS:
                await anyio.sleep_forever()
            elif isinstance(step, bytes):
                await anyio.lowlevel.checkpoint()
                yield 1, step
            elif callable(step):
                step()
        self.exit_code = self._ends_with


class ScriptedGuest:
    """As much of a guest as the tests' run takes."""

    def __init__(self, folder: Path, script: Sequence[Step], exit_code: int = 0) -> None:
        self.log = folder / f"console-{id(self)}.log"
        self.log.write_bytes(b"[    0.1] boot\r\n")
        self.script = script
        self.exit_code = exit_code
        self.answer: BaseException | None = None
        self.started: list[list[str]] = []
        self.asked: list[list[str]] = []
        self.live = SimpleNamespace(
            machine=SimpleNamespace(console_log=self.log),
            prepared=SimpleNamespace(accel=SimpleNamespace(name="tcg"), kernel=KERNEL),
            definition=SimpleNamespace(topology="1n1l2c1t"),
        )

    def console(self) -> tuple[str, ...]:
        return ("Kernel panic - not syncing: scripted",)

    def logs(self, line: str) -> Callable[[], None]:
        def write() -> None:
            with self.log.open("ab") as file:
                file.write(line.encode() + b"\r\n")

        return write

    @asynccontextmanager
    async def program(self, argv: Sequence[str], *, terminal: Any, mark: str) -> AsyncIterator[Any]:
        assert terminal is not None and mark == "TEST: "
        self.started.append(list(argv))
        yield ScriptedProgram(self.script, self.exit_code)

    async def run(self, argv: Sequence[str], deadline_s: float) -> int:
        assert 0 < deadline_s < 60
        self.asked.append(list(argv))
        if self.answer is not None:
            raise self.answer
        return 0


class Bench:
    """Runs the tests in a scripted guest."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._patch = monkeypatch
        self.news: list[Began | Selftest] = []
        self.raw = b""
        self.refusal: GuestLost | None = None
        self.one_thread: list[bool] = []
        self.notes: list[RunEvent] = []

    def guest(self, *script: Step, exit_code: int = 0) -> ScriptedGuest:
        return ScriptedGuest(self._folder, script, exit_code)

    async def run(
        self,
        first: ScriptedGuest,
        *names: str,
        second: ScriptedGuest | None = None,
        word: str | None = None,
        test_s: float = 60.0,
        kernel: Kernel = KERNEL,
    ) -> SelftestRun:
        guests = [guest for guest in (first, second) if guest is not None]

        @asynccontextmanager
        async def made(options: Any, emit: Any) -> AsyncIterator[Any]:
            tests = tuple(Selftest(name, "skip") for name in names)
            yield selftests._Made(kernel, Path("runner"), tests)

        @asynccontextmanager
        async def opened(*args: Any, **more: Any) -> AsyncIterator[Any]:
            assert more["entries"] == ["the runner"]
            self.one_thread.append(more["one_thread"])
            guest = guests.pop(0)
            if self.refusal is not None:
                raise self.refusal
            try:
                yield guest
            finally:
                guest.log.unlink()

        self._patch.setattr(selftests, "_made", made)
        self._patch.setattr(selftests, "open_guest", opened)
        self._patch.setattr(selftests, "_entries", lambda runner: ["the runner"])

        def output(data: bytes) -> None:
            self.raw += data

        options = SelftestOptions(word=word, test_s=test_s)
        return await run_selftests(options, self.notes.append, self.news.append, output)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


async def test_a_run_to_the_end(bench: Bench) -> None:
    text = (start("a"), end("a"), start("b") + end("b"), counts(2, 0))
    guest = bench.guest(*text)
    run = await bench.run(guest, "a", "b")
    assert run.report.exit_code is ExitCode.PASS
    assert (run.release, run.topology, run.accelerator) == ("6.12.0", "1n1l2c1t", "tcg")
    assert guest.started == [[GUEST_RUNNER]]
    assert bench.raw == b"".join(text)
    assert [type(event).__name__ for event in bench.news] == ["Began", "Selftest"] * 2
    assert (run.console, guest.asked) == ((), [])


async def test_the_runner_chooses_by_the_same_word(bench: Bench) -> None:
    guest = bench.guest(start("exit"), end("exit"), counts(1, 0))
    await bench.run(guest, "exit", word="xi")
    assert guest.started == [[GUEST_RUNNER, "-t", "xi"]]


async def test_a_failure_has_the_kernel_log_of_its_time_and_no_other(bench: Bench) -> None:
    # Console and output go ways of their own: the log may be far ahead when the output comes.
    guest = bench.guest()
    logged = "boot", "TEST: a", "of a", "TEST: b", "of b", "TEST: c", "of c", "and more"
    lines = [f"[ 1.0] ktstr: {line}" if "TEST" in line else f"[ 1.0] {line}" for line in logged]
    guest.script = (
        guest.logs("\r\n".join(lines)),
        start("a") + end("a") + start("b") + end("b", "not ok") + start("c") + end("c", "not ok"),
        counts(1, 2),
    )
    run = await bench.run(guest, "a", "b", "c")
    assert run.report.exit_code is ExitCode.FAIL
    logs = [result.kernel_log for result in run.report.results]
    assert logs == [(), ("[ 1.0] of b",), ("[ 1.0] of c", "[ 1.0] and more")]


async def test_a_test_that_hangs_fails_and_the_rest_has_not_run(bench: Bench) -> None:
    guest = bench.guest(start("a"), end("a"), start("b"), b"waiting", HANGS)
    run = await bench.run(guest, "a", "b", "c", test_s=0.05)
    verdicts = [(r.name, r.verdict) for r in run.report.results]
    assert verdicts == [("a", "pass"), ("b", "fail"), ("c", "not run")]
    assert run.report.results[1].reason == "it had not ended after 0.05 s"
    assert run.report.results[1].output == "waiting"
    assert run.report.exit_code is ExitCode.FAIL
    # Whether the guest as a whole still answers was found out by another program.
    assert guest.asked == [[GUEST_RUNNER, "-h"]]


async def test_each_test_has_a_deadline_of_its_own(bench: Bench) -> None:
    due: list[float] = []

    def look() -> None:
        due.append(anyio.current_effective_deadline())

    script = (look, start("a"), look, b"more of a\n", look, end("a"), look, counts(1, 0))
    await bench.run(bench.guest(*script), "a")
    # Output alone gives no more time: a test may print for ever.
    assert due[0] < due[1] == due[2] < due[3]


async def test_a_guest_too_busy_for_another_program_is_not_lost(bench: Bench) -> None:
    guest = bench.guest(start("a"), HANGS)
    guest.answer = TimeoutError()
    run = await bench.run(guest, "a", test_s=0.05)
    assert run.report.exit_code is ExitCode.FAIL


async def test_a_guest_that_stands_still_with_its_test_is_lost(bench: Bench) -> None:
    guest = bench.guest(start("a"), HANGS)
    guest.answer = GuestHung("the guest has not answered for 60 s")
    run = await bench.run(guest, "a", "b", test_s=0.05)
    assert run.report.exit_code is ExitCode.GUEST_LOST
    assert run.report.results[0].reason == "the guest has not answered for 60 s"
    assert run.report.results[1].verdict == "not run"


async def test_a_panic_is_the_failure_of_the_test_that_ran(bench: Bench) -> None:
    guest = bench.guest()
    panic = "[    9.0] Kernel panic - not syncing: scripted"
    mark = guest.logs("[    8.9] ktstr: TEST: a")
    guest.script = (start("a"), mark, guest.logs(panic), GuestPanicked("the guest kernel panicked"))
    run = await bench.run(guest, "a", "b")
    assert run.report.exit_code is ExitCode.GUEST_LOST
    first, second = run.report.results
    assert (first.verdict, first.reason) == ("fail", "the guest kernel panicked")
    assert first.kernel_log == (panic,)
    assert (second.verdict, second.reason) == ("not run", "not reached: a was the last to run")
    assert run.console == guest.console()


async def test_a_slip_of_the_emulator_has_all_tests_run_again_on_one_thread(bench: Bench) -> None:
    first, second = bench.guest(), bench.guest(start("a"), end("a"), start("b"), end("b"))
    slip = "[    9.0] Oops: int3: 0000 [#1] SMP NOPTI"
    lost = GuestPanicked("the guest kernel panicked: Oops: int3")
    first.script = (start("a"), end("a", "not ok"), start("b"), first.logs(slip), lost)
    second.script = (*second.script, counts(2, 0))
    run = await bench.run(first, "a", "b", second=second)
    assert bench.one_thread == [False, True]
    # Nothing of the first try is counted, and it is said that there was one.
    assert [r.verdict for r in run.report.results] == ["pass", "pass"]
    assert run.report.exit_code is ExitCode.PASS
    (note,) = [event for event in bench.notes if isinstance(event, Note)]
    assert note.warning and "slipped in b" in note.text


async def test_what_happens_on_one_thread_is_no_slip(bench: Bench) -> None:
    slip = "[    9.0] Oops: int3: 0000 [#1] SMP NOPTI"
    guests = [bench.guest(), bench.guest()]
    for guest in guests:
        guest.script = (start("a"), guest.logs(slip), GuestPanicked("panicked"))
    run = await bench.run(guests[0], "a", second=guests[1])
    assert run.report.exit_code is ExitCode.GUEST_LOST


async def test_a_guest_that_does_not_come_up_gives_no_results(bench: Bench) -> None:
    bench.refusal = GuestLost("no Hello")
    with pytest.raises(GuestLost, match="no Hello"):
        await bench.run(bench.guest(), "a")
    assert bench.news == []


@pytest.mark.parametrize(
    ("code", "problem", "reason"),
    [
        (139, "the runner was ended by signal 11", "the runner was ended by signal 11"),
        (1, "the runner ended before all tests had run", "the runner exited with status 1"),
    ],
)
async def test_a_runner_that_ends_in_the_middle_of_a_test(
    bench: Bench, code: int, problem: str, reason: str
) -> None:
    run = await bench.run(bench.guest(start("a"), exit_code=code), "a", "b")
    assert run.report.exit_code is ExitCode.FAIL
    assert run.report.problems[0] == problem
    assert [r.verdict for r in run.report.results] == ["fail", "not run"]
    assert run.report.results[0].reason == reason


async def test_tests_made_for_another_kernel_are_not_run(bench: Bench) -> None:
    other = Kernel("k", "6.13.0", Path("i"), None, unknown_features("6.13.0", "a test"), "e" * 64)
    guest = bench.guest()
    with pytest.raises(KernelUnfit, match=r"made for 6\.13\.0"):
        await bench.run(guest, "a", kernel=other)
    assert guest.started == []


async def test_a_guest_that_cannot_be_is_refused_before_anything_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def made(*args: Any) -> None:
        raise AssertionError("too late")

    monkeypatch.setattr(selftests, "_made", made)
    for options in (SelftestOptions(topology="0n"), SelftestOptions(memory="lots")):
        with pytest.raises(DefinitionInvalid):
            await run_selftests(options, lambda event: None, lambda event: None, lambda data: None)


async def test_without_a_source_it_is_said_how_to_name_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def unknown(*args: Any, **more: Any) -> None:
        return None

    monkeypatch.setattr(selftests, "source_of", unknown)
    with pytest.raises(KernelUnfit, match=r"source of kernel 6\.12\.0") as caught:
        await selftests._source(SelftestOptions(), KERNEL, KernelCache(), lambda *told: None)
    assert caught.value.hint == "--source DIR names its tree"


LISTED = [Selftest(name, "skip") for name in ("exit", "minimal", "maximal")]


def test_the_list_is_cut_down_by_a_word() -> None:
    assert [t.name for t in selftests._named(LISTED, None)] == ["exit", "minimal", "maximal"]
    assert [t.name for t in selftests._named(LISTED, "imal")] == ["minimal", "maximal"]


def test_a_word_in_no_name_is_an_error_that_lists_the_names() -> None:
    with pytest.raises(DefinitionInvalid, match=r"'maximum'.*exit, minimal, maximal"):
        selftests._named(LISTED, "maximum")


def test_a_runner_without_tests_is_an_error() -> None:
    with pytest.raises(KernelUnfit, match="names no test"):
        selftests._named([], None)


def test_of_a_long_log_the_end_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftests, "LOG_BYTES", 1000)
    log = tmp_path / "log"
    log.write_text("ktstr: TEST: a\n" + "of a\n" * 500 + "ktstr: TEST: b\r\nof b\r\n\r\n")
    assert selftests.read_logs(log) == {"b": ["of b"]}
    assert selftests.read_logs(tmp_path / "none") == {}
