# SPDX-License-Identifier: GPL-2.0-only
"""The choice within a budget: never over it, best ratio first, the same each time."""

from collections.abc import Sequence
from itertools import combinations
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from ktstr.gauntlet.choice import Candidate, Choice, choose

WORDS = st.frozensets(st.sampled_from("abcdefgh"), max_size=5)


@st.composite
def candidates(draw: st.DrawFn, most: int = 12) -> list[Candidate]:
    count = draw(st.integers(0, most))
    return [
        Candidate(f"c{at:02}", draw(st.integers(1, 40)) / 2, draw(WORDS)) for at in range(count)
    ]


BUDGETS = st.integers(0, 200).map(lambda half: half / 2)


def plainly(found: Sequence[Candidate], budget_s: float) -> list[int]:
    """The greedy choice without bounds: every round looks at every candidate."""
    covered: set[str] = set()
    order: list[int] = []
    left_s = budget_s
    while True:
        fitting = [
            (-len(each.covers - covered) / each.cost_s, each.name, at)
            for at, each in enumerate(found)
            if at not in order and each.cost_s <= left_s and each.covers - covered
        ]
        if not fitting:
            return order
        at = min(fitting)[2]
        order.append(at)
        left_s -= found[at].cost_s
        covered |= found[at].covers


@given(candidates(), BUDGETS)
def test_lazily_it_is_what_the_plain_greedy_choice_is(
    found: list[Candidate], budget_s: float
) -> None:
    assert [*choose(found, budget_s).order] == plainly(found, budget_s)


@given(candidates(), BUDGETS, BUDGETS)
def test_more_time_never_covers_less(found: list[Candidate], one: float, other: float) -> None:
    less, more = sorted((one, other))
    assert len(choose(found, less).covered) <= len(choose(found, more).covered)


@given(candidates(), BUDGETS)
def test_never_over_the_budget_and_everything_is_accounted_for(
    found: list[Candidate], budget_s: float
) -> None:
    choice = choose(found, budget_s)
    assert choice.spent_s == sum(found[at].cost_s for at in choice.order) <= budget_s
    assert len({*choice.order}) == len(choice.order)
    assert choice.covered == frozenset().union(*(found[at].covers for at in choice.order))
    assert choice.possible == frozenset().union(*(each.covers for each in found))
    for at, each in enumerate(found):
        if each.covers - choice.covered:
            assert at not in choice.order
            assert choice.spent_s + each.cost_s > budget_s


@given(candidates(), BUDGETS)
def test_the_first_has_the_best_ratio_and_every_pick_adds(
    found: list[Candidate], budget_s: float
) -> None:
    choice = choose(found, budget_s)
    ratios = [len(e.covers) / e.cost_s for e in found if e.cost_s <= budget_s]
    if choice.order:
        first = found[choice.order[0]]
        assert len(first.covers) / first.cost_s == max(ratios)
    else:
        assert not any(ratios)
    covered: set[str] = set()
    for at in choice.order:
        assert found[at].covers - covered
        covered |= found[at].covers


@given(candidates(), BUDGETS, st.randoms(use_true_random=False))
def test_the_order_of_the_candidates_does_not_matter(
    found: list[Candidate], budget_s: float, random: Random
) -> None:
    def names(some: Sequence[Candidate], choice: Choice) -> list[str]:
        return [some[at].name for at in choice.order]

    other = [*found]
    random.shuffle(other)
    assert names(found, choose(found, budget_s)) == names(other, choose(other, budget_s))


@given(candidates())
def test_with_time_for_everything_everything_is_covered(found: list[Candidate]) -> None:
    choice = choose(found, sum(each.cost_s for each in found))
    assert choice.covered == choice.possible


@given(candidates(most=7), BUDGETS)
def test_it_covers_a_fair_part_of_what_could_be_covered(
    found: list[Candidate], budget_s: float
) -> None:
    """With the best single candidate beside it, (1 - 1/e) / 2 of the best there is (Khuller,
    Moss and Naor, 1999)."""
    best = max(
        len(frozenset[str]().union(*(each.covers for each in some)))
        for count in range(len(found) + 1)
        for some in combinations(found, count)
        if sum(each.cost_s for each in some) <= budget_s
    )
    single = max((len(e.covers) for e in found if e.cost_s <= budget_s), default=0)
    assert max(len(choose(found, budget_s).covered), single) >= 0.316 * best


def test_ties_go_by_name_and_what_costs_nothing_comes_first() -> None:
    found = [
        Candidate("b", 1.0, frozenset("x")),
        Candidate("a", 1.0, frozenset("x")),
        Candidate("free", 0.0, frozenset("y")),
    ]
    choice = choose(found, 10)
    assert choice.order == (2, 1) and choice.spent_s == 1.0
