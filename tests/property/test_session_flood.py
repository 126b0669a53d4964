# SPDX-License-Identifier: GPL-2.0-only
"""A guest that sends anything at all: it is recorded within bounds, judged, and written down."""

import tempfile
from pathlib import Path

import msgpack
from hypothesis import given, settings
from hypothesis import strategies as st

from ktstr.errors import ExitCode
from ktstr.series.sample import SampleSeries
from ktstr.session.judge import Expectations, judge
from ktstr.session.record import RunRecord
from ktstr.session.recorder import NOTE_CHARS, NOTES_CAP, STATUS_CAP, Recorder
from ktstr.session.sidecar.read import read_sidecar
from ktstr.session.sidecar.write import sidecar_text, write_sidecar
from ktstr.telemetry import WorkerReport
from ktstr.verdict import Assert
from ktstr.wire import Frame, MsgType
from ktstr.wire.messages import STIMULUS_LIMITS

U64 = st.integers(0, 2**64 - 1)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text(max_size=20)
    | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8) | st.integers(0, 9), inner, max_size=4)
    ),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["event", "ops", "record", "error", "during", "process", "kind", "reason", "text", "ms"]
)
STIMULI = st.fixed_dictionaries(
    {name: st.integers(0, most) for name, most in STIMULUS_LIMITS.items()}
) | st.fixed_dictionaries(
    {**{name: st.integers(0, 40) for name in STIMULUS_LIMITS}, "step_index": st.integers(0, 3)}
)
REPORTS = st.builds(
    lambda step, iterations, wall, off, gap, worker: {
        "step": step,
        "cgroup": "left",
        "group_idx": 0,
        "work_idx": 0,
        "worker": worker,
        "work_type": "SpinWait",
        "report": WorkerReport(
            iterations=iterations, wall_time_ns=wall, off_cpu_ns=off, max_gap_ms=gap
        ).to_wire(),
    },
    st.integers(0, 3),
    U64,
    U64,
    U64,
    U64,
    st.integers(0, 9),
)
PAYLOADS = st.binary(max_size=64) | (
    st.dictionaries(NAMES, VALUES, max_size=6) | STIMULI | REPORTS
).map(msgpack.packb)
TYPES = sorted(value for name, value in vars(MsgType).items() if name.isupper())
FRAMES = st.lists(st.tuples(st.sampled_from([*TYPES, 0x41414141]), PAYLOADS), max_size=40)
CHECKS = Assert.from_checks(
    {
        "not_starved": True,
        "isolation": True,
        "max_gap_ms": 100,
        "max_spread_pct": 10.0,
        "min_iteration_rate": 1.0,
    }
)


@settings(max_examples=200)
@given(frames=FRAMES, attached=st.booleans())
def test_whatever_a_guest_sends_there_is_a_record(
    frames: list[tuple[int, bytes]], attached: bool
) -> None:
    recorder = Recorder({(step, "left"): 2 for step in range(4)})
    if attached:
        recorder.attached_at = 0.0
    for number, (kind, payload) in enumerate(frames):
        recorder.on_frame(Frame(kind, number, payload), float(number))
    cpusets = {(1, "left"): frozenset({0})}
    expected = Expectations(CHECKS, cpusets, steps=3, snapshots=1)
    result = judge(recorder, SampleSeries.empty(), expected)
    assert result.outcomes, "silence is no verdict"
    facts = {"statuses": recorder.statuses, "notes": recorder.notes}
    record = RunRecord("id", "any", ExitCode.FAIL, result, reports=recorder.reports, facts=facts)
    record.events, record.expected_nodes = recorder.events, expected.expected_nodes()
    with tempfile.TemporaryDirectory() as folder:
        back = read_sidecar(write_sidecar(Path(folder), record))
    assert (back.result, back.reports, back.events) == (result, record.reports, record.events)
    assert back.fold_again() == result.stats
    assert sidecar_text(back) == sidecar_text(record)


def test_a_flood_of_bad_frames_leaves_room_for_the_notes_of_the_harness() -> None:
    recorder = Recorder({})
    junk = msgpack.packb({"reason": "x" * 100_000})
    for number in range(10 * NOTES_CAP):
        recorder.on_frame(Frame(MsgType.GOODBYE, number, junk), 0.0)
    recorder.note("the bulk port carried damage")
    assert len(recorder.notes) == NOTES_CAP + 1
    assert recorder.notes[-1] == "the bulk port carried damage"
    assert "were dropped" in recorder.notes[-2]
    assert max(map(len, recorder.notes)) <= NOTE_CHARS


def test_statuses_stay_small_and_few() -> None:
    recorder = Recorder({})
    large = msgpack.packb({"event": "attached", "ops": "x" * STATUS_CAP})
    recorder.on_frame(Frame(MsgType.SCHEDULER_STATUS, 0, large), 0.0)
    assert recorder.statuses == [] and recorder.attached_at is None
    for number in range(500):
        recorder.on_frame(Frame(MsgType.SCHEDULER_STATUS, number, b"\x80"), 0.0)
    assert len(recorder.statuses) == 64


def test_the_first_hello_and_the_first_exit_stand() -> None:
    recorder = Recorder({})
    first, second = (msgpack.packb({"during": during}) for during in ("load", "shutdown"))
    for payload in (first, second):
        recorder.on_frame(Frame(MsgType.SCHEDULER_EXIT, 0, payload), 0.0)
        recorder.on_frame(Frame(MsgType.HELLO, 0, payload), 0.0)
    assert recorder.scheduler_exit is not None and recorder.scheduler_exit.during == "load"
    assert recorder.hello is None and recorder.bad_hello is not None
    assert [note.rpartition(": ")[2] for note in recorder.notes] == [
        "a second exit of the scheduler; the first one stands",
        "a second Hello; the first one stands",
    ]


def test_unknown_types_are_counted_not_kept() -> None:
    recorder = Recorder({})
    for number in range(3):
        recorder.on_frame(Frame(0x5A5A5A5A, number, b"x" * 100), 0.0)
    assert recorder.unknown_frames == 3
    assert recorder.notes == []
