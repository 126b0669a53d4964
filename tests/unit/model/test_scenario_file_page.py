# SPDX-License-Identifier: GPL-2.0-only
"""docs/scenario-file.md says what the code does."""

import re
from pathlib import Path
from typing import Any, get_args

import pytest

from ktstr.model.op_models import AnyOp, Fault
from ktstr.model.ops import OP_INDEX
from ktstr.model.scenario import json_schema, scenario_from_toml
from ktstr.model.temporal import PATTERNS
from ktstr.model.works.registry import WORK_TYPES, Param, WorkType

PAGE = (Path(__file__).parents[3] / "docs" / "scenario-file.md").read_text()


def rows(first_column: str) -> dict[str, list[str]]:
    """Rows of all tables whose first column has that title, by the code in their first cell."""
    found: dict[str, list[str]] = {}
    for table in re.findall(r"(?:^\|.*\n)+", PAGE, re.MULTILINE):
        head, _, *lines = table.splitlines()
        if head.split("|")[1].strip() == first_column:
            for line in lines:
                cells = [cell.strip() for cell in line.strip("|").split("|")]
                for name in re.findall(r"`([^`]+)`", cells[0]):
                    found[name] = cells[1:]
    return found


def test_the_examples_are_valid() -> None:
    examples = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert examples
    for example in examples:
        scenario_from_toml(example)


@pytest.mark.parametrize(
    "table",
    [
        *(
            "Scenario",
            "Vm",
            "NumaNode",
            "Scheduler",
            "Run",
            "Constraints",
            "Backdrop",
            "Step",
            "CgroupDef",
            "Work",
        ),
        *("Checks", "ScenarioChecks", "Across", "Figure", "Temporal"),
    ],
)
def test_every_key_is_described(table: str) -> None:
    schema = json_schema()
    node: dict[str, Any] = schema if table == "Scenario" else schema["$defs"][table]
    assert set(node["properties"]) <= set(rows("key"))


def test_nothing_else_is_described() -> None:
    schema = json_schema()
    tables = ["Vm", "NumaNode", "Scheduler", "Run", "Constraints", "Step", "CgroupDef", "Work"]
    tables += ["ScenarioChecks", "Across", "Temporal"]
    known = {key for table in tables for key in schema["$defs"][table]["properties"]}
    assert set(rows("key")) == known | set(schema["properties"])


def _described(param: Param) -> str:
    if param.choices:
        return f"`{param.name}` ({', '.join(param.choices)})"
    return f"`{param.name}` ({param.default}, {param.low} to {param.high})"


def _group(work: WorkType) -> str:
    return " + ".join([str(work.group)] * bool(work.group) + [f"`{p}`" for p in work.group_params])


def test_work_types() -> None:
    expected = {
        work.name: [
            _group(work),
            ", ".join(_described(p) for p in work.params),
            work.summary,
            ", ".join(sorted(work.fills)),
        ]
        for work in WORK_TYPES.values()
    }
    assert rows("type") == expected


def test_ops_with_their_keys_and_bits() -> None:
    classes = get_args(get_args(AnyOp)[0])
    described = {
        name: (re.findall(r"`(\w+)`", cells[0]), int(cells[-1]))
        for name, cells in rows("op").items()
    }
    assert described == {
        cls.__name__: (
            [key for key in cls.model_fields if key != "op"],
            OP_INDEX[cls.__name__],
        )
        for cls in classes
    }


def test_patterns_with_their_keys() -> None:
    described = {
        name: re.findall(r"`(\w+)`", cells[0].replace("a limit", "`at_least` `at_most`"))
        for name, cells in rows("pattern").items()
    }
    expected = {
        name: [key for key in keys.keys if key not in ("phase", "per")]
        for name, keys in PATTERNS.items()
    }
    assert described == expected


def test_faults() -> None:
    assert list(rows("fault")) == list(get_args(Fault))
