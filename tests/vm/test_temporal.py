# SPDX-License-Identifier: GPL-2.0-only
"""Patterns over time in real VMs: counters that grow, and a variable that is set back."""

import pytest

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

# Boundaries at 0.2 s + 0.32 s * (i + 1): two snapshots in each step.
SCENARIO = """
[vm]
topology = "1n1l2c1t"
[scheduler]
bpf = "scx_ktstr"
[run]
num_snapshots = 4
[[backdrop.cgroups]]
name = "base"
works = [{ type = "Mixed", workers = 2 }]
[[steps]]
name = "before"
hold = "1s"
[[steps]]
name = "after"
hold = "1s"
OPS
"""

HOLDS = """
[[checks.temporal]]
var = "nr_dispatched"
pattern = "nondecreasing"
[[checks.temporal]]
stats = "nr_dispatched"
pattern = "strictly_increasing"
per = "phase"
[[checks.temporal]]
map = "pcpu_stats"
key = 1
cpu = "sum"
pattern = "each"
at_least = 1
[[checks.temporal]]
var = "nr_dispatched"
pattern = "ratio_within"
over = { var = "nr_enqueued" }
at_least = 0.01
at_most = 1
[[checks.temporal]]
var = "nr_enqueued"
pattern = "ratio_across_phases"
earlier = "before"
later = "after"
at_most = 1000
"""

FALLS = """
[[checks.temporal]]
var = "starve_every"
pattern = "nondecreasing"
[[checks.temporal]]
var = "starve_every"
pattern = "nondecreasing"
per = "phase"
[[checks.temporal]]
var = "no_such_variable"
pattern = "nondecreasing"
"""


def test_counters_grow(ktstr, scenario_file) -> None:
    done = ktstr.run(scenario_file(SCENARIO.replace("OPS", "") + HOLDS))
    assert done.code == 0, done.output
    passes = done.record["result"]["passes"]
    assert [(p["name"], p["comparator"], p["value"], p["phase"]) for p in passes[:5]] == [
        ("nr_dispatched", "nondecreasing", "3 pairs", None),
        ("stats.nr_dispatched", "strictly_increasing", "1 pair", "Step[0]"),
        ("stats.nr_dispatched", "strictly_increasing", "1 pair", "Step[1]"),
        ("pcpu_stats[1]@sum", "ge", "4 samples", None),
        ("nr_dispatched", "ratio_within", "4 pairs", None),
    ]
    assert (passes[5]["name"], passes[5]["phase"]) == ("nr_enqueued", "Step[1]")
    assert len(done.record["checks"]["temporal"]) == 5


def test_a_variable_set_back_is_named_with_its_sample(ktstr, scenario_file) -> None:
    write = 'ops = [{ op = "WriteBpfGlobal", name = "starve_every", value = 7 }]'
    done = ktstr.run(scenario_file(SCENARIO.replace("OPS", write) + FALLS))
    assert done.code == 1, done.output
    record = done.record
    (fall, silent) = (each["detail"] for each in record["result"]["outcomes"] if each["detail"])
    first, second = (sample["elapsed_ms"] for sample in record["samples"][1:3])
    assert (fall["kind"], fall["phase"]) == ("Temporal", "Step[1]")
    assert fall["message"] == (
        f"starve_every (nondecreasing): regression at sample periodic_002 (+{second}ms, Step[1]): "
        f"value 7 after prior value 64 at sample periodic_001 (+{first}ms, Step[0])"
    )
    # What it was set to within one step did not fall there.
    assert [p["phase"] for p in record["result"]["passes"]] == ["Step[0]", "Step[1]"]
    assert "4 samples leave nothing to judge" in silent["message"]
    assert "no variable 'no_such_variable'" in silent["message"]
    assert "periodic_002" in done.output and "Step[1] after" in done.output
