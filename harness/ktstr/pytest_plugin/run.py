# SPDX-License-Identifier: GPL-2.0-only
"""A finished run, as tests see it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from ktstr.metrics import PhaseBucket, ScenarioStats
from ktstr.pytest_plugin.request import RunRequest
from ktstr.series.sample import SampleSeries
from ktstr.session.ends import reasons
from ktstr.session.record import RunRecord
from ktstr.verdict import AssertResult, ClaimBuilder, Verdict

T = TypeVar("T")


class RunView(ABC):
    """What can be asked of a finished run."""

    @property
    @abstractmethod
    def record(self) -> RunRecord:
        """Everything that is known about the run."""

    @property
    @abstractmethod
    def verdict(self) -> Verdict:
        """Takes claims of the test, beside what the scenario's own checks came to.

        Claims that do not hold fail the test at its end, all of them at once.
        """

    def claim(self, name: str, value: T) -> ClaimBuilder[T]:
        """Start a claim about a value: ``run.claim("migrations", n).at_most(10)``."""
        return self.verdict.claim(name, value)

    @property
    def outcome(self) -> str:
        """What the scenario's own checks came to: pass, fail, skip, inconclusive or lost."""
        return self.record.verdict

    @property
    def passed(self) -> bool:
        """Whether the scenario's own checks held."""
        return self.outcome == "pass"

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the outcome is no pass, a sentence each."""
        return tuple(reasons(self.record))

    @property
    def series(self) -> SampleSeries:
        """The snapshots in order, with their projections."""
        return self.record.samples

    @property
    def stats(self) -> ScenarioStats:
        """The run's statistics; empty ones of a guest that was lost."""
        return ScenarioStats() if self.record.result is None else self.record.result.stats

    @property
    def phases(self) -> tuple[PhaseBucket, ...]:
        """The phases in order, the time before the first step being the first of them."""
        return self.record.phases

    def phase(self, name: str) -> PhaseBucket:
        """The phase of a step by the step's name, or by its label (``Step[0]``, ``BASELINE``).

        :raise KeyError: when there is none; the message lists those there are.
        """
        for bucket in self.phases:
            if name in (self.record.step_name(bucket.step_index), bucket.label):
                return bucket
        known = ", ".join(self.record.phase_title(bucket.step_index) for bucket in self.phases)
        raise KeyError(f"{name!r}; the phases of this run: {known or 'none'}")

    @property
    def metrics(self) -> dict[str, float]:
        """Every run-level metric that was measured; what was not has no entry."""
        return self.record.run_metrics()

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks of the checks, then those of the run."""
        judged = [] if self.record.result is None else self.record.result.info_notes
        return (*(note.message for note in judged), *map(str, self.record.facts.get("notes", ())))

    @property
    def sidecar(self) -> Path | None:
        """The file of the record; ``None`` when it could not be written."""
        return self.record.sidecar

    @property
    def evidence(self) -> Path | None:
        """The folder that anything but a pass leaves."""
        return self.record.evidence


class Run(RunView):
    """One finished run.

    :ivar request: what was asked for.
    :ivar progress: what the run told while it went on, a line each.
    :ivar wall_s: how long it took, from the request to the record, seconds.
    :ivar seed: the seed it ran with.
    """

    def __init__(
        self,
        record: RunRecord,
        request: RunRequest,
        progress: Sequence[str],
        wall_s: float,
        seed: int | None = None,
    ) -> None:
        self._record = record
        self._verdict = Verdict()
        if record.result is not None:
            self._verdict.merge(record.result)
        self._own = len(self._verdict.into_result().outcomes)
        self._own_passes = len(self._verdict.into_result().passes)
        self.request = request
        self.progress = tuple(progress)
        self.wall_s = wall_s
        self.seed = seed

    @property
    def record(self) -> RunRecord:
        """Everything that is known about the run."""
        return self._record

    @property
    def verdict(self) -> Verdict:
        """Takes claims of the test, beside what the scenario's own checks came to."""
        return self._verdict

    def claimed(self) -> AssertResult:
        """What the test claimed, without what the scenario's own checks came to."""
        whole = self._verdict.into_result()
        return AssertResult(whole.outcomes[self._own :], whole.passes[self._own_passes :])

    def __repr__(self) -> str:
        return f"<Run {self.record.name} {self.record.run_id}: {self.outcome}>"
