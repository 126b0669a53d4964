# SPDX-License-Identifier: GPL-2.0-only
"""A kernel's BTF is indexed once in a process, and never one kernel's taken for another's."""

import pytest

from ktstr.introspect import known_btf
from ktstr.introspect.btf import Btf, BtfInvalid, Kind
from ktstr.introspect.known_btf import KnownBtf
from ktstr.testing.ram import BtfBuilder


def blob(value: int) -> bytes:
    b = BtfBuilder()
    b.enum("first", 4, {"A": 1})
    b.enum("second", 4, {"B": value})
    return b.build()


@pytest.fixture
def indexed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every blob that was indexed, in order."""
    seen: list[bytes] = []

    def counted(raw: bytes) -> Btf:
        seen.append(raw)
        return Btf(raw)

    monkeypatch.setattr(known_btf, "Btf", counted)
    return seen


def test_the_same_bytes_are_indexed_once(indexed: list[bytes]) -> None:
    known = KnownBtf()
    first, digest = known.indexed(blob(7))
    again, same = known.indexed(bytes(bytearray(blob(7))))
    assert again is first and same == digest
    assert indexed == [blob(7)]


def test_one_byte_makes_another_kernel(indexed: list[bytes]) -> None:
    known = KnownBtf()
    (seven, one), (eight, other) = known.indexed(blob(7)), known.indexed(blob(8))
    assert one != other
    assert seven.find_enumerator("B") == (2, 7)
    assert eight.find_enumerator("B") == (2, 8)


def test_those_used_last_are_kept(indexed: list[bytes]) -> None:
    known = KnownBtf(limit=2)
    for value in (1, 2, 1, 3, 1, 2):
        known.indexed(blob(value))
    assert indexed == [blob(1), blob(2), blob(3), blob(2)]


def test_what_is_malformed_is_refused_every_time(indexed: list[bytes]) -> None:
    known = KnownBtf()
    known.indexed(blob(1))
    for _ in range(2):
        with pytest.raises(BtfInvalid):
            known.indexed(blob(1)[:-1])
    assert len(indexed) == 3


def test_enumerators_are_searched_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    btf = Btf(blob(7))
    assert btf.find_enumerator("B") == (2, 7)
    assert btf.find_enumerator("C") is None
    monkeypatch.setattr(btf, "type", None)
    assert btf.find_enumerator("B") == (2, 7)
    assert btf.find_enumerator("C") is None
    assert btf.find("second", Kind.ENUM) == 2
