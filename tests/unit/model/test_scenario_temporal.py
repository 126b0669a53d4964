# SPDX-License-Identifier: GPL-2.0-only
"""``[[checks.temporal]]``: what may be asked, and every mistake told before a VM starts."""

import tomllib
from pathlib import Path

import pytest

from ktstr.errors import DefinitionInvalid, Problem
from ktstr.model.scenario import scenario_from_toml
from ktstr.model.temporal import PARAMETERS, PATTERNS, Temporal
from ktstr.scenario import scenario
from ktstr.series.phase import Phase
from ktstr.session.definition import define
from ktstr.session.options import RunOptions
from ktstr.session.temporal import temporal_checks
from ktstr.verdict.detail import TEMPORAL_VOCABULARY

BASE = """\
[scheduler]
bpf = "scx_ktstr"
[run]
num_snapshots = 4
[[steps]]
hold = "1s"
[[steps]]
name = "second"
hold = "3s"
[[checks.temporal]]
"""
FIGURE = 'var = "a"\n'
VALUES = {
    "phase": '"second"',
    "per": '"phase"',
    "at_least": "1",
    "at_most": "2.5",
    "tolerance": "0.1",
    "warmup": '"500ms"',
    "target": "-3",
    "deadline": "2",
    "over": '{ stats = "b" }',
    "earlier": '"step1"',
    "later": '"second"',
    "reduce": '"delta"',
}


def problems(text: str) -> list[Problem]:
    with pytest.raises(DefinitionInvalid) as raised:
        scenario_from_toml(BASE + text, file="s.toml")
    return list(raised.value.problems)


def only(text: str) -> tuple[str, str, str]:
    (found,) = problems(text)
    return found.key.removeprefix("checks.temporal[0]"), found.found, found.allowed


def entry(pattern: str, **keys: str) -> str:
    lines = [f"{key} = {value}" for key, value in keys.items()]
    return "\n".join([f'{FIGURE}pattern = "{pattern}"', *lines])


def complete(pattern: str) -> dict[str, str]:
    """Every key the pattern takes, with ``phase`` and ``per`` excluding each other."""
    return {key: VALUES[key] for key in PATTERNS[pattern].keys if key != "per"}


def the_check(text: str) -> Temporal:
    (check,) = scenario_from_toml(BASE + text).checks.temporal
    return check


def test_patterns_are_those_of_the_verdict() -> None:
    assert set(PATTERNS) == TEMPORAL_VOCABULARY | {"each", "ratio_across_phases"}
    assert set(VALUES) == set(PARAMETERS)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_key_of_every_pattern(pattern: str) -> None:
    keys = complete(pattern)
    check = the_check(entry(pattern, **keys))
    assert (check.pattern, check.label) == (pattern, "a")
    assert set(check.given()) == set(keys)
    assert set(check.plain()) == {"var", "pattern", *keys}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_keys_of_other_patterns(pattern: str) -> None:
    keys = complete(pattern)
    for key in set(PARAMETERS) - set(PATTERNS[pattern].keys):
        at, found, allowed = only(entry(pattern, **keys, **{key: VALUES[key]}))
        assert (at, found) == (f".{key}", f'the key "{key}"')
        assert allowed.startswith(f"with {pattern}")
        assert all(name in allowed for name in keys)


@pytest.mark.parametrize(
    ("pattern", "key"),
    [(name, key) for name, wants in PATTERNS.items() for key in wants.needs],
)
def test_keys_a_pattern_needs(pattern: str, key: str) -> None:
    keys = {name: value for name, value in complete(pattern).items() if name != key}
    assert only(entry(pattern, **keys)) == (f".{key}", "", f"a value: {pattern} needs it")


@pytest.mark.parametrize("pattern", ["rate_within", "ratio_within", "each"])
def test_a_limit_is_needed_and_one_will_do(pattern: str) -> None:
    keys = {key: VALUES[key] for key in PATTERNS[pattern].needs}
    at, found, allowed = only(entry(pattern, **keys))
    assert (at, found) == ("", "none of them") and "at_least" in allowed
    for limit in ("at_least", "at_most"):
        the_check(entry(pattern, **keys, **{limit: "0"}))
    the_check(entry(pattern, **keys, at_least="2", at_most="2"))
    at, found, allowed = only(entry(pattern, **keys, at_least="2", at_most="1.5"))
    assert (at, found) == (".at_most", "1.5") and allowed.startswith("2 or more")


@pytest.mark.parametrize(
    ("figure", "label"),
    [
        ('var = "live.last_dispatch.ns"', "live.last_dispatch.ns"),
        ('map = "bpf_bpf.bss"\nfield = "nr"', "bpf_bpf.bss.nr"),
        ('map = "m"\nkey = 3', "m[3]"),
        ('map = "m"\nkey = "name"\ncpu = "sum"\nfield = "a.1"', "m[name]@sum.a.1"),
        ('stats = "layers.batch.util"', "stats.layers.batch.util"),
    ],
)
def test_figures(figure: str, label: str) -> None:
    assert the_check(f'{figure}\npattern = "nondecreasing"').label == label


@pytest.mark.parametrize(
    ("figure", "at", "found"),
    [
        ("", "", "none of them"),
        ('var = "a"\nstats = "b"', "", "var, stats"),
        ('var = "a b"', ".var", '"a b"'),
        ('stats = "a..b"', ".stats", '"a..b"'),
        ('map = "longer_than_15_letters"', ".map", '"longer_than_15_letters"'),
        ('map = "m"\nkey = true', ".key", "true"),
        ('map = "m"\ncpu = "avg"', ".cpu", '"avg"'),
        ('var = "a"\nkey = 1', ".key", "1"),
        ('var = "a"\nfield = "b"', ".field", '"b"'),
        ('var = "a"\ncpu = 1', ".cpu", "1"),
        ('var = "a"\nmonitor = "imbalance"', ".monitor", 'the unknown key "monitor"'),
        ('var = "a"\nhost = "irq"', ".host", 'the unknown key "host"'),
    ],
)
def test_figures_that_are_none(figure: str, at: str, found: str) -> None:
    assert only(f'{figure}\npattern = "nondecreasing"')[:2] == (at, found)


def test_the_other_figure_is_checked_as_well() -> None:
    at, found, _ = only(entry("ratio_within", over='{ var = "a", map = "m" }', at_most="1"))
    assert (at, found) == (".over", "var, map")
    at, found, _ = only(entry("ratio_within", over='{ var = "a", pattern = "each" }', at_most="1"))
    assert (at, found) == (".over.pattern", 'the unknown key "pattern"')


@pytest.mark.parametrize("key", ["phase", "earlier", "later"])
def test_phases_that_are_not_there(key: str) -> None:
    pattern = "each" if key == "phase" else "ratio_across_phases"
    at, found, allowed = only(entry(pattern, **complete(pattern) | {key: '"secnd"'}))
    assert (at, found) == (f".{key}", '"secnd"')
    assert allowed == 'one of "step1", "second", "baseline"; did you mean "second"?'


@pytest.mark.parametrize("later", ["step1", "Step[0]", "baseline"])
def test_later_comes_after_earlier(later: str) -> None:
    keys = complete("ratio_across_phases") | {"later": f'"{later}"'}
    assert only(entry("ratio_across_phases", **keys))[0] == ".later"


def test_one_phase_and_every_phase_exclude_each_other() -> None:
    at, found, _ = only(entry("nondecreasing", phase='"second"', per='"phase"'))
    assert (at, found) == (".per", '"phase"')
    the_check(entry("nondecreasing", phase='"second"', per='"run"'))


@pytest.mark.parametrize(
    ("pattern", "enough"),
    [
        *(("nondecreasing", 2), ("strictly_increasing", 2), ("rate_within", 2)),
        *(("converges_to", 3), ("each", 1), ("ratio_across_phases", 2)),
    ],
)
def test_snapshots_a_pattern_cannot_do_without(pattern: str, enough: int) -> None:
    keys = {key: value for key, value in complete(pattern).items() if key != "phase"}
    text = BASE + entry(pattern, **keys)
    scenario_from_toml(text.replace("num_snapshots = 4", f"num_snapshots = {enough}"))
    with pytest.raises(DefinitionInvalid) as raised:
        scenario_from_toml(text.replace("num_snapshots = 4", f"num_snapshots = {enough - 1}"))
    (problem,) = raised.value.problems
    assert (problem.key, problem.found) == ("run.num_snapshots", str(enough - 1))
    assert f"{enough} or more, for checks.temporal[0] ({pattern})" in problem.allowed


def test_a_figure_needs_a_scheduler() -> None:
    text = (BASE + entry("nondecreasing")).replace('bpf = "scx_ktstr"', "kernel_default = true")
    with pytest.raises(DefinitionInvalid) as raised:
        scenario_from_toml(text)
    (problem,) = raised.value.problems
    assert problem.key == "checks.temporal[0]" and "scheduler" in problem.allowed
    op = 'ops = [{ op = "AttachScheduler", scheduler = { bpf = "scx_ktstr" } }]\n[[checks'
    scenario_from_toml(text.replace("[[checks", op, 1))


def test_a_schedulers_checks_know_no_steps() -> None:
    text = (BASE + entry("nondecreasing")).replace("[[checks", "[[scheduler.checks")
    with pytest.raises(DefinitionInvalid, match=r"scheduler\.checks\.temporal"):
        scenario_from_toml(text)


# Boundaries of 4 snapshots in 4 s: 0.4 s + (i + 1) * 0.64 s = 1.04, 1.68, 2.32 and 2.96 s, so
# none of them is in the first second.
@pytest.mark.parametrize(
    ("pattern", "keys", "wrong"),
    [
        ("each", {"phase": '"step1"', "at_most": "1"}, "phase"),
        ("nondecreasing", {"phase": '"baseline"'}, "phase"),
        ("converges_to", complete("converges_to"), None),
        ("nondecreasing", {"per": '"phase"'}, None),
        ("ratio_across_phases", complete("ratio_across_phases"), "earlier"),
    ],
)
def test_a_phase_without_snapshots(
    tmp_path: Path, pattern: str, keys: dict[str, str], wrong: str | None
) -> None:
    path = tmp_path / "s.toml"
    path.write_text(BASE + entry(pattern, **keys))
    if wrong is None:
        define(path, RunOptions())
        return
    with pytest.raises(DefinitionInvalid) as raised:
        define(path, RunOptions())
    (problem,) = raised.value.problems
    assert problem.key == f"checks.temporal[0].{wrong}"
    assert "snapshots (here 0)" in problem.allowed


def test_no_phase_with_snapshots_enough(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    text = BASE.replace('"3s"', '"1s"').replace("= 4", "= 2") + entry(
        "nondecreasing", per='"phase"'
    )
    path.write_text(text)  # at 0.2 s + 0.533 s and + 1.067 s: one in each step
    with pytest.raises(
        DefinitionInvalid, match=r"temporal\[0\]\.per.*2 or more snapshots \(here 1"
    ):
        define(path, RunOptions())


def test_snapshots_that_just_do(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    even = BASE.replace('"3s"', '"1s"')  # four snapshots: 0.52, 0.84, 1.16 and 1.48 s
    path.write_text(even + entry("nondecreasing", per='"phase"'))
    define(path, RunOptions())
    path.write_text(even + entry("nondecreasing", phase='"step1"'))
    define(path, RunOptions())


@pytest.mark.parametrize("phase", ["step1", "second"])
def test_a_snapshot_between_two_steps_may_be_of_either(tmp_path: Path, phase: str) -> None:
    path = tmp_path / "s.toml"
    text = BASE.replace('"3s"', '"1s"').replace("= 4", "= 1")  # at 1.0 s
    path.write_text(text + entry("each", phase=f'"{phase}"', at_most="1"))
    define(path, RunOptions())


@pytest.mark.parametrize(("reduce", "enough"), [("last", 2), ("delta", 4)])
def test_progress_within_a_phase_needs_two_snapshots_there(
    tmp_path: Path, reduce: str, enough: int
) -> None:
    keys = complete("ratio_across_phases") | {"reduce": f'"{reduce}"'}
    path = tmp_path / "s.toml"
    even = BASE.replace('"3s"', '"1s"') + entry("ratio_across_phases", **keys)
    path.write_text(even.replace("= 4", f"= {enough}"))
    define(path, RunOptions())
    if reduce == "delta":
        path.write_text(even.replace("= 4", "= 2"))
        with pytest.raises(DefinitionInvalid) as raised:
            define(path, RunOptions())
        wrong = [problem.key for problem in raised.value.problems]
        assert wrong == ["checks.temporal[0].earlier", "checks.temporal[0].later"]


def test_phases_are_found_and_where_they_begin() -> None:
    text = BASE + entry("ratio_across_phases", **complete("ratio_across_phases"))
    text += "\n[[checks.temporal]]\n" + entry("each", phase='"Step[1]"', at_most="1")
    across, each = temporal_checks(scenario_from_toml(text))
    assert (across.phase, across.phases) == (None, (Phase.step(0), Phase.step(1)))
    assert (each.phase, each.phases) == (Phase.step(1), None)
    assert each.starts_ms == {Phase.BASELINE: 0, Phase.step(0): 0, Phase.step(1): 1000}


def test_the_builder_adds_one_after_another() -> None:
    built = (
        scenario("x")
        .scheduler(bpf="scx_ktstr")
        .run(num_snapshots=3)
        .step(hold=1, name="one")
        .expect("nondecreasing", var="a")
        .compare("iteration_rate", phase="one", against="baseline", better=True)
        .expect("ratio_within", stats="a.b", over={"map": "m", "key": 1}, at_most=2)
    )
    data = tomllib.loads(built.to_toml())
    assert data["checks"]["temporal"] == [
        {"pattern": "nondecreasing", "var": "a"},
        {"pattern": "ratio_within", "stats": "a.b", "over": {"map": "m", "key": 1}, "at_most": 2},
    ]
    assert len(data["checks"]["across"]) == 1
    assert scenario_from_toml(built.to_toml()).checks == built.model().checks
