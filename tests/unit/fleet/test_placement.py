# SPDX-License-Identifier: GPL-2.0-only
"""Which worker a run goes to, and who waits for whom."""

from ktstr.fleet.placement import MAX_OVERTAKEN, Need, Placement, Site


def made(*sites: tuple[str, int, int | None]) -> Placement:
    found = Placement()
    for address, cpus, memory_mib in sites:
        found.add(Site(address, cpus, memory_mib))
    return found


def granted(placement: Placement) -> list[tuple[int, str, int]]:
    """Number, worker and vCPUs of all that may go now."""
    found = []
    while (next_one := placement.grant()) is not None:
        number, place = next_one
        found.append((number, place.site.address, place.cpus))
    return found


def test_no_worker_gets_more_than_it_offers() -> None:
    placement = made(("a", 2, None), ("b", 3, None))
    numbers = [placement.ask(Need(1, 0, str(n))) for n in range(7)]
    first = granted(placement)
    assert [number for number, _, _ in first] == numbers[:5]
    assert sorted(address for _, address, _ in first) == ["a", "a", "b", "b", "b"]
    assert placement.waiting == 2


def test_a_place_given_back_is_given_again() -> None:
    placement = made(("a", 1, None))
    placement.ask(Need(1, 0))
    second = placement.ask(Need(1, 0))
    found = placement.grant()
    assert found is not None and placement.grant() is None
    placement.give_back(found[1])
    assert granted(placement) == [(second, "a", 1)]


def test_what_is_too_large_for_all_goes_alone_to_the_largest() -> None:
    placement = made(("small", 2, None), ("large", 4, None))
    placement.ask(Need(16, 0, "big"))
    assert granted(placement) == [(1, "large", 4)]
    placement.ask(Need(4, 0))
    assert granted(placement) == [], "beside it something else was begun"


def test_memory_counts_beside_cpus() -> None:
    placement = made(("a", 8, 1000))
    for _ in range(3):
        placement.ask(Need(1, 400))
    assert len(granted(placement)) == 2


def test_a_run_for_which_nobody_has_memory_is_hopeless_and_says_of_whom() -> None:
    placement = made(("a", 8, 1000), ("b", 8, 500))
    assert placement.hopeless(Need(1, 1001)) and not placement.hopeless(Need(1, 1000))
    (a, b) = placement.sites
    assert a.obstacle(Need(1, 1001)) == "it has 1000 MiB for guests, 1001 are needed"
    assert not a.obstacle(Need(1, 600)) and b.obstacle(Need(1, 600))
    assert not Placement().hopeless(Need(1, 1)), "a worker may still come"


def test_a_guest_goes_where_its_template_is_rather_than_where_more_is_free() -> None:
    placement = made(("a", 2, None), ("b", 8, None))
    placement.ask(Need(1, 0, "x"))
    (number, place) = placement.grant() or (0, None)
    assert place is not None and (number, place.site.address) == (1, "b"), "most is free there"
    placement.ask(Need(7, 0, "y"))
    assert granted(placement) == [(2, "b", 7)]
    placement.give_back(place)
    placement.ask(Need(1, 0, "z"))
    assert granted(placement) == [(3, "a", 1)], "most is free there now"
    placement.ask(Need(1, 0, "x"))
    assert granted(placement) == [(4, "b", 1)], "the template is there"


def test_a_large_run_is_overtaken_only_so_often() -> None:
    placement = made(("a", 4, None))
    placement.ask(Need(1, 0))
    held = placement.grant()
    assert held is not None
    large = placement.ask(Need(4, 0))
    overtakers = 0
    for _ in range(MAX_OVERTAKEN + 3):
        placement.ask(Need(1, 0))
        for number, place in iter(placement.grant, None):
            assert number != large
            overtakers += 1
            placement.give_back(place)
    assert overtakers == MAX_OVERTAKEN
    placement.give_back(held[1])
    assert granted(placement)[0] == (large, "a", 4)


def test_a_kernel_has_to_be_there_and_one_that_cannot_be_got_is_an_obstacle() -> None:
    placement = made(("a", 4, None), ("b", 4, None))
    need = Need(1, 0, kernel="debian:7")
    placement.ask(need)
    assert granted(placement) == []
    (a, b) = placement.sites
    b.lacks["debian:7"] = "no network"
    assert not placement.hopeless(need)
    a.kernels.add("debian:7")
    assert granted(placement) == [(1, "a", 1)]
    a.kernels.clear()
    a.lacks["debian:7"] = "no disk"
    assert placement.hopeless(need) and not placement.hopeless(Need(1, 0))


def test_a_run_that_is_to_be_alone_waits_for_an_empty_worker_and_keeps_it() -> None:
    placement = made(("a", 4, None))
    placement.ask(Need(1, 0))
    found = placement.grant()
    placement.ask(Need(1, 0, alone=True))
    assert found is not None and placement.grant() is None
    placement.give_back(found[1])
    assert granted(placement) == [(2, "a", 4)]
    placement.ask(Need(1, 0))
    assert granted(placement) == []


def test_a_worker_that_went_gets_nothing_and_its_runs_give_back_all_the_same() -> None:
    placement = made(("a", 1, None))
    placement.ask(Need(1, 0))
    found = placement.grant()
    assert found is not None
    placement.remove("a")
    placement.ask(Need(1, 0))
    placement.give_back(found[1])
    assert placement.grant() is None
    placement.add(Site("b", 1, None))
    assert granted(placement) == [(2, "b", 1)]


def test_who_waits_no_longer_gets_no_place() -> None:
    placement = made(("a", 1, None))
    placement.withdraw(placement.ask(Need(1, 0)))
    assert placement.grant() is None
