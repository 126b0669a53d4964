# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr metrics``: table, JSON, and the manual's page."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ktstr.cli.main import main
from ktstr.cli.metrics_page import KINDS, page
from ktstr.metrics import METRICS
from ktstr.metrics.kinds import MetricKind

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"


def call(*args: str, color: bool = False) -> Result:
    return CliRunner().invoke(main, ["metrics", *args], color=color)


def test_the_table_is_plain_where_nobody_watches() -> None:
    done = call("total_phase_")
    assert done.exit_code == 0
    assert done.output == (
        "NAME                      POLARITY       KIND     DEFAULT_ABS  DEFAULT_REL  UNIT\n"
        "total_phase_iterations    HigherBetter   Counter          100          0.1\n"
        "total_phase_duration_sec  HigherBetter   Counter            1          0.3  s\n"
        "total_phase_wall_sec      Informational  Counter          0.1          0.3  s\n"
        "total_phase_wall_ns       Informational  Counter      1000000          0.3  ns\n"
    )


def test_the_head_stands_out_on_a_terminal() -> None:
    head, row = call("worst_spread", color=True).output.splitlines()
    assert head.startswith("\x1b[1mNAME") and "\x1b" not in row


def test_the_table_lists_every_metric_once_in_order() -> None:
    rows = call().output.splitlines()[1:]
    assert [row.split()[0] for row in rows] == [metric.name for metric in METRICS]


def test_json_is_whole() -> None:
    entries = json.loads(call("--json").output)
    assert [entry["name"] for entry in entries] == [metric.name for metric in METRICS]
    found = {entry["name"]: entry for entry in entries}
    assert found["iteration_rate"] == {
        "name": "iteration_rate",
        "polarity": "HigherBetter",
        "kind": "Rate",
        "parameters": {
            "numerator": "total_phase_iterations",
            "denominator": "total_phase_duration_sec",
        },
        "default_abs": 1.0,
        "default_rel": 0.3,
        "unit": "iter/s",
        "family": "Throughput",
        "source": "workers",
        "filled": True,
    }
    assert found["hardirq_rate"]["filled"]


def test_the_filter_applies_to_json_too() -> None:
    names = [entry["name"] for entry in json.loads(call("--json", "total_keep").output)]
    assert names == ["total_keep_last"]


def test_a_filter_that_finds_nothing_is_a_mistake() -> None:
    for args in (["no_such"], ["no_such", "--json"]):
        done = call(*args)
        assert done.exit_code == 1
        assert done.stderr == (
            "Error: no metric has 'no_such' in its name; `ktstr metrics` lists every metric\n"
        )
        assert done.stdout == ""


@pytest.mark.parametrize("args", [["--markdown", "--json"], ["--markdown", "worst"]])
def test_the_page_is_always_whole(args: list[str]) -> None:
    done = call(*args)
    assert done.exit_code == 4 and "--markdown goes with neither" in done.output


def test_the_manual_is_what_the_registry_says() -> None:
    told = call("--markdown").output
    assert told == PAGE.read_text(encoding="utf-8"), (
        "write it again: ktstr metrics --markdown > docs/metrics.md"
    )


def test_the_page_tells_every_kind_and_every_metric() -> None:
    def leaves(kind: type[MetricKind]) -> set[str]:
        # By name: a slotted dataclass leaves the class it was made from among the subclasses.
        below = kind.__subclasses__()
        return {name for one in below for name in leaves(one)} if below else {kind.__name__}

    assert leaves(MetricKind) - {"_Derived"} == {kind.__name__ for kind in KINDS}
    assert len(KINDS) == 13
    lines = page().splitlines()
    for metric in METRICS:
        assert sum(line.startswith(f"| `{metric.name}` |") for line in lines) == 1
    for kind in KINDS:
        (line,) = (line for line in lines if line.startswith(f"| `{kind.__name__}` |"))
        assert line.endswith(". |")
    assert (
        "| `irq_time_fraction` | LowerBetter | Rate: `total_irq_time_ns` / `total_phase_wall_ns`"
        " | 0.02 | 0.3 |  |"
    ) in lines
    assert (
        "| `worst_page_locality` | HigherBetter | WorstLowest: numa_local / numa_total"
        " | 0.05 | 0.1 |  |"
    ) in lines


def test_every_table_row_has_as_many_cells_as_its_head() -> None:
    width = 0
    for line in page().splitlines():
        cells = line.count("|")
        assert not line.startswith("|") or cells == (width or cells), line
        width = cells
