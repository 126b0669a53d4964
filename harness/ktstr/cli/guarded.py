# SPDX-License-Identifier: GPL-2.0-only
"""What commands that run guests have in common: a console, errors in words, an answer to signals.

Python's own exit status for an exception would be 1, which here is a scheduler that failed; so
nothing gets past :meth:`Guarded.attempt`.
"""

import signal
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, closing
from typing import ClassVar, Final, Protocol, TypeVar

import anyio
from rich.console import Console

from ktstr.cli.screen import Screen
from ktstr.errors import ExitCode, KtstrError
from ktstr.report.live import LiveProgress
from ktstr.report.plain import PlainProgress
from ktstr.report.printable import one_line
from ktstr.session.scopes import task_scope

TICK_S: Final = 0.1
"""How often what is shown is drawn anew."""

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends a command as a person would end it."""


class Shown(Protocol):
    """A display of what goes on."""

    def tick(self) -> None: ...

    def close(self) -> None: ...


ShownT = TypeVar("ShownT", bound=Shown)


class Guarded:
    """A command that runs guests.

    :cvar about: what its verdicts are about, for an error that is none.
    """

    about: ClassVar[str] = "the scheduler"

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._console = Console(file=screen.text, soft_wrap=True)
        self._interrupted = False

    def attempt(self, work: Callable[[], Awaitable[None]]) -> ExitCode | None:
        """Do it, whatever ends it.

        :return: how to exit; None when it came to its end.
        """

        async def whole() -> None:
            await work()

        try:
            anyio.run(whole)
        except (KtstrError, OSError) as error:
            # What a signal tore down on its way is no news.
            if not self._interrupted:
                self.say_error(error)
                for line in getattr(error, "__notes__", ()):
                    self._console.print(f"  {one_line(line)}", markup=False, highlight=False)
                return getattr(error, "exit_code", ExitCode.CANNOT_RUN)
        except Exception:
            if not self._interrupted:
                self._console.print(traceback.format_exc(), markup=False, highlight=False)
                self.say_error(f"ktstr itself went wrong; this is no verdict on {self.about}")
                return ExitCode.CANNOT_RUN
        return ExitCode.INTERRUPTED if self._interrupted else None

    async def watched(self, shown: ShownT, work: Callable[[ShownT], Awaitable[None]]) -> None:
        """Do it while ``shown`` shows it, until it is done or a signal comes."""
        # The receiver outlasts the clean-up, so that a second signal cannot cut it short.
        receiver: AbstractContextManager[AsyncIterator[signal.Signals]]
        receiver = anyio.open_signal_receiver(*SIGNALS)
        with receiver as received, closing(shown):
            scope = anyio.CancelScope()
            async with task_scope() as helpers:
                helpers.start_soon(self._answer, received, scope)
                helpers.start_soon(_tick, shown)
                with scope:
                    await work(shown)

    def progress(self) -> LiveProgress | PlainProgress:
        """The display of one run: drawn anew on a terminal, lines elsewhere."""
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            return LiveProgress(self._console)
        return PlainProgress(self._screen.text)

    def say_error(self, error: object) -> None:
        """Print an error as every command does."""
        self._console.print(f"error: {error}", style="red", markup=False, highlight=False)

    def say_interrupted(self) -> None:
        """Print that a signal ended it."""
        self._console.print("interrupted; everything is cleaned up", style="yellow")

    def _signalled(self) -> bool:
        """Whether a signal that came ends the work."""
        return True

    async def _answer(
        self, received: AsyncIterator[signal.Signals], scope: anyio.CancelScope
    ) -> None:
        async for _ in received:
            if self._signalled():
                self._interrupted = True
                scope.cancel()


async def _tick(shown: Shown) -> None:
    while True:
        await anyio.sleep(TICK_S)
        shown.tick()
