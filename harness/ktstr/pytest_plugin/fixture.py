# SPDX-License-Identifier: GPL-2.0-only
"""The fixture's value: makes the runs of one test and takes their outcomes."""

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, TypedDict, Unpack

import pytest

from ktstr.errors import KtstrError
from ktstr.model.flag_profiles import profile_flags
from ktstr.pytest_plugin.asked import Asked, BadMarker, Variant, checked
from ktstr.pytest_plugin.bundle import properties
from ktstr.pytest_plugin.execute import slot
from ktstr.pytest_plugin.outcome import (
    CANNOT_RUN,
    FAIL,
    INCONCLUSIVE,
    LOST,
    NO_VERDICT,
    SKIP,
    NotPassed,
    Skipped,
    Terms,
    claims_of,
    outcome_of,
    refusal,
    skipped,
)
from ktstr.pytest_plugin.place import no_place, on_its_own, with_memory
from ktstr.pytest_plugin.request import RunRequest
from ktstr.pytest_plugin.run import Run, RunView
from ktstr.pytest_plugin.settings import Settings
from ktstr.pytest_plugin.source import Place, scenario_file
from ktstr.report.plain import describe
from ktstr.session.events import RunEvent, StageProgress, StageStarted, StepEnded
from ktstr.session.options import RunOptions
from ktstr.session.record import RunRecord
from ktstr.verdict import Verdict

REPRO_VARIABLE: Final = "KTSTR_AUTO_REPRO"

_WORDS: Final = dict.fromkeys(("1", "true", "t", "yes", "y", "on"), True) | dict.fromkeys(
    ("0", "false", "f", "no", "n", "off"), False
)

MAX_PROGRESS: Final = 200
"""Lines of one run's progress that are kept, the last ones."""


class CallKeys(TypedDict, total=False):
    """What a call may ask for; each is what the marker's argument of the name is."""

    topology: str
    kernel: str
    scheduler: str
    flags: str | Sequence[str]
    work_type: str
    clock: Literal["wall", "virtual"]
    seed: int
    timeout: float
    check: bool
    expect_fail: bool
    allow_inconclusive: bool


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a test's runs take from outside it.

    :param folder: the test file's, where relative paths start.
    :param run: makes a run; ``None`` when nobody does.
    :param slots: folder of the slots that workers share.
    :param body_judges: the test takes the fixture, so what it claims is a judgement.
    :param aloud: what a run tells is printed as it happens.
    """

    settings: Settings
    folder: Path
    run: Callable[[RunRequest], RunRecord | None]
    slots: Path | None = None
    body_judges: bool = False
    aloud: bool = False


class Ktstr(RunView):
    """The runs of one test.

    Where the marker names a scenario, it has been run before the test's body begins, and what can
    be asked of a run can be asked of this; with ``repeat``, of the last of :attr:`runs`. Called
    with a scenario, it makes another run.
    """

    def __init__(
        self, node: pytest.Item, asked: Asked, variant: Variant, around: Surroundings
    ) -> None:
        self._node = node
        self._asked = asked
        self._variant = variant
        self._around = around
        self._runs: list[Run] = []
        self._terms: list[Terms] = []
        self._pending: NotPassed | None = None
        self._told: list[tuple[str, str | float]] = []

    def forget(self) -> None:
        """Take back what programs were told: the test is run once more from its beginning."""
        properties = self._node.user_properties
        properties[:] = [each for each in properties if each not in self._told]

    @property
    def runs(self) -> tuple[Run, ...]:
        """Every run of the test so far."""
        return tuple(self._runs)

    @property
    def run(self) -> Run:
        """The last run.

        :raise pytest.UsageError: when there was none.
        """
        if not self._runs:
            raise pytest.UsageError(
                "this test has no run yet: name a scenario, @pytest.mark.ktstr(scenario=…), "
                "or make one, ktstr(scenario)"
            )
        return self._runs[-1]

    @property
    def record(self) -> RunRecord:
        """Everything that is known about the last run."""
        return self.run.record

    @property
    def verdict(self) -> Verdict:
        """Takes claims about the last run."""
        return self.run.verdict

    def __call__(self, scenario: object, **given: Unpack[CallKeys]) -> Run:
        """Run a scenario now, with the marker's arguments where none are given here.

        :return: the finished run. One that does not pass ends the test, as the marker's does.
        :raise TypeError: for an argument that is none, or of a wrong type.
        """
        __tracebackhide__ = True
        if unknown := given.keys() - CallKeys.__annotations__.keys():
            known = ", ".join(CallKeys.__annotations__)
            raise TypeError(f"ktstr() has no argument {min(unknown)!r}; it has {known}")
        try:
            asked = replace(self._asked, scenario=scenario, **checked(given))
        except BadMarker as error:
            raise TypeError(f"ktstr(): {error}") from None
        # What the body itself names stays: a test that names two topologies compares them.
        variant = replace(
            self._variant,
            kernel=given.get("kernel") or self._variant.kernel,
            topology=given.get("topology") or self._variant.topology,
            offered=self._variant.offered and not given.get("topology"),
        )
        try:
            run, terms = self._make(asked, variant, 0)
        except NotPassed as ended:
            raise _at_caller(ended) from None
        if (end := outcome_of(run, terms)) is not None:
            raise _at_caller(end)
        return run

    def start(self) -> None:
        """Make the runs that the marker asks for.

        :raise Skipped: when they have no place here.
        :raise NotPassed: when there is no verdict. What else is no pass waits for
            :meth:`before_body`, for a failure of the test is none of its set-up.
        """
        times = self._asked.repeat
        ends: list[NotPassed | Skipped] = []
        for number in range(1, times + 1):
            try:
                run, terms = self._make(self._asked, self._variant, number if times > 1 else 0)
            except (NotPassed, Skipped) as ended:
                # Nothing was tried, and would not be the next time.
                ends.append(ended)
                break
            if (end := outcome_of(run, terms)) is not None:
                ends.append(end)
        failures = [end for end in ends if isinstance(end, NotPassed)]
        if (failed := _worst(failures)) is not None:
            if times > 1:
                text = f"{failed.msg}\n  {len(failures)} of {times} runs did not pass"
                failed = NotPassed(failed.word, text)
            if failed.word in NO_VERDICT:
                raise failed
            self._pending = failed
        elif ends and len(ends) >= len(self._runs):
            raise ends[0]

    def before_body(self) -> None:
        """Fail the test when its runs did not pass.

        :raise NotPassed: the worst of them.
        """
        if self._pending is not None:
            raise self._pending

    def after_body(self) -> None:
        """Fail the test when what it claimed does not hold.

        :raise NotPassed: for the first run whose claims do not hold.
        :raise Skipped: when the claims say that nothing applies.
        """
        ends = [claims_of(run, terms) for run, terms in zip(self._runs, self._terms, strict=True)]
        failed = _worst([end for end in ends if isinstance(end, NotPassed)])
        if failed is not None:
            raise failed
        for end in ends:
            if end is not None:
                raise end

    def _make(self, asked: Asked, variant: Variant, repetition: int) -> tuple[Run, Terms]:
        around = self._around
        terms = Terms(
            asked.check,
            asked.expect_fail,
            asked.allow_inconclusive,
            around.body_judges,
            around.settings.no_skip,
        )
        try:
            run = self._made(asked, variant, repetition, terms)
        except (KtstrError, OSError) as error:
            raise refusal(error, terms) from None
        self._runs.append(run)
        self._terms.append(terms)
        told = [*properties(run, len(self._runs))]
        self._told += told
        self._node.user_properties += told
        return run, terms

    def _made(self, asked: Asked, variant: Variant, repetition: int, terms: Terms) -> Run:
        around = self._around
        options = self._options(asked, variant)
        path = self._scenario(asked.scenario, options)
        own = on_its_own(path, options)
        if reason := no_place(path, options, variant, own):
            raise skipped(reason, terms)
        options = with_memory(options, variant, own)
        lines: deque[str] = deque(maxlen=MAX_PROGRESS)

        def emit(event: RunEvent) -> None:
            if not isinstance(event, StageStarted | StageProgress | StepEnded):
                if around.aloud:
                    # The first goes below the line that pytest has begun.
                    sys.stdout.write(f"{'' if lines else chr(10)}{describe(event)}\n")
                    sys.stdout.flush()
                lines.append(describe(event))

        request = RunRequest(path, options, self._node.nodeid, repetition, emit)
        with slot(around.slots, around.settings.jobs):
            began = time.monotonic()
            record = around.run(request)
            wall_s = time.monotonic() - began
        if record is None:
            raise NotPassed(CANNOT_RUN, f"{CANNOT_RUN}: no pytest_ktstr_run made the run")
        return Run(record, request, lines, wall_s, None if own is None else own.run.seed)

    def _options(self, asked: Asked, variant: Variant) -> RunOptions:
        flags = asked.flags
        scheduler = asked.scheduler
        if scheduler is not None and (beside := self._around.folder / scheduler).is_file():
            scheduler = str(beside.absolute())
        return RunOptions(
            kernel=variant.kernel,
            topology=variant.topology,
            scheduler=scheduler,
            work_type=asked.work_type,
            flags=profile_flags(flags) if isinstance(flags, str) else flags,
            clock=asked.clock,
            seed=asked.seed,
            timeout_s=asked.timeout,
            out_dir=self._around.settings.out,
            # What is expected is no reason to look closer.
            auto_repro=False if asked.expect_fail else _wants_repro(),
        )

    def _scenario(self, given: object, options: RunOptions) -> Path:
        name = getattr(self._node, "originalname", None) or self._node.name
        around = self._around
        return scenario_file(given, options, Place(around.folder, name, around.settings.out))


def _wants_repro() -> bool | None:
    """Whether failures are run again, where the environment says it, as ``ktstr-run`` takes it."""
    said = os.environ.get(REPRO_VARIABLE, "").strip().lower()
    return _WORDS.get(said)


def _worst(ends: Sequence[NotPassed]) -> NotPassed | None:
    """The end that is told: none at all goes before a failure, and that before a doubt."""
    order = (CANNOT_RUN, LOST, FAIL, SKIP, INCONCLUSIVE)
    return min(ends, key=lambda end: order.index(end.word), default=None)


def _at_caller(ended: NotPassed | Skipped) -> NotPassed | Skipped:
    """The same, saying which line of the test made the run."""
    frame = sys._getframe(2)
    if isinstance(ended, NotPassed):
        line = f"  at {frame.f_code.co_filename}:{frame.f_lineno}"
        return NotPassed(ended.word, f"{ended.msg}\n{line}")
    return ended
