# SPDX-License-Identifier: GPL-2.0-only
"""A guest without a scenario: booted or continued, with a scheduler or not, for programs to run in.

async with open_guest(Wanted(kernel="debian:7")) as guest:
    code = await guest.run(["/bin/sh", "-c", "uname -r"], 30, lambda stream, data: ...)
"""

import inspect
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import anyio

from ktstr.errors import ChannelLost, DefinitionInvalid, ExitCode, GuestLost, KtstrError, Problem
from ktstr.model.scenario import Scenario, scenario_from_toml
from ktstr.session.boot import begin, booted, keep_booted
from ktstr.session.definition import Definition, defined
from ktstr.session.events import Emit, Note, ignore
from ktstr.session.hello import Hello, check_topology
from ktstr.session.journal import open_journal
from ktstr.session.judge import why_not_attached
from ktstr.session.live import Live
from ktstr.session.needs import conversation_with, vm_spec
from ktstr.session.options import RunOptions
from ktstr.session.prepare import prepared
from ktstr.session.program import Program, Silent, Size, read_frame
from ktstr.session.recorder import Recorder, SchedulerExit
from ktstr.session.run import scratch_folder
from ktstr.session.run_id import new_run_id
from ktstr.session.stages import stage
from ktstr.session.tries import Tries
from ktstr.vm.console import tail_lines
from ktstr.vm.cpio import Entry
from ktstr.wire import MsgType

OnOutput = Callable[[int, bytes], Awaitable[None] | None]
"""Takes what a program prints: 1 or 2 for the stream, and some bytes; awaited where it can be."""

GUEST_PATH: Final = "/include:/ktstr/bin:/usr/bin:/bin:/usr/sbin:/sbin"
ENVIRONMENT: Final[Mapping[str, str]] = {
    "PATH": GUEST_PATH,
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
}
"""What every program's environment has."""

CONSOLE_LINES: Final = 20
JOURNAL: Final = "session.log"
_OPTIONS: Final = {
    "kernel": "--kernel",
    "vm.topology": "--topology",
    "vm.memory": "--memory",
    "scheduler.kernel_args": "--kernel-arg",
    "scheduler": "--scheduler",
}
_WHERE: Final = "the command line"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The guest that is asked for; each field in the form that a scenario file has it.

    :param kernel: a kernel's name (``debian:7``, ``path:…``); ``None``: the default.
    :param topology: ``1n1l2c1t``, or a preset's name; ``None``: two CPUs.
    :param memory: a size (``512M``); ``None``: 512 MiB.
    :param scheduler: attached before anything is run: a built-in name, a ``*.o``, a program;
        ``None`` and ``none``: the kernel's own.
    :param kernel_args: words for the kernel's command line.
    """

    kernel: str | None = None
    topology: str | None = None
    memory: str | None = None
    scheduler: str | None = None
    kernel_args: tuple[str, ...] = ()


class SchedulerNotAttached(KtstrError):
    """The scheduler that was asked for refused, or was refused.

    :ivar log: what it printed meanwhile.
    """

    exit_code = ExitCode.FAIL

    def __init__(self, message: str, log: str) -> None:
        super().__init__(message)
        self.log = log


class Guest:
    """A guest that waits for programs; valid inside :func:`open_guest`.

    :ivar hello: what its agent told of it.
    :ivar scheduler: name of the attached scheduler as the kernel shows it; empty without one.
    :ivar on_silence: told of a guest that does not answer; without it, it then counts as hung.
    """

    def __init__(self, live: Live, hello: Hello, run_dir: Path) -> None:
        self.live = live
        self.hello = hello
        self.run_dir = run_dir
        attached = [s for s in live.recorder.statuses if s.get("event") == "attached"]
        self.scheduler = str(attached[-1].get("ops") or "") if attached else ""
        self.on_silence: Silent | None = None
        self._programs: dict[int, Program] = {}
        self._started = 0
        live.recorder.on_program = self._take

    async def scheduler_exit(self) -> SchedulerExit | None:
        """Wait until the scheduler ends, and tell how; ``None`` when the guest ends first."""
        live = self.live
        await live.link.until(lambda: live.recorder.scheduler_exit is not None, math.inf)
        return live.recorder.scheduler_exit

    def console(self) -> tuple[str, ...]:
        """The end of the kernel's log on the console, fit to be printed."""
        return tail_lines(self.live.machine.console_log, CONSOLE_LINES)

    def _take(self, msg_type: int, payload: bytes) -> None:
        number, fields = read_frame(payload)
        program = self._programs.get(number)
        if program is not None:
            program.take(msg_type, fields)

    @asynccontextmanager
    async def program(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        terminal: Size | None = None,
        takes_input: bool = False,
        mark: str | None = None,
    ) -> AsyncIterator[Program]:
        """Start a program; what still runs of it when the block is left runs on, unheard.

        :param argv: the first word is a path, or is looked for in the guest's PATH.
        :param env: beside :data:`ENVIRONMENT`.
        :param terminal: size of a terminal of its own, which is its input, output and errors.
        :param takes_input: without a terminal: it reads what it is sent; else nothing.
        :param mark: lines of its output that begin with this are put into the kernel log too.
        :raise GuestLost: the guest does not take requests.
        """
        self._started += 1
        number = self._started
        program = Program(number, self.live.machine, self.live.link, self.on_silence)
        self._programs[number] = program
        fields: dict[str, object] = {
            "id": number,
            "argv": list(argv),
            "env": [f"{name}={value}" for name, value in {**ENVIRONMENT, **(env or {})}.items()],
            "cwd": cwd,
            "terminal": None if terminal is None else [terminal.rows, terminal.columns],
            "input": takes_input,
            **({} if mark is None else {"mark": mark}),
        }
        try:
            self.live.link.reply(MsgType.PROGRAM_START, fields)
        except ValueError as error:
            raise ChannelLost(f"the guest cannot be told what to run: {error}") from error
        try:
            yield program
        finally:
            del self._programs[number]

    async def run(
        self,
        argv: Sequence[str],
        deadline_s: float | None = None,
        on_output: OnOutput | None = None,
        *,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
    ) -> int:
        """Run a program to its end and hand on what it prints, as it comes.

        :param deadline_s: how long it may run, seconds; ``None``: as long as it likes.
        :return: its exit status; 128 and the number of the signal that ended it, 127 if it could
            not be started (the reason is on its standard error).
        :raise TimeoutError: it ran longer, and was killed; the guest is there for others.
        :raise GuestLost: the guest ended, or hangs.
        """
        async with self.program(argv, env=env, cwd=cwd) as program:
            async for stream, data in program.output(deadline_s):
                done = None if on_output is None else on_output(stream, data)
                if inspect.isawaitable(done):
                    await done
            assert program.exit_code is not None, "output() ends with the program"
            return program.exit_code


def guest_scenario(wanted: Wanted) -> Scenario:
    """The scenario that stands for a guest without one: nothing runs in its only step.

    :raise DefinitionInvalid: with every mistake in what was asked for.
    """
    memory = "" if wanted.memory is None else f"memory = {json.dumps(wanted.memory)}\n"
    text = (
        f"name = 'guest'\n[vm]\n{memory}[scheduler]\nkernel_default = true\n"
        f"kernel_args = {json.dumps(wanted.kernel_args)}\n[[steps]]\nhold = '1s'\n"
    )

    def read(scheduler: str | None) -> Scenario:
        return scenario_from_toml(
            text,
            file=_WHERE,
            kernel=wanted.kernel,
            topology=wanted.topology,
            scheduler=scheduler,
        )

    try:
        plain = read(None)
        scenario = plain if wanted.scheduler is None else read(wanted.scheduler)
    except DefinitionInvalid as error:
        raise DefinitionInvalid([_as_typed(problem) for problem in error.problems]) from None
    if wanted.scheduler is None:
        return plain
    # Another scheduler takes the place of all in the file's table.
    arguments = {"kernel_args": plain.scheduler.kernel_args}
    scheduler = scenario.scheduler.model_copy(update=arguments)
    return scenario.model_copy(update={"scheduler": scheduler})


def _as_typed(problem: Problem) -> Problem:
    """A mistake in the text above, told of the option that it came from."""
    option = next((o for key, o in _OPTIONS.items() if problem.key.startswith(key)), problem.key)
    return replace(problem, file=_WHERE, line=None, key=option)


def guest_definition(wanted: Wanted, options: RunOptions) -> Definition:
    """What is asked for, with a plan that has programs in place of steps.

    :raise DefinitionInvalid: with every mistake in it.
    """
    definition = defined(guest_scenario(wanted), options)
    plan = {key: value for key, value in definition.plan.items() if key != "steps"}
    return replace(definition, plan={**plan, "programs": {}})


@asynccontextmanager
async def open_guest(
    wanted: Wanted,
    options: RunOptions | None = None,
    emit: Emit = ignore,
    *,
    entries: Sequence[Entry] = (),
    one_thread: bool = False,
) -> AsyncIterator[Guest]:
    """A guest to run programs in; it is gone, with all that belongs to it, after the block.

    It continues a template where there is one, as any run does.

    :param entries: files for it, beside its own; there is no shell in a guest unless it comes here.
    :param one_thread: under TCG, run all vCPUs in turn on one host thread.
    :raise CannotRun: when nothing could be tried.
    :raise SchedulerNotAttached: with the reason and the scheduler's log.
    :raise GuestLost: the guest did not come up, or was lost; the end of its console is a note of
        the exception.
    """
    options = options or RunOptions()
    definition = guest_definition(wanted, options)
    async with AsyncExitStack() as stack:
        run_dir = stack.enter_context(scratch_folder())
        ready = await stack.enter_async_context(
            prepared(definition, options, run_dir, emit, entries)
        )
        journal = stack.enter_context(open_journal(run_dir / JOURNAL, new_run_id()))
        tries = Tries()
        while True:
            async with AsyncExitStack() as attempt:
                spec = replace(vm_spec(ready), one_thread=one_thread or bool(tries.slips))
                live = await attempt.enter_async_context(
                    booted(ready, spec, options, run_dir, emit, journal, tries.why_cold)
                )
                try:
                    hello = await _come_up(live, options, emit)
                except GuestLost as error:
                    if tries.learn(live, error):
                        emit(Note(tries.why[-1], warning=True))
                        continue
                    _add_console(error, live)
                    raise
                try:
                    yield Guest(live, hello, run_dir)
                except GuestLost as error:
                    _add_console(error, live)
                    raise
                return


def _add_console(error: GuestLost, live: Live) -> None:
    for line in tail_lines(live.machine.console_log, CONSOLE_LINES):
        error.add_note(line)


async def _come_up(live: Live, options: RunOptions, emit: Emit) -> Hello:
    """Bring a guest to where it waits for programs."""
    recorder, warm = live.recorder, live.warm
    conversation = conversation_with(live, options)
    with stage(emit, "boot", "continuing a template" if warm.reached else "booting") as done:
        await conversation.hello()
        await keep_booted(live)
        done("continued a template" if warm.reached else "booted")
    hello = recorder.hello
    assert hello is not None, "hello() has waited for it"
    check_topology(hello, live.machine.spec)
    nobody_looks = anyio.Event()
    nobody_looks.set()
    with stage(emit, "scheduler", "attaching the scheduler") as done:
        if not await begin(live, conversation, hello, nobody_looks, emit):
            raise _refused(recorder)
        done("ready for programs")
    return hello


def _refused(recorder: Recorder) -> KtstrError:
    if recorder.scheduler_exit is None and recorder.agent_errors:
        return ChannelLost("the guest's agent failed: " + "; ".join(recorder.agent_errors))
    return SchedulerNotAttached(why_not_attached(recorder), recorder.scheduler_log.text())
