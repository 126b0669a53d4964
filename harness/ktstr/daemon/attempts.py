# SPDX-License-Identifier: GPL-2.0-only
"""Runs that have their turn: a process each, what it says, and how it ends."""

import os
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final

import anyio
import anyio.abc
import anyio.to_thread
import structlog

from ktstr.daemon.line import Line
from ktstr.daemon.nursery import Nursery, Runner
from ktstr.daemon.paths import END, LOG, RUNNER, Paths, read_note, write_note
from ktstr.daemon.plain import readable
from ktstr.daemon.reaper import ended, lost, recorded, start_ticks
from ktstr.daemon.salvage import clean
from ktstr.daemon.submission import RunRow, RunState
from ktstr.daemon.tracked import Tracked
from ktstr.daemon.wire import event_from_json, event_to_json
from ktstr.errors import ExitCode, HostUnfit, RequestInvalid
from ktstr.session.pool import Cost

CANCEL_DEADLINE_S: Final = 20.0
"""How long a run may take to clean up before its process is killed."""

SURVEY_DEADLINE_S: Final = 60.0
MAX_CPUS: Final = 4096
MAX_MEMORY_MIB: Final = 1 << 30
MAX_COMMANDS: Final = 16
MAX_DROPPED: Final = 1 << 32

_LOG = structlog.get_logger()


class Attempts:
    """Starts what has its turn, and sees it to its end.

    :param group: runs what goes on meanwhile; its end is theirs.
    :param change: called with a run and the fields of its row that change.
    :param tell: called with a run, an event's type and its data.
    :param over: called when a run has ended and its row says so.
    :param linger_s: how long the fork server is kept when there is nothing to run.
    :param may_start: whether runs may start; what waits, waits on while they may not.
    :param written: waits until all changes so far are in the store.
    """

    def __init__(
        self,
        paths: Paths,
        line: Line,
        nursery: Nursery,
        group: anyio.abc.TaskGroup,
        *,
        change: Callable[[Tracked, dict[str, Any]], None],
        tell: Callable[[Tracked, str, Mapping[str, Any]], None],
        over: Callable[[Tracked], None],
        linger_s: float,
        may_start: Callable[[], bool],
        written: Callable[[], Awaitable[None]],
    ) -> None:
        self.line = line
        self.closed = False
        self._paths = paths
        self._nursery = nursery
        self._group = group
        self._change = change
        self._tell = tell
        self._over = over
        self._linger_s = linger_s
        self._may_start = may_start
        self._written = written
        self._tracked: dict[int, Tracked] = {}
        self._unsurveyed: dict[int, Tracked] = {}
        self._surveying = False
        self._lingering: anyio.CancelScope | None = None

    @property
    def running(self) -> list[Tracked]:
        """Runs that have started and not ended."""
        return [each for each in self._tracked.values() if each.row.state is not RunState.QUEUED]

    def add(self, tracked: Tracked) -> None:
        """A run waits for its turn."""
        submission = tracked.row.submission
        self._tracked[tracked.number] = self._unsurveyed[tracked.number] = tracked
        self.line.add(tracked.number, submission.share, submission.priority)
        self.consider()

    def waiting(self) -> list[Tracked]:
        """Those that wait, in the order of their turns."""
        return [self._tracked[number] for number in self.line.order()]

    def consider(self) -> None:
        """Start what has its turn and fits; find out what the others cost."""
        open_ = not self.closed and self._may_start()
        while open_ and (number := self.line.start()) is not None:
            tracked = self._tracked[number]
            self._unsurveyed.pop(number, None)
            self._change(tracked, {"state": RunState.STARTING, "started_at": time.time()})
            self._group.start_soon(self._run, tracked)
        if self._unsurveyed and not self._surveying and not self.closed:
            self._surveying = True
            self._group.start_soon(self._survey_all)
        self._linger()

    def cancel(self, tracked: Tracked, why: str) -> None:
        """End a run: out of the queue at once, otherwise with time to clean up."""
        if tracked.row.state is RunState.QUEUED:
            self.line.drop(tracked.number)
            self._finish(tracked, {"state": RunState.CANCELLED, "error": why})
            self.consider()
        elif tracked.row.state is RunState.KEPT:
            # It has its verdict; what is still to end is the guest.
            self.release(tracked)
            if tracked.runner is not None:
                self._group.start_soon(self._kill_later, tracked, tracked.runner)
        elif tracked.cancelled is None:
            tracked.cancelled = why
            if tracked.runner is not None:
                self._send_cancel(tracked, tracked.runner)

    def release(self, tracked: Tracked) -> None:
        """Let a kept VM go."""
        if tracked.row.state is RunState.KEPT and tracked.runner is not None:
            tracked.runner.send({"do": "release"})

    async def _run(self, tracked: Tracked) -> None:
        folder = self._paths.run(tracked.row.id)
        runner: Runner | None = None
        try:
            # A run that is begun is known to be, so that none is begun twice.
            await self._written()
            if tracked.cancelled is None:
                runner = await self._nursery.fork(folder / LOG)
                with suppress(OSError):
                    # A full disk is no reason to give up what was taken.
                    birth = {"pid": runner.pid, "start": start_ticks(runner.pid)}
                    write_note(folder / RUNNER, birth)
                tracked.runner = runner
                self._change(tracked, {"pid": runner.pid})
                runner.listen(partial(self._heard, tracked))
                runner.send(
                    {
                        "do": "run",
                        "id": tracked.row.id,
                        "folder": str(folder),
                        "crowded": self.line.budget.cpus is None,
                        "daemon": os.getpid(),
                    }
                )
                self._cancel_late(tracked, runner)
                await runner.wait()
        except (HostUnfit, OSError) as error:
            tracked.end = _not_run(str(error))
        except Exception as error:
            # One run that the daemon cannot handle is no reason for the others to end.
            _LOG.exception("ktstr went wrong", run=tracked.row.id)
            tracked.end = _not_run(f"the daemon itself went wrong: {error!r}")
        finally:
            with anyio.CancelScope(shield=True):
                if runner is not None:
                    runner.close()
                    tracked.feed.dropped += runner.lost_lines
                await self._conclude(tracked)

    async def _conclude(self, tracked: Tracked) -> None:
        self._left(tracked)
        self.line.end(tracked.number, tracked.cpu_s)
        self._grant()
        row = await anyio.to_thread.run_sync(self._ended, tracked)
        self._finish(tracked, differences(tracked.row, row))
        self.consider()

    def _ended(self, tracked: Tracked) -> RunRow:
        """The row of a run whose process is gone."""
        row, runner = tracked.row, tracked.runner
        folder = self._paths.run(row.id)
        note = tracked.end or read_note(folder / END)
        if row.state is RunState.KEPT and note is None:
            return recorded(row, folder)
        if note is None and (runner is None or tracked.cancelled is not None):
            note = {"end": "cancelled"}
        if note is not None:
            clean(folder)
            if note.get("end") == "cancelled":
                note = {**note, "error": tracked.cancelled}
            return ended(row, note)
        assert runner is not None
        why = f"the process of the run ended {_manner(runner.status)}"
        return lost(row, folder, why, tracked.feed.last)

    def _finish(self, tracked: Tracked, fields: dict[str, Any]) -> None:
        del self._tracked[tracked.number]
        self._unsurveyed.pop(tracked.number, None)
        tracked.runner = None
        self._change(tracked, {"ended_at": time.time(), "pid": None, **fields})
        self._over(tracked)

    def _heard(self, tracked: Tracked, message: dict[str, Any]) -> None:
        """Take what a runner says; what is not as it should be counts as dropped."""
        try:
            self._take(tracked, message)
        except (RequestInvalid, KeyError, TypeError, ValueError):
            tracked.feed.dropped += 1
        if tracked.feed.full and tracked.runner is not None and not tracked.runner.slow:
            tracked.runner.slow = True
            self._tell(tracked, "dropped", {"why": "more events than are kept of one run"})

    def _take(self, tracked: Tracked, message: dict[str, Any]) -> None:
        match message["type"]:
            case "event":
                told = event_to_json(event_from_json(message["event"]))
                self._tell(tracked, told.pop("type"), told)
            case "cost":
                self._learn(tracked, message)
            case "lease":
                self.line.ask(tracked.number)
                self._grant()
            case "leave":
                self._left(tracked)
                self._grant()
                self.consider()
            case "kept":
                self._kept(tracked, message)
            case "dropped":
                tracked.feed.dropped += max(0, min(int(message["events"]), MAX_DROPPED))
            case "end":
                tracked.end = message

    def _learn(self, tracked: Tracked, message: Mapping[str, Any]) -> None:
        cpus, memory_mib, name = message["cpus"], message["memory_mib"], message["name"]
        if type(cpus) is not int or type(memory_mib) is not int:
            raise TypeError(message)
        if not (0 < cpus <= MAX_CPUS and 0 <= memory_mib <= MAX_MEMORY_MIB):
            raise ValueError(message)
        if not isinstance(name, str) or tracked.number not in self._tracked:
            raise ValueError(message)
        self.line.learn(tracked.number, Cost(cpus, memory_mib))
        self._change(
            tracked, {"cpus": cpus, "memory_mib": memory_mib, "name": readable(name[:200])}
        )
        self.consider()

    def _grant(self) -> None:
        """Let run whose guests may."""
        while (number := self.line.lease()) is not None:
            tracked = self._tracked[number]
            tracked.leased_at = time.monotonic()
            if tracked.runner is not None:
                tracked.runner.send({"do": "lease"})
            if tracked.row.state is RunState.STARTING:
                self._change(tracked, {"state": RunState.RUNNING, "running_at": time.time()})

    def _left(self, tracked: Tracked) -> None:
        self.line.leave(tracked.number)
        if tracked.leased_at is not None:
            held_s = time.monotonic() - tracked.leased_at
            tracked.cpu_s += held_s * self.line.cpus(tracked.number)
            tracked.leased_at = None

    def _kept(self, tracked: Tracked, message: Mapping[str, Any]) -> None:
        commands = message.get("commands", [])
        told = {
            "qemu": message["qemu"],
            "state": str(message.get("state", "")),
            "commands": [[str(what), str(how)] for what, how in commands[:MAX_COMMANDS]],
            "problem": message.get("problem"),
        }
        if told["qemu"] is None:
            self._tell(tracked, "kept", told)
            return
        self.line.rest(tracked.number)
        row = ended(tracked.row, {**message, "end": "finished"})
        known = differences(tracked.row, replace_end(row, tracked.row))
        self._change(tracked, {**known, "state": RunState.KEPT})
        self._tell(tracked, "kept", told)
        if self.closed:
            # The daemon is about to end, and waits for all that runs.
            self.release(tracked)
        self.consider()

    def _cancel_late(self, tracked: Tracked, runner: Runner) -> None:
        """Pass on what was asked for before there was a process."""
        if tracked.cancelled is not None:
            self._send_cancel(tracked, runner)

    def _send_cancel(self, tracked: Tracked, runner: Runner) -> None:
        runner.send({"do": "cancel"})
        self._group.start_soon(self._kill_later, tracked, runner)

    async def _kill_later(self, tracked: Tracked, runner: Runner) -> None:
        with anyio.move_on_after(CANCEL_DEADLINE_S):
            await tracked.over.wait()
            return
        _LOG.warning("killed", run=tracked.row.id, why=f"not ended {CANCEL_DEADLINE_S:.0f} s after")
        runner.kill()

    async def _survey_all(self) -> None:
        """Ask what each run costs that waits; a wrong one ends here."""
        try:
            while not self.closed:
                number = next(filter(self._unsurveyed.__contains__, self.line.ahead()), None)
                if number is None:
                    number = next(iter(self._unsurveyed), None)
                if number is None:
                    return
                await self._survey(self._unsurveyed.pop(number))
        finally:
            self._surveying = False

    async def _survey(self, tracked: Tracked) -> None:
        folder = self._paths.run(tracked.row.id)
        answer: dict[str, Any] = {}
        try:
            runner = await self._nursery.fork(folder / LOG)
        except (HostUnfit, OSError) as error:
            # Its own turn will show it.
            _LOG.warning("not surveyed", run=tracked.row.id, error=str(error))
            return
        try:
            runner.listen(answer.update)
            runner.send({"do": "survey", "folder": str(folder)})
            with anyio.move_on_after(SURVEY_DEADLINE_S):
                await runner.wait()
        finally:
            runner.close()
        if tracked.row.state is not RunState.QUEUED:
            return
        if answer.get("type") == "cost":
            self._heard(tracked, answer)
        elif answer.get("type") == "end":
            self.line.drop(tracked.number)
            self._finish(tracked, differences(tracked.row, ended(tracked.row, answer)))
            self.consider()

    def _linger(self) -> None:
        """End the fork server when nothing has been run for a while."""
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None
        if not self._tracked and self._nursery.pid is not None:
            self._lingering = anyio.CancelScope()
            self._group.start_soon(self._stop_later, self._lingering)

    async def _stop_later(self, scope: anyio.CancelScope) -> None:
        with scope:
            await anyio.sleep(self._linger_s)
            self._nursery.stop()


def differences(old: RunRow, new: RunRow) -> dict[str, Any]:
    """The fields of ``new`` that are not those of ``old``."""
    names = RunRow.__slots__
    found = {name: getattr(new, name) for name in names}
    return {name: value for name, value in found.items() if value != getattr(old, name)}


def replace_end(row: RunRow, living: RunRow) -> RunRow:
    """``row`` with the verdict that it has, and still alive."""
    return replace(row, state=living.state, ended_at=None, pid=living.pid)


def _not_run(why: str) -> dict[str, Any]:
    code = int(ExitCode.CANNOT_RUN)
    return {"end": "finished", "verdict": "cannot run", "exit_code": code, "error": why}


def _manner(status: int | None) -> str:
    if status is None:
        return "without a word"
    if status < 0:
        return f"without a word, by signal {-status}"
    return f"without a word, with status {status}"
