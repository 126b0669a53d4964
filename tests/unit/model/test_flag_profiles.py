# SPDX-License-Identifier: GPL-2.0-only
"""Profiles of flags: held against the power set, filtered; and their bound."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.errors import DefinitionInvalid
from ktstr.model.flag_profiles import flag_profiles, profile_flags
from ktstr.model.scenario import scenario_from_toml

NAMES = "abcdef"
SOME = st.sets(st.sampled_from(NAMES), max_size=2)


def brute_force(
    requires: dict[str, set[str]], required: set[str], excluded: set[str]
) -> list[tuple[str, ...]]:
    """The power set, by size and name, of which those sets stay that hold together."""
    names = sorted(requires)
    subsets = [one for size in range(len(names) + 1) for one in combinations(names, size)]
    return [
        one
        for one in subsets
        if all(requires[name] <= set(one) for name in one)
        and required <= set(one)
        and not excluded & set(one)
    ]


@given(st.dictionaries(st.sampled_from(NAMES), SOME), SOME, SOME)
def test_it_is_the_power_set_of_what_holds_together(
    requires: dict[str, set[str]], required: set[str], excluded: set[str]
) -> None:
    found = flag_profiles(requires, required=required, excluded=excluded)
    assert list(found) == brute_force(requires, required, excluded)


def test_the_chain_that_schedulers_have() -> None:
    requires: dict[str, list[str]] = {"llc": [], "borrow": [], "steal": ["llc"], "rebal": []}
    # 4 ways for llc and steal together would be 2 x 2; without "steal alone" 3; times 2 x 2.
    assert len(flag_profiles(requires)) == 12
    assert flag_profiles(requires, required=["steal"], excluded=["rebal"]) == (
        ("llc", "steal"),
        ("borrow", "llc", "steal"),
    )
    assert flag_profiles(requires, required=["steal"], excluded=["llc"]) == ()
    assert flag_profiles({}) == ((),)


def test_the_number_is_bounded_before_it_is_counted_out() -> None:
    free: dict[str, list[str]] = {f"f{n}": [] for n in range(64)}
    with pytest.raises(ValueError, match="more than 256 combinations"):
        flag_profiles(free)
    eight = {f"f{n}": [] for n in range(8)}
    assert len(flag_profiles(eight)) == 256
    with pytest.raises(ValueError, match="more than 255"):
        flag_profiles(eight, limit=255)
    # Sixty-four flags that all hang together are two profiles.
    ring = {f"f{n}": [f"f{(n + 1) % 64}"] for n in range(64)}
    assert [len(profile) for profile in flag_profiles(ring)] == [0, 64]


@pytest.mark.parametrize(
    ("name", "flags"), [("default", ()), ("", ()), ("a", ("a",)), ("a+b", ("a", "b"))]
)
def test_a_profile_by_its_name(name: str, flags: tuple[str, ...]) -> None:
    assert profile_flags(name) == flags


TEXT = """
name = "x"
[scheduler]
binary = "/bin/true"
{}
known_flags = {{ a = {{ args = ["-a"], requires = ["b"] }}, b = {{ args = ["-b"] }} }}
[[steps]]
hold = "1s"
"""


def test_flags_given_in_the_files_place() -> None:
    text = TEXT.format('flags = ["b"]')
    assert scenario_from_toml(text, flags=["a"]).scheduler.profile == "a+b"
    assert scenario_from_toml(text, flags=[]).scheduler.profile == "default"
    assert scenario_from_toml(text).scheduler.profile == "b"
    with pytest.raises(DefinitionInvalid, match=r"scheduler\.flags\[0\].*found \"c\""):
        scenario_from_toml(text, flags=["c"])


@pytest.mark.parametrize(
    ("keys", "key"),
    [
        ('excluded_flags = ["c"]', "scheduler.excluded_flags[0]"),
        ('flags = ["a"]\nexcluded_flags = ["b"]', "scheduler.excluded_flags[0]"),
        ('attach_timeout = "11m"', "scheduler.attach_timeout"),
    ],
)
def test_mistakes(keys: str, key: str) -> None:
    with pytest.raises(DefinitionInvalid) as caught:
        scenario_from_toml(TEXT.format(keys))
    assert [problem.key for problem in caught.value.problems] == [key]


def test_attach_timeout_reaches_the_plan() -> None:
    made = scenario_from_toml(TEXT.format('attach_timeout = "90s"')).scheduler
    assert made.plan()["attach_ms"] == 90_000
    assert scenario_from_toml(TEXT.format("")).scheduler.plan()["attach_ms"] == 60_000
    wrong = '[scheduler]\nkernel_default = true\nattach_timeout = "1s"\n[[steps]]\nhold = "1s"'
    with pytest.raises(DefinitionInvalid, match=r"only beside bpf or binary"):
        scenario_from_toml(wrong)
