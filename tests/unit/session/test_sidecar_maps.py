# SPDX-License-Identifier: GPL-2.0-only
"""Maps in a record: what is kept, what is left out with a word, and what comes back."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.series.canned import entries, entry, lazy, section

from ktstr.series.lazy import U32, LazyValue, RawBytes
from ktstr.series.maps import ArrayEntries, MapSnapshot, PerCpuEntry
from ktstr.series.sample import Sample, SampleSeries
from ktstr.series.snapshot import SchedExtState, Snapshot
from ktstr.series.values import Struct, Uint
from ktstr.session.sidecar.maps import MAX_BYTES, MAX_MAPS
from ktstr.session.sidecar.samples import read_sample, sample_record
from ktstr.telemetry.decode import Fields, RecordError


def snapshot(*maps: MapSnapshot, active: tuple[int, ...] | None = None) -> Snapshot:
    return Snapshot("6.99", maps, (), SchedExtState("enabled", ops="s"), active_maps=active)


def written(frozen: Snapshot) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(sample_record(Sample("x", snapshot=frozen))))
    return plain


def read(plain: dict[str, Any]) -> Snapshot:
    return read_sample(Fields(plain, "file")).taken()


def big(map_id: int, count: int, size: int = 124) -> MapSnapshot:
    data = b"".join(n.to_bytes(size, "little") for n in range(count))
    found = ArrayEntries(data, size, size, count, RawBytes())
    return MapSnapshot(f"big{map_id}", map_id, 2, "array", 4, size, count, entries=found)


def test_a_series_out_of_a_record_answers_as_before() -> None:
    slots = {0: lazy(Uint(64, 5)), 1: None}
    percpu = PerCpuEntry(lazy(Uint(32, 0)), slots)
    hashed = PerCpuEntry(LazyValue(b"\1\0\0\0", U32()), {3: lazy(Uint(64, 8))})
    frozen = snapshot(
        section("s.bss", 1, count=1),
        section("s.bss", 2, count=2),
        entries("tasks", 3, entry(4, ran=10), entry(6, ran=30)),
        MapSnapshot("pc", 4, 6, "percpu_array", 4, 8, 1, 0x44, percpu_entries=(percpu,)),
        MapSnapshot("ph", 5, 5, "percpu_hash", 4, 8, 1, percpu_hash_entries=(hashed,)),
        MapSnapshot("q", 6, 22, "queue", 0, 8, 1, error="not decoded"),
        MapSnapshot("ops", 7, 26, "struct_ops", 4, 8, 1, value=lazy(Struct("o", ()))),
        active=(2, 3),
    )
    plain = written(frozen)
    assert list(plain["globals"]) == ["s.bss", "s.bss#1"]  # the attached scheduler's first
    back = read(plain)
    assert written(back) == plain
    assert [m.id for m in back.maps] == list(range(1, 8))
    assert (back.var("count").as_u64(), back.active_maps) == (2, (2, 3))
    assert back.map("tasks").key(6).get("ran").as_u64() == 30
    assert back.map("pc").at(0).cpu(0).get() == Uint(64, 5)
    assert (back.map("pc").map_kva, back.map("q").error) == (0x44, "not decoded")
    assert back.map("ph").key(1).cpu(3).get() == Uint(64, 8)
    series = SampleSeries([Sample("a", 1, snapshot=back), Sample("b", 2, snapshot=frozen)])
    for field in (
        series.bpf_live_u64("count"),
        series.bpf_map("tasks").at(1).field_u64("ran"),
        series.bpf_map("pc").field_cpu_sum_u64(),
    ):
        one, other = field.values_iter()
        assert one == other and isinstance(one, int), field.label
    assert back.to_json() == frozen.to_json()


def test_a_large_map_is_cut_and_says_so_after_the_attached_schedulers() -> None:
    whole = MAX_BYTES // 128
    back = read(written(snapshot(big(1, 40), big(2, 10), active=(2,))))
    assert len(back.map("big2")) == 10 and back.map("big2").truncated is None
    kept = whole - 10
    assert len(back.map("big1")) == kept
    assert back.map("big1").truncated == f"the record keeps the first {kept} of 40 entries"
    assert back.map("big1").at(3).value.data[:2] == b"\3\0"
    mixed = read(written(snapshot(big(1, 40), big(2, 3), active=(1, 2))))
    assert len(mixed.map("big2")) == 3 and len(mixed.map("big1")) == whole - 3
    large = MapSnapshot("o", 1, 26, "struct_ops", 4, 8, 1, value=LazyValue(bytes(99999), U32()))
    assert read(written(snapshot(large))).map("o").error == "its contents are not in the record"


def test_of_very_many_maps_the_first_are_kept() -> None:
    many = [section(f"m{n}", n, x=n) for n in range(MAX_MAPS + 5)]
    back = read(written(snapshot(*many, active=(MAX_MAPS + 4,))))
    assert len(back.maps) == MAX_MAPS and back.maps[-1].id == MAX_MAPS + 4


def _damage(path: str, value: object) -> Callable[[dict[str, Any]], None]:
    def apply(plain: dict[str, Any]) -> None:
        *parts, last = path.split(".")
        target: Any = plain
        for part in parts:
            target = target[int(part)] if part.isdecimal() else target[part]
        target[last] = value

    return apply


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("globals", [], "field 'globals' is"),
        ("globals", {"s.bss": 5}, r"maps\[0\]\.globals' is '5 is no rendered value'"),
        ("maps.0.globals", "other", r"maps\[0\]\.globals"),
        ("maps.0.id", -1, r"maps\[0\]\.id"),
        ("maps.0.extra", 1, r"maps\[0\]\.extra"),
        ("maps.1.entries.0.key", {"kind": "no"}, r"entries\[0\]\.key"),
        ("maps.2.percpu_entries.0.per_cpu", {"x": None}, r"per_cpu"),
        ("active_maps", ["1"], "active_maps"),
        ("active_maps", 5, "active_maps"),
    ],
)
def test_a_damaged_record_is_refused_with_the_field(path: str, value: object, words: str) -> None:
    percpu = PerCpuEntry(lazy(Uint(32, 0)), {0: lazy(Uint(64, 5))})
    plain = written(
        snapshot(
            section("s.bss", 1, count=1),
            entries("tasks", 3, entry(4, ran=10)),
            MapSnapshot("pc", 4, 6, "percpu_array", 4, 8, 1, percpu_entries=(percpu,)),
        )
    )
    _damage(path, value)(plain)
    with pytest.raises(RecordError, match=words):
        read_sample(Fields(plain, "file"))
