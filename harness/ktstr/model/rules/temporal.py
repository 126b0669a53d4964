# SPDX-License-Identifier: GPL-2.0-only
"""Rules about the patterns that figures have to follow."""

from collections.abc import Iterator

from ktstr.model.definition import Scenario
from ktstr.model.locate import KeyPath
from ktstr.model.op_programs import AttachScheduler, ReplaceScheduler
from ktstr.model.phase_words import phase_words
from ktstr.model.source import Mistake, Unknown
from ktstr.model.temporal import SOURCES, Figure, Temporal
from ktstr.model.words import did_you_mean, one_of


def temporal_mistakes(scenario: Scenario, unknown: Unknown) -> Iterator[Mistake]:
    """Figure, parameters, phases and number of snapshots of every ``[[checks.temporal]]``.

    :param unknown: names that cannot be read are not called wrong.
    """
    for index, check in enumerate(scenario.checks.temporal):
        at: KeyPath = ("checks", "temporal", index)
        yield from _figure(at, check)
        if check.over is not None:
            yield from _figure((*at, "over"), check.over)
        yield from _parameters(at, check)
        if not unknown.steps:
            yield from _phases(at, check, scenario)
        if not (unknown.scheduler or unknown.history or _scheduled(scenario)):
            allowed = "only with a scheduler that ktstr starts: the kernel's own has no figures"
            yield Mistake(at, allowed, "a figure of a scheduler")
    yield from _snapshots(scenario)


def _scheduled(scenario: Scenario) -> bool:
    return not scenario.scheduler.kernel_default or any(
        isinstance(op, AttachScheduler | ReplaceScheduler) for _, op in scenario.all_ops()
    )


def _figure(at: KeyPath, figure: Figure) -> Iterator[Mistake]:
    given = figure.sources()
    if len(given) != 1:
        *others, last = SOURCES
        found = ", ".join(given) or "none of them"
        yield Mistake(at, f"exactly one of {', '.join(others)} and {last}", found)
    elif figure.map is None:
        for name in ("key", "cpu", "field"):
            if getattr(figure, name) is not None:
                yield Mistake((*at, name), "only with a map")


def _parameters(at: KeyPath, check: Temporal) -> Iterator[Mistake]:
    wants, given = check.wants, check.given()
    for name in given:
        if name not in wants.keys:
            yield Mistake(
                (*at, name), f"with {check.pattern}, {', '.join(wants.keys)}", f'the key "{name}"'
            )
    for name in wants.needs:
        if name not in given:
            yield Mistake((*at, name), f"a value: {check.pattern} needs it", "")
    if wants.bounded:
        if check.at_least is None and check.at_most is None:
            allowed = f"at_least, at_most or both: {check.pattern} needs a limit"
            yield Mistake(at, allowed, "none of them")
        elif None not in (check.at_least, check.at_most) and not _upright(check):
            yield Mistake((*at, "at_most"), f"{check.at_least:g} or more, as at_least says")
    if check.per == "phase" and check.phase is not None:
        yield Mistake((*at, "per"), '"run" beside a phase, which is the only one then')


def _upright(check: Temporal) -> bool:
    return (check.at_least or 0.0) <= (check.at_most or 0.0)


def _phases(at: KeyPath, check: Temporal, scenario: Scenario) -> Iterator[Mistake]:
    words = list(phase_words(len(scenario.steps), scenario.step_name))
    for key in ("phase", "earlier", "later"):
        word = getattr(check, key)
        if word is not None and scenario.phase_index(word) is None:
            yield Mistake((*at, key), one_of(words) + did_you_mean(word, words))
    if check.earlier is not None and check.later is not None:
        earlier, later = map(scenario.phase_index, (check.earlier, check.later))
        if earlier is not None and later is not None and earlier >= later:
            yield Mistake((*at, "later"), f"a phase after {check.earlier}")


def _snapshots(scenario: Scenario) -> Iterator[Mistake]:
    """More snapshots than there are, when a pattern could never judge as few."""
    asking = [(check.wants.samples, i, check) for i, check in enumerate(scenario.checks.temporal)]
    if not asking:
        return
    needed, index, check = max(asking, key=lambda each: (each[0], -each[1]))
    if scenario.run.num_snapshots < needed:
        yield Mistake(
            ("run", "num_snapshots"),
            f"{needed} or more, for checks.temporal[{index}] ({check.pattern}) to have something "
            "to judge",
            str(scenario.run.num_snapshots),
        )
