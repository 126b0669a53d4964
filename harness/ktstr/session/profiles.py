# SPDX-License-Identifier: GPL-2.0-only
"""What one command runs: each scenario once, or once for every profile of its scheduler's flags."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from ktstr.errors import DefinitionInvalid
from ktstr.model.flag_profiles import scheduler_profiles
from ktstr.model.scenario import load_scenario
from ktstr.model.scheduler_def import profile_name
from ktstr.model.source import Mistake
from ktstr.session.matrix import Turn
from ktstr.session.options import RunOptions


def turns(paths: Iterable[Path], options: RunOptions, *, all_flags: bool) -> list[Turn]:
    """The runs of these scenarios in their order, the profiles of each in theirs."""
    if not all_flags:
        return [Turn(path, options) for path in paths]
    return [turn for path in paths for turn in _of_every_profile(path, options)]


def _of_every_profile(path: Path, options: RunOptions) -> Iterator[Turn]:
    try:
        scenario = load_scenario(path, scheduler=options.scheduler)
    except DefinitionInvalid:
        # Its run tells the mistakes.
        yield Turn(path, options)
        return
    try:
        profiles = scheduler_profiles(scenario.scheduler)
    except ValueError as error:
        allowed = "flags, requires and excluded_flags that leave fewer combinations"
        mistake = Mistake(("scheduler", "known_flags"), allowed, str(error))
        refused = DefinitionInvalid(scenario.source.problems([mistake]))
        yield Turn(path, options, refused=refused)
        return
    if profiles == ((),):
        # A scheduler without flags; one that another took the place of has none either.
        yield Turn(path, options)
        return
    for flags in profiles:
        yield Turn(path, replace(options, flags=flags), profile_name(flags))
