# SPDX-License-Identifier: GPL-2.0-only
"""The first place where two runs part."""

from ktstr.session.difference import MAX_ROWS, Row, first_frame_difference, first_value_difference
from ktstr.wire import FrameWriter, MsgType, pack_payload


def sent(*frames: tuple[int, object]) -> bytes:
    out = bytearray()
    writer = FrameWriter(out.extend)
    for msg_type, fields in frames:
        writer.send(msg_type, fields if isinstance(fields, bytes) else pack_payload(fields))
    return bytes(out)


HELLO = (MsgType.HELLO, {"release": "7"})
REPORT = {"step": 1, "counts": {"a": 1, "b": 2}, "list": [1, 2], "samples": bytes(range(64))}


def test_the_same_bytes_have_no_difference() -> None:
    assert first_frame_difference(sent(HELLO), sent(HELLO)) is None


def test_the_first_frame_is_shown_by_the_fields_that_differ() -> None:
    other = {
        **REPORT,
        "counts": {"a": 1, "b": 3, "c": 4},
        "list": [1],
        "samples": bytes(range(32)) + bytes([255]) + bytes(range(33, 64)),
    }
    later = (MsgType.GOODBYE, {"reason": "done"})
    one = sent(HELLO, (MsgType.WORKER_REPORT, REPORT), later)
    two = sent(HELLO, (MsgType.WORKER_REPORT, other), (MsgType.GOODBYE, {"reason": "else"}))
    found = first_frame_difference(one, two)
    assert found is not None
    assert found.where == "frame 1, WORKER_REPORT"
    assert found.rows[:3] == (
        Row("counts.b", "2", "3"),
        Row("counts.c", "-", "4"),
        Row("list[1]", "2", "-"),
    )
    samples = found.rows[3]
    assert samples.key == "samples, from byte 32"
    assert samples.one.startswith("2021") and samples.other.startswith("ff21")
    assert len(found.rows) == 4


def test_a_frame_too_many_and_another_type_are_differences() -> None:
    short = first_frame_difference(sent(HELLO), sent(HELLO, (MsgType.GOODBYE, {"reason": "x"})))
    assert short is not None and short.where == "frame 1, - against GOODBYE"
    assert Row("reason", "-", "x") in short.rows
    kinds = first_frame_difference(sent((MsgType.AGENT_LOG, {})), sent((MsgType.AGENT_ERROR, {})))
    assert kinds is not None and kinds.where == "frame 0, AGENT_LOG against AGENT_ERROR"


def test_a_payload_that_is_no_map_is_shown_as_bytes() -> None:
    found = first_frame_difference(
        sent((MsgType.HELLO, b"\xc1abc")), sent((MsgType.HELLO, b"\xc1abd"))
    )
    assert found is not None
    assert found.rows == (Row("payload, from byte 3", "63", "64"),)


def test_bytes_between_frames_count_too() -> None:
    found = first_frame_difference(sent(HELLO) + b"\1", sent(HELLO) + b"\2")
    assert found is not None
    assert found.where == f"byte {len(sent(HELLO))}, outside of any frame"


def test_what_is_shown_has_an_end() -> None:
    one = {str(n): n for n in range(1000)}
    found = first_frame_difference(
        sent((MsgType.HELLO, one)), sent((MsgType.HELLO, {"x": "y" * 999}))
    )
    assert found is not None
    assert len(found.rows) == MAX_ROWS
    assert all(len(row.other) <= 120 for row in found.rows)


def test_records_differ_by_what_is_not_of_the_host() -> None:
    one = {"host": {"pid": 1}, "identity": "a", "metrics": {"x": 1.0}, "notes": ["n"]}
    assert first_value_difference(one, {**one, "host": {"pid": 2}, "identity": "b"}) is None
    found = first_value_difference(one, {**one, "metrics": {"x": 1.5}, "notes": []})
    assert found is not None
    assert (found.where, found.rows) == ("the record, metrics", (Row("metrics.x", "1.0", "1.5"),))
