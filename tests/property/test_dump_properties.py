# SPDX-License-Identifier: GPL-2.0-only
"""Failure dumps survive their way through JSON, and damaged ones are refused, never half-read."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ktstr.series.dump.codec import DumpInvalid
from ktstr.series.dump.parts import DsqState, Frame, StackTrace, TaskState, VcpuRegisters
from ktstr.series.dump.report import (
    AT_END,
    AT_EXIT,
    AnyDump,
    DegradedFailureDumpReport,
    EventCounterSample,
    FailureDumpReport,
    dump_from_text,
)
from ktstr.series.dump.text import dump_text
from ktstr.series.host import HostReading, PerCpuTime
from ktstr.series.lazy import LazyValue
from ktstr.series.maps import Entry, MapSnapshot, PerCpuEntry
from ktstr.series.snapshot import CpuSnapshot, SchedExtState, Snapshot
from ktstr.series.values import Array, Char, Enum, RenderedValue, Struct, Uint
from ktstr.series.values_json import Recorded

TEXT = st.text(max_size=8)
U64 = st.integers(0, (1 << 64) - 1)
SMALL = st.integers(0, 5)
MS = st.floats(0, 1e9) | st.integers(0, 10**6)
VALUES: st.SearchStrategy[RenderedValue] = st.recursive(
    st.builds(Uint, st.just(64), U64)
    | st.builds(Enum, st.just(32), SMALL, st.none() | TEXT)
    | st.builds(Array, st.just(2), st.tuples(st.builds(Char, SMALL), st.builds(Char, SMALL))),
    lambda inner: st.builds(
        Struct, st.none() | TEXT, st.lists(st.tuples(TEXT, inner), max_size=2).map(tuple)
    ),
    max_leaves=4,
)
LAZY = VALUES.map(lambda value: LazyValue(b"", Recorded(value)))


def many(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(strategy, max_size=2).map(tuple)


CONTENTS = st.one_of(
    st.fixed_dictionaries({"value": LAZY}),
    st.fixed_dictionaries({"entries": many(st.builds(Entry, LAZY, LAZY))}),
    st.fixed_dictionaries(
        {
            "percpu_entries": many(
                st.builds(PerCpuEntry, LAZY, st.dictionaries(SMALL, st.none() | LAZY, max_size=2))
            )
        }
    ),
    st.fixed_dictionaries({"error": TEXT}),
)
MAPS = st.tuples(TEXT, CONTENTS, U64).map(
    lambda drawn: MapSnapshot(drawn[0], 3, 2, "array", 4, 8, 1, drawn[2], **drawn[1])
)
SNAPSHOTS = st.builds(
    Snapshot,
    release=TEXT,
    maps=many(MAPS),
    cpus=many(st.builds(CpuSnapshot, SMALL, st.none() | SMALL, curr_comm=st.none() | TEXT)),
    sched_ext=st.builds(
        SchedExtState,
        state=st.none() | TEXT,
        exit_kind=st.none() | SMALL,
        exit_message=st.none() | TEXT,
        events=st.none() | st.dictionaries(TEXT, SMALL, max_size=2),
    ),
    unavailable=st.dictionaries(TEXT, TEXT, max_size=2),
    active_maps=st.none() | many(SMALL),
    host=st.builds(HostReading, many(st.builds(PerCpuTime, SMALL, user_ns=U64))),
)
TRACES = st.builds(
    StackTrace,
    SMALL,
    TEXT,
    st.sampled_from(["task", "vcpu"]),
    many(st.builds(Frame, U64, st.none() | TEXT, st.sampled_from(["orc", "scan"]))),
    st.none() | TEXT,
)
SINGLE = st.builds(
    FailureDumpReport,
    reason=TEXT,
    trigger=st.sampled_from([AT_END, AT_EXIT]),
    elapsed_ms=MS,
    snapshot=st.none() | SNAPSHOTS,
    tasks=many(
        st.builds(TaskState, SMALL, SMALL, TEXT, runnable_ms=st.none() | MS, dsq_id=st.none() | U64)
    ),
    queues=many(st.builds(DsqState, TEXT, U64, pids=many(SMALL), node=st.none() | SMALL)),
    registers=many(
        st.builds(
            VcpuRegisters, SMALL, halted=st.none() | st.booleans(), values=st.just({"rip": 7})
        )
    ),
    traces=many(TRACES),
    timeline=many(st.builds(EventCounterSample, MS, st.dictionaries(TEXT, SMALL, max_size=2))),
    unavailable=st.dictionaries(TEXT, TEXT, max_size=2),
    took_us=st.none() | SMALL,
)
DUMPS: st.SearchStrategy[AnyDump] = st.one_of(
    SINGLE,
    st.builds(FailureDumpReport.placeholder, TEXT),
    st.builds(DegradedFailureDumpReport, TEXT, MS, st.none() | SMALL, st.booleans()),
)


@given(DUMPS)
def test_what_was_written_is_read(dump: AnyDump) -> None:
    text = json.dumps(dump.to_json(), allow_nan=False)
    back = dump_from_text(text)
    assert type(back) is type(dump)
    assert back.to_json() == json.loads(text)
    assert dump_text(back) == dump_text(dump)
    if isinstance(dump, FailureDumpReport) and isinstance(back, FailureDumpReport):
        for name in ("tasks", "queues", "registers", "traces", "timeline", "unavailable"):
            assert getattr(back, name) == getattr(dump, name)
        if dump.snapshot is not None and back.snapshot is not None:
            assert back.snapshot.cpus == dump.snapshot.cpus
            assert back.snapshot.sched_ext == dump.snapshot.sched_ext
            assert back.snapshot.active_maps == dump.snapshot.active_maps
            assert back.snapshot.host == dump.snapshot.host
            assert [m.name for m in back.snapshot.maps] == [m.name for m in dump.snapshot.maps]


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)


def places(plain: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document."""
    found = [path] if path else []
    if isinstance(plain, dict | list):
        for key, inner in plain.items() if isinstance(plain, dict) else enumerate(plain):
            found += places(inner, (*path, key))
    return found


@given(SINGLE, st.data(), JUNK)
def test_a_damaged_dump_is_refused_or_whole(
    dump: FailureDumpReport, data: st.DataObject, junk: Any
) -> None:
    plain = json.loads(json.dumps(dump.to_json()))
    *above, last = data.draw(st.sampled_from(places(plain)))
    holder = plain
    for key in above:
        holder = holder[key]
    holder[last] = junk
    try:
        back = dump_from_text(json.dumps(plain))
    except DumpInvalid as error:
        assert error.message
        return
    text = dump_text(back)
    assert not any(ord(char) < 32 and char != "\n" for char in text)
    assert dump_from_text(json.dumps(back.to_json(), allow_nan=True)).to_json() == back.to_json()


@given(TEXT)
def test_text_that_is_no_dump_is_refused(text: str) -> None:
    for candidate in (text, json.dumps(text), "[" * 100_000, json.dumps({"schema": text})):
        try:
            dump_from_text(candidate)
        except DumpInvalid:
            continue
        raise AssertionError(candidate)
