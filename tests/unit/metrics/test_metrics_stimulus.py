# SPDX-License-Identifier: GPL-2.0-only
"""Phases, stimulus events and the iteration rates between them."""

from typing import Any

import pytest

from ktstr.metrics import Phase, StimulusEvent
from ktstr.wire.messages import Stimulus


def event(ms: int, total: int | None, **fields: Any) -> StimulusEvent:
    return StimulusEvent(ms, "e", total_iterations=total, **fields)


def test_phase_encoding() -> None:
    assert Phase.BASELINE.as_u16() == 0
    assert Phase.BASELINE.is_baseline()
    assert Phase.step(0).as_u16() == 1
    assert Phase.step(70_000).as_u16() == 65_535
    assert (str(Phase.BASELINE), str(Phase.step(2)), str(Phase(3))) == (
        "BASELINE",
        "Step[2]",
        "Step[2]",
    )
    with pytest.raises(ValueError, match="65536"):
        Phase(65_536)
    with pytest.raises(ValueError, match="negative"):
        Phase.step(-1)


def test_from_wire_keeps_the_step_index_and_a_zero_counter() -> None:
    record = Stimulus(
        elapsed_ms=40,
        step_index=2,
        op_count=3,
        op_kinds=5,
        cgroup_count=2,
        worker_count=4,
        total_iterations=0,
    )
    start = StimulusEvent.from_wire(record)
    assert (start.label, start.op_kind) == ("StepStart[1]", "ops=3")
    assert start.detail == "2 cgroups, 4 workers"
    assert (start.step_index, start.total_iterations, start.elapsed_ms) == (2, 0, 40)
    assert start.phase() == Phase.step(1)
    assert start.is_step_start and not start.is_step_end and not start.is_terminal
    end = StimulusEvent.from_step_end(record)
    assert (end.label, end.is_step_end, end.is_terminal) == ("StepEnd[1]", True, False)
    assert not end.is_step_start
    terminal = StimulusEvent.terminal(900, 7)
    assert (terminal.label, terminal.step_index, terminal.phase()) == ("ScenarioEnd", None, None)
    assert terminal.is_terminal and terminal.total_iterations == 7


@pytest.mark.parametrize(
    ("before", "after", "components", "rate"),
    [
        ((0, 100), (2000, 500), (400.0, 2.0), 200.0),
        ((0, 0), (500, 0), (0.0, 0.5), 0.0),
        ((0, 5), (500, 4), None, None),
        ((500, 5), (500, 9), None, None),
        ((600, 5), (500, 9), None, None),
        ((0, None), (500, 9), None, None),
        ((0, 5), (500, None), None, None),
    ],
)
def test_rates(
    before: tuple[int, int | None],
    after: tuple[int, int | None],
    components: tuple[float, float] | None,
    rate: float | None,
) -> None:
    first, second = event(*before), event(*after)
    assert first.rate_components(second) == components
    assert first.rate_to(second) == rate
