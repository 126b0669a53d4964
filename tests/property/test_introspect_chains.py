# SPDX-License-Identifier: GPL-2.0-only
"""Chains of a hash followed all at once are those followed one by one, sound or damaged."""

import random
import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from ktstr.introspect.hashes import _walk, _walk_sound
from ktstr.introspect.memory import UnreadableMemory

FIRST, SIZE, NEXT_AT = 0xFFFF888000123000, 40, 16
END = 1


def _table(dice: random.Random, elements: int, buckets: int) -> tuple[list[int], bytearray]:
    """Some of the elements, on chains; ``heads`` holds only chains that are not empty."""
    area = bytearray(dice.randbytes(elements * SIZE))
    chains: list[list[int]] = [[] for _ in range(buckets)]
    for n in dice.sample(range(elements), dice.randint(0, elements)):
        dice.choice(chains).append(n)
    heads = []
    for chain in filter(None, chains):
        heads.append(FIRST + SIZE * chain[0])
        for n, after in zip(chain, [*chain[1:], None], strict=True):
            pointer = END if after is None else FIRST + SIZE * after
            struct.pack_into("<Q", area, n * SIZE + NEXT_AT, pointer)
    return heads, area


def _one_by_one(heads: list[int], area: bytes, limit: int) -> tuple[list[bytes], str | None]:
    def fetch(pointer: int) -> bytes:
        place = pointer - FIRST
        if not 0 <= place <= len(area) - SIZE or place % SIZE:
            raise UnreadableMemory("not an element")
        return area[place : place + SIZE]

    return _walk(heads, fetch, NEXT_AT, limit)


@given(st.integers(0, 1 << 32), st.integers(0, 40), st.integers(1, 12))
@settings(deadline=None)
def test_sound_tables_are_read_the_same_in_the_same_order(
    seed: int, elements: int, buckets: int
) -> None:
    heads, area = _table(random.Random(seed), elements, buckets)
    found = _walk_sound(heads, FIRST, bytes(area), SIZE, NEXT_AT, 100)
    assert found is not None and (found, None) == _one_by_one(heads, bytes(area), 100)


@given(st.integers(0, 1 << 32), st.integers(1, 20))
@settings(max_examples=300, deadline=None)
def test_anything_amiss_is_left_to_the_walk_that_tells(seed: int, limit: int) -> None:
    dice = random.Random(seed)
    elements = 12
    heads, area = _table(dice, elements, 4)
    wild = [FIRST - SIZE, FIRST + SIZE * elements, FIRST + 4, 0, 8, FIRST, FIRST + SIZE, 1 << 63]
    for _ in range(dice.randint(0, 3)):
        if heads and dice.random() < 0.3:
            heads[dice.randrange(len(heads))] = dice.choice(wild)
        else:
            place = dice.randrange(elements) * SIZE + NEXT_AT
            struct.pack_into("<Q", area, place, dice.choice(wild))
    found = _walk_sound(heads, FIRST, bytes(area), SIZE, NEXT_AT, limit)
    assert found is None or (found, None) == _one_by_one(heads, bytes(area), limit)


def test_chains_that_meet_or_run_in_circles_are_not_sound() -> None:
    area = bytearray(4 * SIZE)
    for n, after in enumerate((1, 2, 0, 1)):
        struct.pack_into("<Q", area, n * SIZE + NEXT_AT, FIRST + SIZE * after)
    assert _walk_sound([FIRST], FIRST, bytes(area), SIZE, NEXT_AT, 100) is None
    struct.pack_into("<Q", area, 2 * SIZE + NEXT_AT, END)
    assert _walk_sound([FIRST, FIRST + 3 * SIZE], FIRST, bytes(area), SIZE, NEXT_AT, 100) is None
