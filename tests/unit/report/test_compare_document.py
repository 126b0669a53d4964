# SPDX-License-Identifier: GPL-2.0-only
"""A comparison for programs: JSON, whatever the figures."""

import json

from tests.unit.history.made import runs

from ktstr.history.compare import compare
from ktstr.history.sides import Sides
from ktstr.report.compare import Report, document


def test_a_bound_that_lies_nowhere_is_null() -> None:
    a, b = runs("worst_gap_ms", [100.0, 900.0]), runs("worst_gap_ms", [200.0, 1000.0])
    found = compare(a, b, alpha=1e-6)
    # Two noisy runs a side say nothing at such a level: the interval is not bounded above.
    assert found.changes[0].finding is not None and found.changes[0].finding.interval is not None
    assert found.changes[0].finding.interval[1] == float("inf")
    told = document(Report(found, Sides(tuple(a), tuple(b), (), "", "")))
    [change] = json.loads(json.dumps(told, allow_nan=False))["changes"]
    assert change["interval"][1] is None and -300 <= change["interval"][0] < -299
