# SPDX-License-Identifier: GPL-2.0-only
"""One stay in a guest: its shell on this terminal, or one command; answers to signals."""

import os
import re
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from ktstr.cli.guarded import SIGNALS
from ktstr.cli.terminal import HELP, RESET, Action, Escapes, chunks, raw, size_of, write_all
from ktstr.errors import ExitCode, GuestLost, KtstrError
from ktstr.report.plain import describe
from ktstr.report.printable import lines, one_line
from ktstr.session.events import Note, RunEvent, StageProgress, StageStarted
from ktstr.session.guest import (
    Guest,
    SchedulerNotAttached,
    Wanted,
    guest_scenario,
    open_guest,
)
from ktstr.session.options import RunOptions
from ktstr.session.program import STDERR, STDOUT, Program
from ktstr.session.scopes import task_scope
from ktstr.vm.cpio import Entry
from ktstr.vm.include import include_entries, parse_include
from ktstr.vm.toolbox import PROFILE, SHELL, busybox, tool_entries

TIMED_OUT: Final = 124
"""Exit status of a command that took too long, as timeout(1) has it."""

BROKEN_PIPE: Final = 128 + signal.SIGPIPE
LOG_LINES: Final = 40


class ShellSession:
    """One guest from its request to its end.

    :param includes: files to take along, as typed.
    :param folder: where their relative paths start.
    :param command: run this in place of an interactive shell.
    :param timeout_s: how long that may take, seconds.
    """

    def __init__(
        self,
        wanted: Wanted,
        options: RunOptions,
        *,
        includes: Sequence[str],
        folder: Path,
        command: str | None,
        timeout_s: float | None,
    ) -> None:
        self._wanted = wanted
        self._options = options
        self._includes = includes
        self._folder = folder
        self._command = command
        self._timeout_s = timeout_s
        self._on_terminal = os.isatty(0) and os.isatty(1)
        self._status = _Status(verbose=options.verbose)
        self._leave: Callable[[], None] = lambda: None
        self._code: int = ExitCode.INTERRUPTED
        self._raw = False

    def main(self) -> int:
        """Stay until the end and say what was not as it should be; the exit status."""
        try:
            anyio.run(self._run)
        except SchedulerNotAttached as error:
            self._say_log(error)
            return self._say_error(error, int(error.exit_code))
        except GuestLost as error:
            for line in getattr(error, "__notes__", ()):
                _say(f"console: {one_line(line)}")
            return self._say_error(error, int(error.exit_code))
        except KtstrError as error:
            return self._say_error(error, int(error.exit_code))
        except TimeoutError as error:
            return self._say_error(error, TIMED_OUT)
        except BrokenPipeError:
            return BROKEN_PIPE
        except OSError as error:
            return self._say_error(error, int(ExitCode.CANNOT_RUN))
        except Exception:
            _say(traceback.format_exc().rstrip())
            return self._say_error("ktstr itself went wrong", int(ExitCode.CANNOT_RUN))
        return self._code

    async def _run(self) -> None:
        # The receiver outlasts the clean-up, so that a second signal cannot cut it short.
        with anyio.open_signal_receiver(*SIGNALS) as received:
            async with task_scope() as helpers:
                helpers.start_soon(self._answer, received)
                with anyio.CancelScope() as scope:
                    self._leave = scope.cancel
                    await self._stay()
        self._status.clear()

    async def _answer(self, received: AsyncIterator[signal.Signals]) -> None:
        async for _ in received:
            self._leave()

    async def _stay(self) -> None:
        memory_mib = guest_scenario(self._wanted).vm.memory_mib
        includes = [parse_include(text, self._folder) for text in self._includes]
        program = await busybox(progress=self._status.progress)
        more = await anyio.to_thread.run_sync(
            include_entries, includes, memory_mib, os.environ.get("TERM", "")
        )
        mine = {entry.path for entry in more}
        others = [f"/{entry.path}" for entry in more if entry.path.startswith("include/")]
        tools = await anyio.to_thread.run_sync(tool_entries, program, others)
        await self._in_guest([*(tool for tool in tools if tool.path not in mine), *more])

    async def _in_guest(self, entries: Sequence[Entry]) -> None:
        async with open_guest(self._wanted, self._options, self._status, entries=entries) as guest:
            self._status.clear()
            async with task_scope() as helpers:
                helpers.start_soon(self._watch_scheduler, guest)
                try:
                    await self._talk(guest)
                except GuestLost:
                    end = guest.live.machine.end
                    if end is None or end.kind not in ("guest-shutdown", "guest-reset"):
                        raise
                    self._tell(end.detail)
                    self._code = ExitCode.PASS

    # -- in the guest --------------------------------------------------------------------------

    async def _talk(self, guest: Guest) -> None:
        argv = [SHELL]
        if self._command is not None:
            argv += ["-c", f". {PROFILE}; {self._command}"]
        if not self._on_terminal:
            await self._piped(guest, argv)
            return
        if self._command is None:
            _say(f"{headline(guest)}; Ctrl-] q leaves")
        guest.on_silence = self._silent
        env = {"TERM": os.environ.get("TERM", "dumb"), "PS1": prompt(guest), "ENV": PROFILE}
        with ExitStack() as restored:
            restored.enter_context(raw(0))
            restored.callback(self._cooked)
            self._raw = True
            async with (
                guest.program(argv, env=env, cwd="/root", terminal=size_of(1)) as program,
                task_scope() as helpers,
            ):
                helpers.start_soon(self._type, guest, program)
                helpers.start_soon(self._follow_size, program)
                await self._show(program)

    def _cooked(self) -> None:
        self._raw = False

    async def _piped(self, guest: Guest, argv: Sequence[str]) -> None:
        takes_input = not os.isatty(0)
        async with (
            guest.program(argv, cwd="/root", takes_input=takes_input) as program,
            task_scope() as helpers,
        ):
            if takes_input:
                helpers.start_soon(self._pass_input, program)
            await self._show(program)

    async def _show(self, program: Program) -> None:
        async for stream, data in program.output(self._timeout_s):
            await write_all(2 if stream == STDERR else 1, data)
        assert program.exit_code is not None, "output() ends with the program"
        self._code = program.exit_code

    async def _pass_input(self, program: Program) -> None:
        async for data in chunks(0):
            await program.send(data)
        program.close_input()

    async def _type(self, guest: Guest, program: Program) -> None:
        escapes = Escapes()
        async for typed in chunks(0):
            for part in escapes.feed(typed):
                match part:
                    case Action.LEAVE:
                        self._tell("left; the guest is gone")
                        self._leave()
                    case Action.CONSOLE:
                        self._tell("the end of the guest's console:", *guest.console())
                    case Action.HELP:
                        self._tell(HELP)
                    case bytes():
                        await program.send(part)
        # The terminal has hung up.
        self._leave()

    async def _follow_size(self, program: Program) -> None:
        with anyio.open_signal_receiver(signal.SIGWINCH) as changes:
            async for _ in changes:
                program.resize(size_of(1))

    async def _watch_scheduler(self, guest: Guest) -> None:
        ended = await guest.scheduler_exit()
        if ended is not None:
            kind = ended.kind_name or ended.process
            words = [word for word in (kind, ended.reason, ended.message) if word]
            self._tell(f"the scheduler ended: {': '.join(words)}")

    def _silent(self, seconds: float) -> None:
        self._tell(f"the guest has not answered for {seconds:.0f} s; Ctrl-] q leaves it")

    # -- words ---------------------------------------------------------------------------------

    def _tell(self, *texts: str) -> None:
        """Words of ours in between, also where the terminal is raw."""
        for text in texts:
            _say(f"[ktstr] {one_line(text)}", raw=self._raw)

    def _say_error(self, error: object, code: int) -> int:
        self._status.clear()
        if self._on_terminal and isinstance(error, GuestLost):
            os.write(STDOUT, RESET)
        _say(f"error: {lines(str(error))}")
        return code

    def _say_log(self, error: SchedulerNotAttached) -> None:
        self._status.clear()
        for line in lines(error.log.rstrip()).split("\n")[-LOG_LINES:]:
            if line:
                _say(f"  {line}")


class _Status:
    """What is under way, in one line on standard error that goes away; warnings stay."""

    def __init__(self, *, verbose: bool) -> None:
        self._verbose = verbose
        self._moves = os.isatty(2) and not verbose
        self._shown = self._last = ""

    def __call__(self, event: RunEvent) -> None:
        """An event of the guest's way up."""
        match event:
            case Note(_, warning=True):
                self.clear()
                _say(describe(event))
            case StageProgress(_, text, fraction):
                self.progress(text, fraction)
            case StageStarted(_, text) if self._moves:
                self._draw(text)
            case _ if self._verbose:
                _say(describe(event))

    def progress(self, text: str, fraction: float | None) -> None:
        """News of a download or a build."""
        if self._moves:
            self._draw(text if fraction is None else f"{text} {fraction:.0%}")
        elif text != self._last:
            self._last = text
            _say(f"{one_line(text)} ...")

    def _draw(self, text: str) -> None:
        width = size_of(2).columns - 5
        self._shown = one_line(text)[: max(0, width)]
        _write(f"\r\x1b[K{self._shown} ...")

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            self._shown = ""
            _write("\r\x1b[K")


def headline(guest: Guest) -> str:
    """What a guest is, in a line."""
    spec = guest.live.machine.spec
    scheduler = one_line(guest.scheduler) or "the kernel's own scheduler"
    kernel = f"kernel {one_line(guest.hello.release)}"
    return f"{kernel}, topology {spec.topology}, {spec.memory_mib} MiB, {scheduler}"


def prompt(guest: Guest) -> str:
    """The shell's prompt: kernel, scheduler, folder."""
    kernel = re.split("[-+]", one_line(guest.hello.release))[0]
    return f"[{' '.join(filter(None, (kernel, guest.scheduler)))}] \\w \\$ "


def _say(text: str, *, raw: bool = False) -> None:
    end = "\r\n" if raw else "\n"
    _write(("\r\n" if raw else "") + text.replace("\n", end) + end)


def _write(text: str) -> None:
    # Whoever watches may have gone; the guest's end must not depend on it.
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        return
