# SPDX-License-Identifier: GPL-2.0-only
"""A wrong work type does not hide what else is wrong."""

import pytest

from ktstr.errors import DefinitionInvalid
from ktstr.model.scenario import scenario_from_toml

TEXT = """
[scheduler]
bpf = "scx_ktstr"
[[steps]]
hold = "1s"
[[steps.cgroups]]
name = "one"
cpuset = { llc = 7 }
works = [{ type = "PipeI", workers = 3, params = { burst_iters = 1 } }]
[checks]
not_starved = true
"""


def test_a_wrong_type_and_an_impossible_cpuset_come_together() -> None:
    with pytest.raises(DefinitionInvalid) as caught:
        scenario_from_toml(TEXT)
    assert {problem.key for problem in caught.value.problems} == {
        "steps[0].cgroups[0].works[0].type",
        "steps[0].cgroups[0].cpuset",
    }
