# SPDX-License-Identifier: GPL-2.0-only
"""``[[checks.across]]``: phases by every name they have, and mistakes told before a VM starts."""

from pathlib import Path

import pytest

from ktstr.errors import DefinitionInvalid, Problem
from ktstr.metrics.phase import Phase
from ktstr.model.across import COMPARATORS
from ktstr.model.scenario import scenario_from_toml
from ktstr.scenario import ops, scenario
from ktstr.session.definition import define
from ktstr.session.options import RunOptions
from ktstr.session.phase_checks import phase_checks

BASE = """\
[scheduler]
bpf = "scx_ktstr"
[[backdrop.cgroups]]
name = "a"
[[steps]]
hold = "1s"
[[steps]]
name = "second"
hold = "1s"
ops = [{ op = "AddCgroup", cgroup = "late" }, { op = "AddCgroupDef", name = "full" }]
cgroups = [{ name = "own" }]
[[checks.across]]
metric = "iteration_rate"
"""


def entry(text: str = "at_least = 1.5", phase: str = "second", against: str = "step1") -> str:
    return f'{BASE}phase = "{phase}"\nagainst = "{against}"\n{text}\n'


def problems(text: str) -> list[Problem]:
    with pytest.raises(DefinitionInvalid) as raised:
        scenario_from_toml(text, file="s.toml")
    return list(raised.value.problems)


def only(text: str) -> tuple[str, str, str]:
    (found,) = problems(text)
    return found.key, found.found, found.allowed


@pytest.mark.parametrize(
    ("phase", "against", "raw"),
    [
        ("second", "step1", (2, 1)),
        ("Step[0]", "Step[1]", (1, 2)),
        ("second", "baseline", (2, 0)),
        ("baseline", "Step[1]", (0, 2)),
    ],
)
def test_phases_by_every_name(phase: str, against: str, raw: tuple[int, int]) -> None:
    (check,) = phase_checks(scenario_from_toml(entry(phase=phase, against=against)))
    assert (check.phase, check.against) == (Phase(raw[0]), Phase(raw[1]))
    assert (check.metric, check.cgroup, check.at_least) == ("iteration_rate", None, 1.5)


def test_a_steps_own_name_goes_before_baseline() -> None:
    text = entry(against="baseline").replace('"second"', '"baseline"', 1)
    (check,) = phase_checks(scenario_from_toml(text.replace('"second"', '"step1"')))
    assert (check.phase, check.against) == (Phase(1), Phase(2))


@pytest.mark.parametrize("name", ["phase", "against"])
@pytest.mark.parametrize("word", ["secnd", "Step[2]"])
def test_a_phase_that_is_not_there(name: str, word: str) -> None:
    key, found, allowed = only(entry(**{name: word}))
    assert (key, found) == (f"checks.across[0].{name}", f'"{word}"')
    assert allowed.startswith('one of "step1", "second", "baseline"')
    assert ('; did you mean "second"?' in allowed) == (word == "secnd")


def test_a_phase_against_itself() -> None:
    key, found, allowed = only(entry(against="Step[1]"))
    assert (key, found) == ("checks.across[0].against", '"Step[1]"')
    assert allowed.startswith("another phase")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "none of them"),
        ("better = false", "none of them"),
        ("at_least = 1\nat_most = 2", "at_least, at_most"),
        ("better = true\nbetter_by = 0.0", "better, better_by"),
    ],
)
def test_exactly_one_comparator(text: str, found: str) -> None:
    key, shown, allowed = only(entry(text))
    assert (key, shown) == ("checks.across[0]", found)
    assert all(name in allowed for name in COMPARATORS)


@pytest.mark.parametrize("name", ["a", "late", "full", "own"])
def test_every_cgroup_there_is(name: str) -> None:
    scenario_from_toml(entry(f'better = true\ncgroup = "{name}"'))


def test_a_cgroup_that_is_never_there() -> None:
    key, found, allowed = only(entry('better = true\ncgroup = "lat"'))
    assert (key, found) == ("checks.across[0].cgroup", '"lat"')
    assert allowed == 'one of "a", "own", "late", "full"; did you mean "late"?'


@pytest.mark.parametrize("text", ["at_least = 0", "at_most = -1.0", "better_by = -0.1"])
def test_values_that_say_nothing(text: str) -> None:
    key, _, _ = only(entry(text))
    assert key == f"checks.across[0].{text.split()[0]}"


def test_a_schedulers_checks_know_no_steps() -> None:
    text = entry().replace("[[checks.across]]", "[[scheduler.checks.across]]")
    assert only(text)[0] == "scheduler.checks.across"


@pytest.mark.parametrize(
    ("metric", "how", "allowed"),
    [
        ("iteration_rat", "at_least = 1.5", 'lists; did you mean "iteration_rate"?'),
        ("total_sched_count", "better = true", "with a direction"),
        ("total_sched_count", "better_by = 0.5", "with a direction"),
        ("total_sched_count", "at_least = 1.5", None),
    ],
)
def test_metrics_are_checked_before_a_vm_starts(
    tmp_path: Path, metric: str, how: str, allowed: str | None
) -> None:
    path = tmp_path / "s.toml"
    path.write_text(entry(how).replace("iteration_rate", metric))
    if allowed is None:
        assert define(path, RunOptions()).scenario.checks.across[0].metric == metric
        return
    with pytest.raises(DefinitionInvalid) as raised:
        define(path, RunOptions())
    (problem,) = raised.value.problems
    assert (problem.key, problem.line) == ("checks.across[0].metric", 13)
    assert problem.found == f'"{metric}"' and allowed in problem.allowed


def test_the_builder_adds_one_after_another() -> None:
    built = (
        scenario("x")
        .scheduler(bpf="scx_ktstr")
        .step(hold=1, name="one")
        .step(hold=1, name="two", ops=[ops.detach_scheduler()])
        .check(not_starved=True)
        .compare("iteration_rate", phase="two", against="one", at_least=0.5)
        .compare("iteration_rate", phase="one", against="baseline", better=True)
    )
    assert [check.plain() for check in built.model().checks.across] == [
        {"metric": "iteration_rate", "phase": "two", "against": "one", "at_least": 0.5},
        {"metric": "iteration_rate", "phase": "one", "against": "baseline", "better": True},
    ]
    text = built.to_toml()
    assert text.count("[[checks.across]]") == 2
    assert scenario_from_toml(text).checks == built.model().checks
