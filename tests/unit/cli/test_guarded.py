# SPDX-License-Identifier: GPL-2.0-only
"""How a command that runs guests ends: by itself, by an error, by a defect, by a signal."""

import io
import os
import signal
from typing import Any

import anyio
import pytest

from ktstr.cli.guarded import SIGNALS, Guarded
from ktstr.cli.screen import Screen
from ktstr.errors import ExitCode, GuestHung, HostUnfit


class Shown:
    """Counts what is asked of it."""

    def __init__(self) -> None:
        self.ticks = self.closed = 0

    def tick(self) -> None:
        self.ticks += 1

    def close(self) -> None:
        self.closed += 1


class OfTests(Guarded):
    about = "the tests"


def command(kind: type[Guarded] = Guarded) -> tuple[Guarded, io.StringIO]:
    out = io.StringIO()
    return kind(Screen(out)), out


def test_who_comes_to_the_end_says_nothing() -> None:
    guarded, out = command()
    shown = Shown()

    async def work(given: Shown) -> None:
        assert given is shown
        await anyio.sleep(0.25)

    assert guarded.attempt(lambda: guarded.watched(shown, work)) is None
    assert (shown.closed, shown.ticks > 0, out.getvalue()) == (1, True, "")


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (GuestHung("no answer"), ExitCode.GUEST_LOST, "error: no answer\n  from the console\n"),
        (HostUnfit("no room", hint="free some"), ExitCode.CANNOT_RUN, "hint: free some"),
        (OSError(28, "No space left"), ExitCode.CANNOT_RUN, "No space left"),
        (ZeroDivisionError("odd"), ExitCode.CANNOT_RUN, "no verdict on the tests"),
    ],
)
def test_errors_are_told_and_exit_as_they_mean(
    error: Exception, code: ExitCode, words: str
) -> None:
    guarded, out = command(OfTests)
    if isinstance(error, GuestHung):
        error.add_note("from the console")

    async def work(_: Shown) -> None:
        raise error

    assert guarded.attempt(lambda: guarded.watched(Shown(), work)) is code
    assert words in out.getvalue()
    assert ("Traceback" in out.getvalue()) is isinstance(error, ZeroDivisionError)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("error", [None, GuestHung("gone"), ZeroDivisionError()])
def test_a_signal_ends_it_and_what_it_tore_down_is_no_news(
    number: signal.Signals, error: Exception | None
) -> None:
    guarded, out = command()
    cleaned: list[Any] = []

    async def work(_: Shown) -> None:
        try:
            os.kill(os.getpid(), number)
            await anyio.sleep(30)
        finally:
            cleaned.append(number)
            if error is not None:
                raise error

    assert guarded.attempt(lambda: guarded.watched(Shown(), work)) is ExitCode.INTERRUPTED
    assert cleaned == [number] and out.getvalue() == ""


def test_a_command_may_go_on_after_a_signal() -> None:
    class Patient(Guarded):
        heard = 0

        def _signalled(self) -> bool:
            self.heard += 1
            return self.heard > 1

    guarded, _ = command(Patient)
    reached: list[str] = []

    async def work(_: Shown) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await anyio.sleep(0.1)
        reached.append("past the first")
        os.kill(os.getpid(), signal.SIGINT)
        await anyio.sleep(30)

    assert guarded.attempt(lambda: guarded.watched(Shown(), work)) is ExitCode.INTERRUPTED
    assert reached == ["past the first"]
