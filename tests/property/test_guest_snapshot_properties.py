# SPDX-License-Identifier: GPL-2.0-only
"""Whatever a guest puts into a snapshot, it is a sample, failed or not, or one refused frame."""

import json
import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.session.guest_told import Told, body, frame

from ktstr.session.sidecar.samples import sample_record
from ktstr.wire import WireError

JUNK: list[Any] = [
    None, True, -1, 0, 1, 7, 26, 1 << 31, (1 << 64) - 1, "", "x\x1b[2J", b"", b"\xff" * 33,
    [], [None], {}, {"id": 1}, 1.5, float("nan"),
]  # fmt: skip


def damaged(value: Any, dice: random.Random) -> Any:
    """One part of ``value`` replaced, cut, repeated or left out."""
    if isinstance(value, dict) and value and dice.random() < 0.95:
        key = dice.choice(list(value))
        if dice.random() < 0.05:
            return {name: each for name, each in value.items() if name != key}
        return value | {key: damaged(value[key], dice)}
    if isinstance(value, list) and value and dice.random() < 0.9:
        at = dice.randrange(len(value))
        if dice.random() < 0.2:
            return value + value[at : at + 1]
        return [*value[:at], damaged(value[at], dice), *value[at + 1 :]]
    if isinstance(value, bytes) and value and dice.random() < 0.8:
        at = dice.randrange(len(value))
        flipped = bytes([value[at] ^ 1 << dice.randrange(8)])
        return dice.choice([value[:at], value[:at] + flipped + value[at + 1 :], value * 2])
    return dice.choice(JUNK)


def taken(*payloads: bytes) -> None:
    told = Told()
    refused = 0
    for payload in payloads:
        try:
            told.receive(payload)
        except WireError:
            refused += 1
    assert len(told.pending) + refused == len(payloads)
    for sample in told.samples:
        assert (sample.snapshot is None) != (sample.error is None)
        # What is looked at only now, values and their names, is written or named all the same.
        json.dumps(sample_record(sample))


@given(st.integers(0, 1 << 32))
@settings(max_examples=300, deadline=None)
def test_damaged_snapshots_are_samples_all_the_same(seed: int) -> None:
    dice = random.Random(seed)
    packed: Any = body()
    for _ in range(dice.randrange(1, 4)):
        packed = damaged(packed, dice)
    more = {"stats": damaged({"line": b"{}", "error": None, "kind": None}, dice)}
    taken(frame(packed, **(more if dice.random() < 0.1 else {})), frame(body(btfs=[])))


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes(raw: bytes) -> None:
    taken(raw, frame(raw))
