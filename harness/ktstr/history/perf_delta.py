# SPDX-License-Identifier: GPL-2.0-only
"""One scenario on two commits, in turn, as often as it takes to tell a change from noise.

The sides alternate as base head, head base, base head…: a host that gets slower while this goes
on slows both alike. The number of runs is fixed before the first: to look at the figures and go on
until they please would make chance look like a change.
"""

import os
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal, Protocol

import anyio
import anyio.to_thread

from ktstr.errors import CannotRun, GuestLost
from ktstr.history.pool import load
from ktstr.history.repeats import Repeats
from ktstr.history.rows import Row
from ktstr.history.worktrees import (
    Commit,
    baseline_of,
    commit_of,
    head_of,
    repository_of,
    worktree,
)
from ktstr.kernels.process import started
from ktstr.session.definition import define
from ktstr.session.events import Emit
from ktstr.session.options import RunOptions
from ktstr.session.record import RunRecord
from ktstr.session.virtual import is_virtual

WALL_REPEAT: Final = 5
"""Runs a side by the wall clock, unless it is said how many."""

BUILD_S: Final = 3600.0
LOG_LINES: Final = 10
WORKTREE: Final = "worktree"
"""As a head: the working tree as it is."""

SideName = Literal["base", "head"]
Execute = Callable[[Path, RunOptions, Emit], Awaitable[RunRecord]]


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for.

    :param scenarios: files; those inside of the repository are taken from each side's tree.
    :param repository: folder whose git repository is meant; None: the first scenario's.
    :param head: a commit, or :data:`WORKTREE`.
    :param build: shell command that is run in each tree before its first run.
    :param repeat: runs a side and scenario, by the virtual clock seeds; None: 5 and 1.
    """

    scenarios: tuple[Path, ...]
    out_dir: Path
    options: RunOptions = field(default_factory=RunOptions)
    repository: Path | None = None
    base: str | None = None
    base_ref: str | None = None
    head: str = WORKTREE
    build: str | None = None
    build_s: float = BUILD_S
    repeat: int | None = None


@dataclass(frozen=True, slots=True)
class Side:
    """One commit and the folder with its files.

    :param tree: top of its files.
    :param out_dir: takes the records of its runs.
    """

    name: SideName
    commit: Commit
    tree: Path
    out_dir: Path


@dataclass(frozen=True, slots=True)
class Subject:
    """One scenario, on both sides.

    :param inside: its path within the repository; None where both sides use the same file.
    :param missing: the side that has no such file.
    :param seed: of the first run by the virtual clock; None by the wall clock.
    """

    path: Path
    name: str
    inside: Path | None = None
    missing: SideName | None = None
    seed: int | None = None

    @property
    def exact(self) -> bool:
        """Whether runs can be repeated exactly."""
        return self.seed is not None

    def on(self, side: Side) -> Path:
        """Its file on a side."""
        return self.path if self.inside is None else side.tree / self.inside


@dataclass(frozen=True, slots=True)
class Turn:
    """One run that is due."""

    side: SideName
    subject: Subject
    repetition: int

    @property
    def seed(self) -> int | None:
        """Its seed; both sides have the same ones."""
        return None if self.subject.seed is None else self.subject.seed + self.repetition


@dataclass(frozen=True, slots=True)
class Ran:
    """A run that is over, with its figures."""

    turn: Turn
    verdict: str
    wall_s: float
    reason: str
    row: Row


@dataclass(slots=True)
class Delta:
    """Both sides, what is due, and what has become of it."""

    request: Request
    repository: Path
    base: Side
    head: Side
    subjects: Sequence[Subject] = ()
    turns: Sequence[Turn] = ()
    ran: list[Ran] = field(default_factory=list)

    @property
    def same(self) -> bool:
        """Whether both sides are one commit without changes: then any finding is a false alarm."""
        return self.base.commit.sha == self.head.commit.sha and not self.head.commit.dirty

    def side(self, name: SideName) -> Side:
        """A side by its name."""
        return self.base if name == "base" else self.head

    def options_of(self, turn: Turn) -> RunOptions:
        """How a run is made."""
        side, options = self.side(turn.side), self.request.options
        return replace(
            options,
            out_dir=side.out_dir,
            scheduler=_mapped(options.scheduler, self.repository, side.tree),
            seed=options.seed if turn.seed is None else turn.seed,
            auto_repro=bool(options.auto_repro),
        )

    def repeats(self) -> list[Repeats]:
        """What was run, by scenario."""
        return [
            Repeats(
                subject.name,
                list(self._rows(subject, "base")),
                list(self._rows(subject, "head")),
            )
            for subject in self.subjects
            if subject.missing is None
        ]

    def _rows(self, subject: Subject, side: SideName) -> Iterator[Row]:
        for ran in self.ran:
            if ran.turn.subject == subject and ran.turn.side == side:
                yield ran.row


class Watcher(Protocol):
    """Who is told how it goes."""

    def say(self, text: str) -> None:
        """Something worth a line."""

    def running(self, turn: Turn) -> AbstractContextManager[Emit]:
        """Around one run; what it gives takes the run's events."""

    def ran(self, ran: Ran, number: int, of: int) -> None:
        """A run has ended."""


@asynccontextmanager
async def both_sides(request: Request) -> AsyncIterator[Delta]:
    """The trees of both sides while the block lasts; nothing is built or run yet.

    :raise CannotRun: when there is no repository, no such commit, or git cannot check it out.
    """
    place = request.repository or request.scenarios[0]
    repository = await repository_of(await anyio.to_thread.run_sync(place.absolute))
    head = await head_of(repository)
    if request.head != WORKTREE:
        head = Commit(await commit_of(repository, request.head), request.head)
    base = await baseline_of(repository, head, base=request.base, base_ref=request.base_ref)
    async with AsyncExitStack() as stack:
        trees = {"base": await stack.enter_async_context(worktree(repository, base))}
        trees["head"] = (
            repository
            if request.head == WORKTREE
            else await stack.enter_async_context(worktree(repository, head))
        )
        yield Delta(
            request,
            repository,
            Side("base", base, trees["base"], request.out_dir / "base"),
            Side("head", head, trees["head"], request.out_dir / "head"),
        )


async def build(delta: Delta, watcher: Watcher) -> None:
    """Run the build command in each tree, output to ``build-SIDE.log``.

    :raise CannotRun: when it fails or takes too long.
    """
    if delta.request.build is None:
        return
    for side in (delta.base, delta.head):
        watcher.say(f"building {side.name} {side.commit.short}: {delta.request.build}")
        await _build(side, delta.request)


async def _build(side: Side, request: Request) -> None:
    log = request.out_dir / f"build-{side.name}.log"
    command = request.build or ""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as out, anyio.fail_after(request.build_s):
            async with started(
                ["sh", "-c", command],
                {**os.environ, "KTSTR_SIDE": side.name},
                side.tree,
                stdout=out,
                stderr=subprocess.STDOUT,
            ) as process:
                status = await process.wait()
    except TimeoutError as error:
        raise CannotRun(
            f"building {side.name} {side.commit} did not end within {request.build_s:.0f} s",
            hint=f"its output is in {log}; --build-timeout gives it longer",
        ) from error
    except OSError as error:
        raise CannotRun(f"the build's output cannot be kept in {log}: {error.strerror}") from error
    if status:
        failure = CannotRun(
            f"building {side.name} {side.commit} failed: `{command}` ended with status {status}",
            hint=f"all of its output is in {log}",
        )
        for line in log.read_text(errors="replace").splitlines()[-LOG_LINES:]:
            failure.add_note(line)
        raise failure


def plan(delta: Delta) -> None:
    """Read the scenarios on both sides, and set what is due.

    :raise CannotRun: when a scenario has mistakes, or no scenario is on both sides.
    """
    paths = [path.absolute() for path in delta.request.scenarios]
    stems = Counter(path.stem for path in paths)
    delta.subjects = [
        _subject(delta, path, path.stem if stems[path.stem] == 1 else str(path)) for path in paths
    ]
    due = [subject for subject in delta.subjects if subject.missing is None]
    if not due:
        raise CannotRun(
            f"no scenario is in both {delta.base.commit} and {delta.head.commit}",
            hint="a scenario that is new has no earlier figures to be compared with",
        )
    delta.turns = tuple(_alternating(due, delta.request.repeat))


def _subject(delta: Delta, path: Path, name: str) -> Subject:
    resolved, inside = path.resolve(), None
    if resolved.is_relative_to(delta.repository.resolve()):
        inside = resolved.relative_to(delta.repository.resolve())
    subject = Subject(path, name, inside)
    clocks = {}
    for side in (delta.base, delta.head):
        if not subject.on(side).is_file():
            return replace(subject, missing=side.name)
        options = replace(
            delta.request.options,
            scheduler=_mapped(delta.request.options.scheduler, delta.repository, side.tree),
        )
        try:
            definition = define(subject.on(side), options)
        except CannotRun as error:
            error.add_note(f"on the side of {side.name}, {side.commit}")
            raise
        clocks[side.name] = is_virtual(definition.plan)
        if clocks[side.name]:
            subject = replace(subject, seed=definition.scenario.run.seed)
    if len(set(clocks.values())) > 1:
        raise CannotRun(
            f"{path.name} has another clock in {delta.base.commit} than in {delta.head.commit}",
            hint="give both one with --clock",
        )
    return subject


def _alternating(subjects: Sequence[Subject], repeat: int | None) -> Iterator[Turn]:
    order: list[SideName] = ["base", "head"]
    most = max(repeat or (1 if each.exact else WALL_REPEAT) for each in subjects)
    for repetition in range(most):
        for subject in subjects:
            if repetition < (repeat or (1 if subject.exact else WALL_REPEAT)):
                for side in order if repetition % 2 == 0 else order[::-1]:
                    yield Turn(side, subject, repetition)


def _mapped(scheduler: str | None, repository: Path, tree: Path) -> str | None:
    """A scheduler's file as it is in ``tree``, where it is one inside of the repository."""
    if scheduler is None or "/" not in scheduler:
        return scheduler
    # The repository is known by its real path; a person may have come by a link.
    named = Path(os.path.abspath(scheduler))
    for path in (named, named.parent.resolve() / named.name, named.resolve()):
        if path.is_relative_to(repository):
            return str(tree / path.relative_to(repository))
    return scheduler


async def run_all(delta: Delta, execute: Execute, watcher: Watcher) -> None:
    """Make every run that is due, one at a time.

    A guest that is lost is an outcome like any other.

    :raise CannotRun: when a run cannot be made or its record cannot be written.
    """
    for number, turn in enumerate(delta.turns, start=1):
        ran = await _run(delta, turn, execute, watcher)
        delta.ran.append(ran)
        watcher.ran(ran, number, len(delta.turns))


async def _run(delta: Delta, turn: Turn, execute: Execute, watcher: Watcher) -> Ran:
    side = delta.side(turn.side)
    began = anyio.current_time()
    with watcher.running(turn) as emit:
        try:
            record = await execute(turn.subject.on(side), delta.options_of(turn), emit)
        except GuestLost as error:
            reason = error.message.partition("\n")[0]
            # There is no record where it was lost that early; it counts as a run that did not pass.
            row = Row(Path(), "", turn.subject.name, "lost", int(error.exit_code), reason=reason)
            return Ran(turn, "lost", anyio.current_time() - began, reason, row)
        except CannotRun as error:
            error.add_note(f"on the side of {side.name}, {side.commit}")
            raise
    took = anyio.current_time() - began
    if record.sidecar is None:
        raise CannotRun(record.output_error or f"run {record.run_id} has left no record")
    (row,) = await anyio.to_thread.run_sync(load, record.sidecar)
    return Ran(turn, record.verdict, took, row.reason or "", row)
