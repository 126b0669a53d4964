# SPDX-License-Identifier: GPL-2.0-only
"""Rendered values and snapshots as data: navigation, conversion, plain form, errors."""

import json
import math

import pytest

from ktstr.series.lazy import U32, LazyValue, RawBytes
from ktstr.series.maps import (
    ArrayEntries,
    Entry,
    IndexOutOfRange,
    MapRenderIncomplete,
    MapSnapshot,
    NoMatch,
    PerCpuEntry,
    PerCpuNotNarrowed,
    PerCpuSlot,
)
from ktstr.series.snapshot import (
    AmbiguousVar,
    CpuSnapshot,
    MapNotFound,
    SchedExtState,
    Snapshot,
    VarNotFound,
)
from ktstr.series.values import (
    Array,
    Bool,
    Bytes,
    Char,
    EmptyPathComponent,
    Enum,
    FieldNotFound,
    Float,
    Int,
    NotAStruct,
    Ptr,
    RenderedValue,
    Struct,
    Truncated,
    TypeMismatch,
    Uint,
    Unsupported,
)
from ktstr.series.values_json import read_value

INNER = Struct("inner", (("x", Uint(8, 1)),))
VALUE = Struct(
    "outer",
    (
        ("p", Ptr(0x10, deref=INNER)),
        ("t", Truncated(16, 8, INNER)),
        ("", Struct(None, (("hidden", Int(8, -3)),))),
        ("list", Array(2, (Uint(8, 5), Uint(8, 6)))),
    ),
)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("p.x", Uint(8, 1)),
        ("t.x", Uint(8, 1)),
        ("hidden", Int(8, -3)),
        ("list.1", Uint(8, 6)),
        ("", VALUE),
    ],
)
def test_paths(path: str, value: RenderedValue) -> None:
    assert VALUE.get(path) == value


@pytest.mark.parametrize(
    ("path", "error", "words"),
    [
        ("q", FieldNotFound, "the value has no 'q'; there: p, t, "),
        ("p.y", FieldNotFound, "p has no 'y'; there: x"),
        ("list.2", FieldNotFound, "there: 0, 1"),
        ("hidden.z", NotAStruct, "hidden is int, it has no 'z'"),
        ("p..x", EmptyPathComponent, "empty part after p"),
    ],
)
def test_paths_that_lead_nowhere(path: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        VALUE.get(path)


@pytest.mark.parametrize(
    ("value", "u64", "i64", "f64", "truth"),
    [
        (Uint(64, 5), 5, 5, 5.0, True),
        (Uint(64, 1 << 63), 1 << 63, None, float(1 << 63), True),
        (Int(32, -5), None, -5, -5.0, True),
        (Bool(False), 0, 0, None, False),
        (Char(65), 65, 65, None, True),
        (Ptr(4096), 4096, None, None, None),
        (Enum(32, 3, "A"), 3, 3, None, None),
        (Enum(32, -1, "A", True), None, -1, None, None),
        (Enum(32, -1, "A"), 0xFFFFFFFF, -1, None, None),
        (Float(64, 0.5), None, None, 0.5, None),
        (Bytes("00"), None, None, None, None),
        (Truncated(16, 8, Uint(8, 7)), 7, 7, 7.0, True),
    ],
)
def test_conversions(
    value: RenderedValue, u64: int | None, i64: int | None, f64: float | None, truth: bool | None
) -> None:
    for convert, wanted in (
        (value.as_u64, u64),
        (value.as_i64, i64),
        (value.as_f64, f64),
        (value.as_bool, truth),
    ):
        if wanted is None:
            with pytest.raises(TypeMismatch):
                convert()
        else:
            assert convert() == wanted


def test_text() -> None:
    assert Enum(32, 1, "ONE").as_str() == "ONE"
    assert Array(3, (Char(104), Char(105), Char(0))).as_str() == "hi"
    for value in (Enum(32, 9), Uint(8, 1), Array(1, (Uint(8, 1),))):
        with pytest.raises(TypeMismatch, match="not text"):
            value.as_str()
    with pytest.raises(TypeMismatch, match="because"):
        Unsupported("because").as_str()


def test_plain_form_is_tagged_and_leaves_absent_parts_out() -> None:
    assert Enum(32, 1, None).to_json() == {"kind": "enum", "bits": 32, "value": 1, "variant": None}
    assert Enum(8, -1, "N", True).to_json()["is_signed"] is True
    assert Ptr(1).to_json() == {"kind": "ptr", "value": 1}
    assert Ptr(1, deref_skipped_reason="far").to_json()["deref_skipped_reason"] == "far"
    plain = VALUE.to_json()
    members = plain["members"]
    assert isinstance(members, list)
    assert members[0] == {"name": "p", "value": {"kind": "ptr", "value": 16, "deref": {
        "kind": "struct", "type_name": "inner",
        "members": [{"name": "x", "value": {"kind": "uint", "bits": 8, "value": 1}}],
    }}}  # fmt: skip
    text = json.dumps(
        [Float(64, math.nan).to_json(), Float(64, math.inf).to_json()], allow_nan=False
    )
    assert '"nan"' in text and '"inf"' in text


class Counted:
    """A value type that counts its renderings."""

    def __init__(self, value: RenderedValue) -> None:
        self.value, self.rendered = value, 0

    def render(self, data: bytes) -> RenderedValue:
        self.rendered += 1
        return self.value

    def select(self, part: str) -> None:
        return None

    def names(self) -> tuple[str, ...]:
        return self.value.names()


def make(name: str, map_id: int = 1, **contents: object) -> MapSnapshot:
    return MapSnapshot(name, map_id, 2, "array", 4, 8, 3, **contents)  # type: ignore[arg-type]


def snapshot(*maps: MapSnapshot) -> Snapshot:
    return Snapshot("6.99", maps, (CpuSnapshot(0, nr_running=2),), SchedExtState("enabled"))


def test_nothing_is_rendered_until_asked_for_and_then_once() -> None:
    kind = Counted(VALUE)
    lazy = LazyValue(b"", kind)
    found = snapshot(make("s.bss", value=lazy))
    assert kind.rendered == 0
    assert found.var("hidden").as_i64() == -3 if "hidden" in kind.names() else True
    assert found.map("s.bss").get("list.0") == Uint(8, 5)
    assert found.map("s.bss").get("list.1") == Uint(8, 6)
    assert kind.rendered == 1


def test_maps_and_variables_by_name() -> None:
    a = make("a.bss", 1, value=LazyValue(b"", Counted(VALUE)))
    b = make("b.data", 2, value=LazyValue(b"", Counted(Struct(None, (("list", Uint(8, 0)),)))))
    ops = make("ops", 3, value=LazyValue(b"", Counted(Struct(None, (("only", Uint(8, 0)),)))))
    found = snapshot(a, b, ops)
    assert found.var("p.x") == Uint(8, 1)
    with pytest.raises(AmbiguousVar, match=r"a\.bss \(id 1\), b\.data \(id 2\)"):
        found.var("list")
    with pytest.raises(VarNotFound, match=r"'only' in a\.bss, b\.data; variables here: p, t"):
        found.var("only")
    with pytest.raises(MapNotFound, match=r"no map 'x'; maps here: a\.bss, b\.data, ops"):
        found.map("x")
    twice = snapshot(make("m", 4), make("m", 9))
    assert twice.map("m").id == 9
    assert found.cpu(0).nr_running == 2
    with pytest.raises(IndexOutOfRange, match="no CPU 3; CPUs here: 0"):
        found.cpu(3)


def test_entries_by_position_condition_and_size() -> None:
    data = b"".join(n.to_bytes(8, "little") for n in (7, 9, 8))
    found = make("arr", entries=ArrayEntries(data, 8, 4, 3, U32()))
    assert found.at(1).get() == Uint(32, 9)
    assert [e.key.data[0] for e in found] == [0, 1, 2]
    assert found.find(lambda e: e.get().as_u64() == 8).key.value == Uint(32, 2)
    assert found.max_by(lambda e: e.get().as_u64()).key.value == Uint(32, 1)
    assert len(found.filter(lambda e: e.get().as_u64() > 7)) == 2
    with pytest.raises(IndexOutOfRange, match="has no entry 3: it has 3"):
        found.at(3)
    with pytest.raises(NoMatch, match="keys: 0, 1, 2"):
        found.find(lambda e: False)
    with pytest.raises(MapRenderIncomplete, match="choose one with"):
        found.get("x")
    with pytest.raises(NoMatch, match="no entries"):
        make("arr", entries=()).max_by(lambda e: 0)
    with pytest.raises(MapRenderIncomplete, match="broken"):
        make("bad", error="broken").at(0)
    assert [e.value.data for e in ArrayEntries(data, 8, 4, 3, U32())[1:]] == [
        data[8:12],
        data[16:20],
    ]


def test_percpu_entries_want_a_cpu() -> None:
    values = {0: LazyValue(b"\3\0\0\0", U32()), 1: LazyValue(b"\4\0\0\0", U32()), 2: None}
    entry = PerCpuEntry(LazyValue(b"\0\0\0\0", U32()), values)
    assert entry.cpu(1).get() == Uint(32, 4)
    with pytest.raises(PerCpuNotNarrowed, match="CPUs here: 0, 1, 2"):
        entry.get("x")
    with pytest.raises(PerCpuSlot, match="CPU 2 could not be read; CPUs here: 0, 1"):
        entry.cpu(2)
    with pytest.raises(PerCpuSlot, match="CPU 7 does not exist"):
        entry.cpu(7)
    with pytest.raises(PerCpuSlot):
        entry.sum_u64()
    full = PerCpuEntry(entry.key, {0: values[0], 1: values[1]})
    assert full.sum_u64() == 7


def test_the_whole_snapshot_becomes_json() -> None:
    entry = Entry(LazyValue(b"\1", RawBytes()), LazyValue(b"\2\3", RawBytes()))
    percpu = PerCpuEntry(LazyValue(b"\1", RawBytes()), {0: LazyValue(b"\4", RawBytes()), 1: None})
    found = snapshot(
        make("h", entries=(entry,)),
        make("p", percpu_hash_entries=(percpu,), truncated="cut"),
        make("q", error="not decoded"),
    )
    plain = json.loads(json.dumps(found.to_json(), allow_nan=False))
    first, second, third = plain["maps"]
    assert first["entries"][0]["value"] == {"kind": "bytes", "hex": "02 03"}
    assert second["percpu_hash_entries"][0]["per_cpu"] == {
        "0": {"kind": "bytes", "hex": "04"}, "1": None,
    }  # fmt: skip
    assert (second["truncated"], third["error"], "entries" in third) == (
        "cut",
        "not decoded",
        False,
    )
    assert plain["cpus"][0]["clock"] is None and plain["sched_ext"]["state"] == "enabled"


def test_characters_are_one_text_and_come_back_as_they_were() -> None:
    text = Array(6, tuple(Char(code) for code in b"ab\0\xff\0\0"))
    assert text.to_json() == {"kind": "array", "len": 6, "chars": "ab\0\xff"}
    assert read_value(text.to_json()) == text
    cut = Array(9, tuple(Char(code) for code in b"a\0"))
    assert cut.to_json() == {"kind": "array", "len": 9, "chars": "a", "rendered": 2}
    assert read_value(cut.to_json()) == cut
    assert Array(0, ()).to_json() == {"kind": "array", "len": 0, "elements": []}


@pytest.mark.parametrize(
    "spoilt",
    [{"len": 1 << 40}, {"rendered": 1}, {"chars": 5}, {"chars": "\u0100"}, {"len": "6"}],
)
def test_a_hostile_text_is_refused(spoilt: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        read_value({"kind": "array", "len": 6, "chars": "abc", **spoilt})
