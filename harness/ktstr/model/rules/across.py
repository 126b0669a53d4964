# SPDX-License-Identifier: GPL-2.0-only
"""Rules about comparisons between phases."""

from collections.abc import Iterator

from ktstr.model.across import COMPARATORS, Across
from ktstr.model.definition import Scenario
from ktstr.model.locate import KeyPath
from ktstr.model.op_models import AddCgroup, AddCgroupDef
from ktstr.model.phase_words import phase_words
from ktstr.model.source import Mistake, Unknown
from ktstr.model.words import did_you_mean, one_of


def across_mistakes(scenario: Scenario, unknown: Unknown) -> Iterator[Mistake]:
    """Comparators, phases and cgroups of every ``[[checks.across]]``.

    :param unknown: names that cannot be read are not called wrong.
    """
    cgroups = _cgroup_names(scenario)
    for index, check in enumerate(scenario.checks.across):
        at: KeyPath = ("checks", "across", index)
        if len(asked := check.comparators()) != 1:
            *others, last = COMPARATORS
            allowed = f"exactly one of {', '.join(others)} and {last}"
            yield Mistake(at, allowed, ", ".join(asked) or "none of them")
        if not unknown.steps:
            yield from _phases(at, check, scenario)
        if check.cgroup is not None and not unknown.cgroups and check.cgroup not in cgroups:
            allowed = one_of(cgroups) if cgroups else "nothing: the scenario has no cgroup"
            yield Mistake((*at, "cgroup"), allowed + did_you_mean(check.cgroup, cgroups))


def _phases(at: KeyPath, check: Across, scenario: Scenario) -> Iterator[Mistake]:
    words = list(phase_words(len(scenario.steps), scenario.step_name))
    found = {key: scenario.phase_index(getattr(check, key)) for key in ("phase", "against")}
    for key, phase in found.items():
        if phase is None:
            hint = did_you_mean(getattr(check, key), words)
            yield Mistake((*at, key), one_of(words) + hint)
    if None not in found.values() and found["phase"] == found["against"]:
        yield Mistake((*at, "against"), "another phase than that of the key phase")


def _cgroup_names(scenario: Scenario) -> list[str]:
    """Every cgroup that is there at any time, each once."""
    defined = [cgroup.name for cgroup in scenario.backdrop.cgroups]
    defined += [cgroup.name for step in scenario.steps for cgroup in step.cgroups]
    for _, op in scenario.all_ops():
        match op:
            case AddCgroup():
                defined.append(op.cgroup)
            case AddCgroupDef():
                defined.append(op.name)
    return list(dict.fromkeys(defined))
