# SPDX-License-Identifier: GPL-2.0-only
"""The process of one run: reads what to run, runs it, tells of it as JSON lines.

Commands come on standard input, one JSON map a line. The first is ``{"do": "run", "id": ...,
"folder": ..., "crowded": ..., "daemon": PID}`` or ``{"do": "survey", "folder": ...}``; the folder
has the submission, and ``crowded`` says that the guest may run on CPUs of others of that daemon.
Later ones are ``{"do": "lease"}`` (the guest may have CPUs now), ``{"do": "cancel"}`` and ``{"do":
"release"}``. When standard input ends, so does the run: nobody is there to take its result.

Messages have a ``type``: ``cost`` (cpus, memory_mib, name), ``lease`` and ``leave`` (the guest
wants CPUs, or has done with them), ``event`` (a run event), ``kept`` (qemu, state, commands,
problem: the guest stands for people to look at), and last ``end``, which is written to the run's
folder before it is said.
"""

import asyncio
import faulthandler
import importlib
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import anyio
import structlog

from ktstr.daemon.outgoing import Outgoing
from ktstr.daemon.paths import END, SCRATCH, SUBMISSION, read_note, write_note
from ktstr.daemon.salvage import salvage
from ktstr.daemon.submission import KERNEL_LACKS, OWN_FOLDER, ScenarioText, Submission
from ktstr.daemon.wire import event_to_json, submission_from_json
from ktstr.errors import ExitCode, HostUnfit, KernelLacks, KtstrError
from ktstr.session.definition import define
from ktstr.session.events import RunEvent, StageDone, StageStarted
from ktstr.session.kept import commands, write_debug_file
from ktstr.session.lease import Lease
from ktstr.session.live import Live
from ktstr.session.options import RunOptions
from ktstr.session.record import RunRecord
from ktstr.session.room import cost_of
from ktstr.session.run import run_scenario
from ktstr.session.scopes import task_scope

END_DEADLINE_S: Final = 30
"""How long cleaning up may take once the daemon is gone."""

STUCK_S: Final = 600
"""How long the event loop may stand before the process is taken for stuck in foreign code."""

TURN_S: Final = 0.1
"""A wait for CPUs that is over sooner is not worth a line."""

MAX_COMMAND: Final = 1 << 16
WARM_UP: Final = 'name = "warm-up"\n[[steps]]\nhold = "1s"\n[checks]\nnot_starved = true\n'


def prepare() -> None:
    """Before the first fork: what the first use of anything would do is done once for all."""
    # What is imported only once it is used; an event loop brings its own.
    importlib.import_module("ktstr.kernels.build.fragments")
    anyio.run(anyio.sleep, 0)
    with tempfile.TemporaryDirectory(prefix="ktstr-") as folder, suppress(KtstrError):
        path = Path(folder) / "warm_up.toml"
        path.write_text(WARM_UP)
        cost_of(define(path, RunOptions()))


def main(events: int) -> int:
    """The life of the process; its standard streams have been arranged."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    first = _first_command()
    if first is None:
        return 0
    out = Outgoing(events)
    folder = Path(str(first["folder"]))
    note = read_note(folder / SUBMISSION)
    try:
        if note is None:
            raise HostUnfit(f"the submission cannot be read: {folder / SUBMISSION}")
        submission = submission_from_json(note)
        path, options = _resolved(submission, folder)
        if first["do"] == "survey":
            _tell_cost(out, path, options)
            out.flush()
            return 0
        # So that what a lost run leaves behind is found, and gone with its folder.
        scratch = folder / SCRATCH
        scratch.mkdir(exist_ok=True)
    except (KtstrError, OSError) as error:
        _end(folder, out, **_failure(error))
        out.flush()
        return 0
    tempfile.tempdir = str(scratch)

    async def whole() -> None:
        await Run(first, path, options, out).whole()

    anyio.run(whole)
    out.flush()
    return 0


class Run:
    """One run, from its definition to its last word."""

    def __init__(
        self, first: Mapping[str, Any], path: Path, options: RunOptions, out: Outgoing
    ) -> None:
        self._id = str(first["id"])
        self._folder = Path(str(first["folder"]))
        self._path = path
        self._options = options
        self._out = out
        crowded = bool(first.get("crowded"))
        self._lease = RemoteLease(out, crowded=crowded, crowd=int(first.get("daemon", 0)))
        self._released = anyio.Event()
        self._scope = anyio.CancelScope()
        self._alone = False

    async def whole(self) -> None:
        """Run, and say how it ended."""
        async with task_scope() as helpers:
            helpers.start_soon(self._obey)
            helpers.start_soon(self._stay_alive)
            self._out.attach()
            end: dict[str, Any] = {"end": "cancelled"}
            with self._scope:
                end = await self._run()
            if self._alone and end["end"] == "cancelled":
                end = {"end": "lost", "error": "the daemon was gone before the run had ended"}
            _end(self._folder, self._out, **end)

    async def _run(self) -> dict[str, Any]:
        emit = _Emit(self._out)
        try:
            _tell_cost(self._out, self._path, self._options)
            record = await run_scenario(
                self._path, self._options, emit, self._keep, self._lease, self._id
            )
        except (KtstrError, OSError) as error:
            return _failure(error)
        except Exception as error:
            traceback.print_exc()
            return _failure(HostUnfit(f"ktstr itself went wrong: {error!r}"))
        return summary(record)

    async def _keep(self, live: Live, record: RunRecord) -> None:
        machine, hello = live.machine, live.recorder.hello
        end = machine.end
        if end is not None and end.kind == "qemu-exit":
            self._out.send(
                {"type": "kept", "qemu": None, "problem": f"no VM is kept: {end.detail}"},
                vital=True,
            )
            return
        problem = None
        try:
            write_debug_file(machine, None if hello is None else hello.vmcoreinfo)
        except OSError as error:
            problem = f"no drgn prompt: {error.strerror}"
        told = {
            "type": "kept",
            "qemu": machine.pid,
            "state": "paused" if end is None else f"paused after {end.kind}",
            "commands": [[what, command] for what, command in commands(machine)],
            "problem": problem,
            **summary(record),
        }
        self._out.send(told, vital=True)
        await self._released.wait()

    async def _obey(self) -> None:
        """Follow commands until there are no more, which ends the run."""
        buffer = bytearray()
        os.set_blocking(0, False)
        while True:
            await anyio.wait_readable(0)
            data = os.read(0, 4096)
            if not data or len(buffer) > MAX_COMMAND:
                break
            buffer += data
            *lines, rest = buffer.split(b"\n")
            buffer = rest
            for line in lines:
                self._do(str(json.loads(line).get("do")))
        # Even where foreign code holds the interpreter: the process has an end.
        self._alone = True
        # What cleaning up takes away is what tells of a run that was lost.
        salvage(self._folder)
        faulthandler.dump_traceback_later(END_DEADLINE_S, exit=True)
        self._scope.cancel()

    async def _stay_alive(self) -> None:
        """Have the process end when its event loop stands for long."""
        while not self._alone:
            faulthandler.dump_traceback_later(STUCK_S, exit=True)
            await anyio.sleep(STUCK_S / 10)

    def _do(self, what: str) -> None:
        if what == "lease":
            self._lease.grant()
        elif what == "cancel":
            self._scope.cancel()
        elif what == "release":
            self._released.set()


class RemoteLease(Lease):
    """A lease that the daemon gives."""

    shared = True

    def __init__(self, out: Outgoing, *, crowded: bool, crowd: int = 0) -> None:
        super().__init__()
        self.crowded = crowded
        self.crowd = crowd
        self._out = out
        self._given = anyio.Event()

    def grant(self) -> None:
        """The daemon has given it."""
        self._given.set()

    async def _granted(self) -> None:
        self._given = anyio.Event()
        self._out.send({"type": "lease"}, vital=True)
        try:
            await self._given.wait()
        except BaseException:
            self._given_back()
            raise

    def _given_back(self) -> None:
        self._out.send({"type": "leave"}, vital=True)


class _Emit:
    """An observer that passes everything on, readings too.

    Of a turn that came at once nothing is said, as if the run had been alone.
    """

    wants_readings = True

    def __init__(self, out: Outgoing) -> None:
        self._out = out
        self._held: StageStarted | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self, event: RunEvent) -> None:
        match event:
            case StageStarted(key="turn"):
                self._held = event
                self._timer = asyncio.get_running_loop().call_later(TURN_S, self._release)
                return
            case StageDone(key="turn") if self._held is not None:
                self._held = None
                return
        self._release()
        self._send(event)

    def _release(self) -> None:
        if self._held is not None:
            self._send(self._held)
            self._held = None

    def _send(self, event: RunEvent) -> None:
        self._out.send({"type": "event", "event": event_to_json(event)})


def summary(record: RunRecord) -> dict[str, Any]:
    """What the daemon keeps of a record."""
    checkpoints = record.host.get("checkpoints") or ()
    return {
        "end": "finished",
        "name": record.name,
        "verdict": record.verdict,
        "exit_code": int(record.exit_code),
        "error": record.output_error or record.error,
        "sidecar": None if record.sidecar is None else str(record.sidecar.absolute()),
        "evidence": None if record.evidence is None else str(record.evidence.absolute()),
        "checkpoint": _first_path(checkpoints),
    }


def _first_path(checkpoints: Any) -> str | None:
    for found in checkpoints:
        path = found.get("path") if isinstance(found, dict) else found
        if isinstance(path, str | Path):
            return str(Path(path).absolute())
    return None


def _failure(error: Exception) -> dict[str, Any]:
    code = getattr(error, "exit_code", ExitCode.CANNOT_RUN)
    message = error.message if isinstance(error, KtstrError) else str(error)
    lines = [message, *getattr(error, "__notes__", ())]
    return {
        "end": "finished",
        "verdict": _no_verdict(error, code),
        "exit_code": int(code),
        "error": "\n  ".join(lines),
        "hint": getattr(error, "hint", None),
    }


def _no_verdict(error: Exception, code: ExitCode) -> str:
    if isinstance(error, KernelLacks):
        # In a matrix of kernels that is no mistake: the scenario has no place on this one.
        return KERNEL_LACKS
    return "lost" if code == ExitCode.GUEST_LOST else "cannot run"


def _end(folder: Path, out: Outgoing, **end: Any) -> None:
    """The last word: on disk first, for a daemon that is not there to hear it."""
    try:
        write_note(folder / END, {**end, "at": time.time()})
    except OSError as error:
        print(f"{END} cannot be written: {error}", file=sys.stderr)  # noqa: T201
    out.send({"type": "end", **end}, vital=True)


def _tell_cost(out: Outgoing, path: Path, options: RunOptions) -> None:
    definition = define(path, options)
    cost = cost_of(definition)
    name = definition.scenario.name
    told = {"type": "cost", "cpus": cost.cpus, "memory_mib": cost.memory_mib, "name": name}
    out.send(told, vital=True)


def _resolved(submission: Submission, folder: Path) -> tuple[Path, RunOptions]:
    """File and options of the run, with the process in the folder that relative paths mean."""
    os.chdir(submission.cwd or folder)
    options = submission.options
    if options.out_dir == OWN_FOLDER:
        options = replace(options, out_dir=folder)
    if not isinstance(submission.scenario, ScenarioText):
        return submission.scenario.path, options
    path = folder / f"{submission.scenario.name}.toml"
    path.write_text(submission.scenario.toml, "utf-8")
    return path, options


def _first_command() -> dict[str, Any] | None:
    """The first line of standard input, and nothing behind it."""
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte or len(line) > MAX_COMMAND:
            return None
        line += byte
    first = json.loads(line)
    return first if isinstance(first, dict) else None
