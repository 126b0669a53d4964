# SPDX-License-Identifier: GPL-2.0-only
"""What repeated runs say: figures of passing runs, coverage, verdicts, exactness."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from tests.unit.history.runs import row

from ktstr.history.noise import Decider, Word
from ktstr.history.policy import Policy
from ktstr.history.repeats import Coverage, Judgement, Key, Repeats, judge
from ktstr.history.rows import Row

P99 = "worst_p99_wake_latency_us"
RATE = "iteration_rate"
CALM = (1000.0, 1010.0, 990.0, 1005.0, 995.0)


def rows(*values: float | None, name: str = P99, **more: Mapping[str, float]) -> list[Row]:
    return [row({} if value is None else {name: value}) for value in values]


def judged(base: Sequence[Row], head: Sequence[Row], **options: Any) -> Judgement:
    return judge([Repeats("s", base, head)], **options)


def test_a_regression_of_one_metric() -> None:
    found = judged(rows(*CALM), rows(*(value * 1.5 for value in CALM)))
    ((key, finding),) = found.of(Word.REGRESSION)
    assert key == Key("s", P99)
    assert finding.relative == pytest.approx(0.5)
    assert (found.tested, found.compared) == (1, 1)


def test_runs_that_did_not_pass_have_no_figures_and_are_told() -> None:
    failed = row({P99: 9e9}, "fail")
    found = judged(rows(*CALM), [*rows(*CALM), failed])
    assert found.findings[Key("s", P99)].verdict is Word.UNCHANGED
    assert found.findings[Key("s", P99)].b.n == 5
    # One failure of six says little.
    assert found.verdicts["s"].verdict is Word.INCONCLUSIVE
    assert found.broken == []


@pytest.mark.parametrize("runs", [1, 3])
def test_what_passes_no_more_is_a_regression(runs: int) -> None:
    passed, failed = rows(*CALM)[:runs], [row({}, "fail")] * runs
    assert judged(passed, failed).broken == ["s"]
    assert judged(failed, passed).broken == []
    assert judged(failed, failed).broken == []
    assert judged(failed, failed).compared == 0


def test_a_metric_of_one_side_is_coverage() -> None:
    found = judged(rows(1.0, None, 2.0), rows(None, None))
    assert found.findings == {}
    assert found.coverage == [Coverage(Key("s", P99), "base", 2)]


def test_what_must_not_regress_has_to_be_there() -> None:
    policy = Policy(must_not_regress=(P99, RATE))
    assert judged(rows(*CALM), rows(*CALM), policy=policy).unmeasured == (RATE,)
    # One run a side tests nothing.
    assert judged(rows(1.0), rows(9.0), policy=policy).unmeasured == (P99, RATE)


def test_a_policys_gates() -> None:
    base, head = rows(*CALM), rows(*(value * 1.5 for value in CALM))
    policy = Policy(per_metric_percent={P99: 60})
    assert judged(base, head, policy=policy).of(Word.REGRESSION) == []


def test_exact_runs_have_the_same_seeds() -> None:
    def seeded(*pairs: tuple[int, float]) -> list[Row]:
        return [row({P99: value}, seed=seed) for seed, value in pairs]

    base = seeded((1, 1000), (2, 2000))
    found = judged(base, seeded((1, 1500), (2, 3000))).findings[Key("s", P99)]
    assert (found.test, found.verdict) == (Decider.EXACT, Word.REGRESSION)
    # With other seeds they are two samples like any others.
    found = judged(base, seeded((3, 1500), (4, 3000))).findings[Key("s", P99)]
    assert (found.test, found.verdict) == (Decider.LOGS, Word.INCONCLUSIVE)


def test_two_scenarios_of_one_name_stay_apart() -> None:
    worse = rows(*(value * 2 for value in CALM))
    found = judge([Repeats("a", rows(*CALM), rows(*CALM)), Repeats("b", rows(*CALM), worse)])
    assert [key for key, _ in found.of(Word.REGRESSION)] == [Key("b", P99)]
