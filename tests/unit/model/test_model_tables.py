# SPDX-License-Identifier: GPL-2.0-only
"""The tables agree with each other, with the worker's own and with the verdict's."""

import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from ktstr.model.checks import Checks
from ktstr.model.op_models import AnyOp
from ktstr.model.ops import OP_INDEX
from ktstr.model.scenario import json_schema
from ktstr.model.works.registry import WORK_TYPES
from ktstr.verdict import CHECK_NAMES, NO_OVERRIDES, Assert

ROOT = Path(__file__).parents[3]
FIELDS = {
    "wake": "wake_latencies_ns",
    "cost": "iteration_costs_ns",
    "timer": "timer_latencies_ns",
}


@pytest.fixture(scope="session")
def worker_table(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, object]]]:
    out = tmp_path_factory.mktemp("worker")
    make = ["make", "-s", "-f", "guest/worker/worker.mk", f"OUT={out}"]
    subprocess.run(make, cwd=ROOT, check=True, capture_output=True, timeout=50)
    listed = subprocess.run([out / "worker", "list"], check=True, capture_output=True, timeout=10)
    table: dict[str, list[dict[str, object]]] = json.loads(listed.stdout)
    return table


def _name(work: dict[str, object]) -> str:
    return str(work["name"])


def test_the_worker_has_the_same_table(worker_table: dict[str, list[dict[str, object]]]) -> None:
    ours = [
        {
            "name": work.name,
            "group_size": work.group,
            "params": [
                {"name": p.name, "default": p.default, "min": p.low, "max": p.high}
                for p in work.params
            ],
            "group_params": list(work.group_params),
            "fills": [FIELDS[reservoir] for reservoir in FIELDS if reservoir in work.fills],
            "process_wide": work.process_wide,
            "makes_tasks": work.makes_tasks,
        }
        for work in WORK_TYPES.values()
    ]
    theirs = worker_table["types"]
    assert sorted(theirs, key=_name) == sorted(ours, key=_name)


def test_every_op_a_scenario_may_name_has_a_bit_and_a_description() -> None:
    union = get_args(AnyOp)[0]
    classes = {cls.__name__: cls for cls in get_args(union)}
    assert set(classes) <= set(OP_INDEX)
    for name, cls in classes.items():
        assert get_args(cls.model_fields["op"].annotation) == (name,)
        assert cls.__doc__


def test_the_verdict_evaluates_every_check() -> None:
    assert set(Checks.model_fields) - {"not_stuck"} == CHECK_NAMES


@pytest.mark.parametrize("name", sorted(Checks.model_fields))
def test_the_verdict_takes_every_value_a_scenario_may_give(name: str) -> None:
    schema = json_schema()["$defs"]["Checks"]["properties"][name]["anyOf"][0]
    values = [schema.get("minimum", True), schema.get("maximum", schema.get("minimum", True))]
    for value in values:
        written = Checks.model_validate({name: value}).plain()
        assert Assert.from_checks(written) not in (NO_OVERRIDES, None)


def test_the_schema_speaks_json_and_knows_every_table() -> None:
    schema = json.loads(json.dumps(json_schema()))
    assert set(schema["properties"]) == {
        "name",
        "description",
        "kernel",
        "vm",
        "scheduler",
        "run",
        "backdrop",
        "steps",
        "checks",
        "gauntlet",
    }
    assert sorted(schema["required"]) == ["scheduler", "steps"]


def test_the_guests_half_loads_nothing() -> None:
    code = (
        "import sys; before = set(sys.modules); import ktstr.model.ops; "
        "print(*sorted(set(sys.modules) - before))"
    )
    env = {"PYTHONPATH": str(ROOT / "harness")}
    run = subprocess.run(
        [sys.executable, "-S", "-c", code], env=env, check=True, capture_output=True, timeout=20
    )
    assert run.stdout.split() == [b"ktstr", b"ktstr.model", b"ktstr.model.ops"]
