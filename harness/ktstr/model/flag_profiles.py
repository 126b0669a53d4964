# SPDX-License-Identifier: GPL-2.0-only
"""Every combination of a scheduler's flags that makes sense (reference-04, 4.5 and 10.3)."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Final

from ktstr.model.scheduler_def import DEFAULT_PROFILE, Scheduler, closure

MAX_PROFILES: Final = 256
"""So many runs of one scenario are as many as one command starts."""

Profile = tuple[str, ...]
"""Names of the flags in force, sorted."""


def flag_profiles(
    requires: Mapping[str, Collection[str]],
    *,
    required: Collection[str] = (),
    excluded: Collection[str] = (),
    limit: int = MAX_PROFILES,
) -> tuple[Profile, ...]:
    """Every set of flags in which each has all it requires: fewest flags first, then by name.

    :param requires: for each declared flag those it makes no sense without; one that is not
        declared can never be there.
    :param required: flags that every profile has, with what they require.
    :param excluded: flags that no profile has, nor has one what requires them.
    :raises ValueError: when there are more than ``limit``; their number is not counted out.
    """
    found = [*islice(_closed_sets(requires, required, excluded), limit + 1)]
    if len(found) > limit:
        raise ValueError(f"more than {limit} combinations of flags")
    return tuple(sorted(found, key=lambda profile: (len(profile), profile)))


def scheduler_profiles(scheduler: Scheduler) -> tuple[Profile, ...]:
    """The profiles of a scheduler: each has its ``flags`` and none of its ``excluded_flags``.

    :raises ValueError: as :func:`flag_profiles`.
    """
    return flag_profiles(
        {name: flag.requires for name, flag in scheduler.known_flags.items()},
        required=scheduler.flags,
        excluded=scheduler.excluded_flags,
    )


def profile_flags(name: str) -> Profile:
    """The flags of a profile by its name, as far as that can be told without its scheduler."""
    return () if name in ("", DEFAULT_PROFILE) else tuple(name.split("+"))


def _closed_sets(
    requires: Mapping[str, Collection[str]], required: Iterable[str], excluded: Iterable[str]
) -> Iterator[Profile]:
    """Decides on one flag after the other; each decision settles all that hangs on it.

    So every branch ends in a set, and the work for n sets grows with n, not with the power set.
    """
    whole = {name: _with_all(name, requires) for name in requires}
    wanted = set[str]().union(*(whole.get(name, {name}) for name in required))
    barred = _hit_by(set(excluded), whole) | {
        name for name, needs in whole.items() if not needs <= requires.keys()
    }
    if wanted <= requires.keys() - barred:
        yield from _decide(sorted(requires), whole, frozenset(wanted), frozenset(barred))


def _decide(
    undecided: list[str],
    whole: Mapping[str, set[str]],
    chosen: frozenset[str],
    barred: frozenset[str],
) -> Iterator[Profile]:
    rest = [name for name in undecided if name not in chosen and name not in barred]
    if not rest:
        yield tuple(sorted(chosen))
        return
    first = rest[0]
    yield from _decide(rest[1:], whole, chosen, barred | _hit_by({first}, whole))
    yield from _decide(rest[1:], whole, chosen | whole[first], barred)


def _with_all(name: str, requires: Mapping[str, Collection[str]]) -> set[str]:
    """A flag and all it requires, undeclared ones too."""
    reached = closure([name], requires)
    return {*reached, *(needed for each in reached for needed in requires[each])}


def _hit_by(names: set[str], whole: Mapping[str, set[str]]) -> set[str]:
    """These flags and all that require one of them."""
    return names | {name for name, needs in whole.items() if needs & names}
