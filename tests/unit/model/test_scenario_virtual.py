# SPDX-License-Identifier: GPL-2.0-only
"""What a scenario by the virtual clock may hold."""

from typing import Any

import pytest

from ktstr.errors import DefinitionInvalid
from ktstr.model.plan import build_plan
from ktstr.model.scenario import scenario_from_toml

TEXT = """
[scheduler]
bpf = "scx_ktstr"
[vm]
memory = "512M"
[run]
clock = "virtual"
seed = 7
[[steps]]
hold = "2s"
ops = [@OPS@]
"""
WATCH = '{ op = "WatchSnapshot", name = "w", symbol = "jiffies" }'
WRITE = '{ op = "WriteBpfGlobal", name = "x", value = 1 }'
CAPTURE = '{ op = "CaptureSnapshot", name = "c" }'


def keys(text: str, **options: Any) -> list[tuple[str, str]]:
    with pytest.raises(DefinitionInvalid) as caught:
        scenario_from_toml(text, **options)
    return [(problem.key, problem.allowed) for problem in caught.value.problems]


@pytest.mark.parametrize("op", [WATCH, WRITE])
def test_ops_that_the_host_does_to_the_guest_are_refused(op: str) -> None:
    text = TEXT.replace("@OPS@", op)
    ((key, allowed),) = keys(text)
    assert key == "steps[0].ops[0].op"
    assert 'only with run.clock = "wall"' in allowed
    assert scenario_from_toml(text, clock="wall").run.clock == "wall"
    assert keys(text.replace('clock = "virtual"', ""), clock="virtual")[0][0] == key


def test_a_disk_is_refused() -> None:
    text = TEXT.replace("@OPS@", "").replace('memory = "512M"', 'scratch_disk = "64M"')
    assert [key for key, _ in keys(text)] == ["vm.scratch_disk"]


def test_what_the_guest_does_by_itself_is_not() -> None:
    scenario = scenario_from_toml(TEXT.replace("@OPS@", CAPTURE), seed=9)
    plan = build_plan(scenario, scenario.vm.guest_topology)
    assert (plan["clock"], plan["seed"]) == ("virtual", 9)


@pytest.mark.parametrize(
    ("run", "options", "jitter_us"),
    [
        ("", {}, 0),
        ("seed = 7", {}, 4000),
        ("", {"seed": 7}, 4000),
        ("", {"clock": "virtual"}, 4000),
        # The seed that changes nothing, whatever the clock.
        ("seed = 0", {}, 0),
        ('clock = "virtual"\nseed = 7', {"seed": 0}, 0),
    ],
)
def test_workers_are_moved_about_by_a_seed_that_was_asked_for(
    run: str, options: dict[str, Any], jitter_us: int
) -> None:
    text = TEXT.replace("@OPS@", "").replace('clock = "virtual"\nseed = 7', run)
    scenario = scenario_from_toml(text, **options)
    assert build_plan(scenario, scenario.vm.guest_topology)["jitter_us"] == jitter_us
