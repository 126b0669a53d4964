# SPDX-License-Identifier: GPL-2.0-only
"""Visits hold what the guest sends against the record, and know a memory by its digest."""

import hashlib
import os
from pathlib import Path

import pytest

from ktstr.session.options import RunOptions
from ktstr.session.past import Begin, NotVisitable, Past
from ktstr.session.visit import FIRMWARE, memory_digest, same_so_far, same_to_the_end
from ktstr.wire import FrameWriter, MsgType, Stimulus, pack_payload


def sent(*parts: tuple[int, int, int]) -> bytes:
    """Frames of a guest: a log line, then starts and ends of steps."""
    taken = bytearray()
    writer = FrameWriter(taken.extend)
    writer.send(MsgType.AGENT_LOG, pack_payload({"ms": 1, "text": "hi"}))
    for number, (step, elapsed_ms, iterations) in enumerate(parts):
        kind = MsgType.STEP_END if number % 2 else MsgType.STEP_START
        stimulus = Stimulus(step_index=step, elapsed_ms=elapsed_ms, total_iterations=iterations)
        writer.send(kind, stimulus.to_payload())
    return bytes(taken)


MOMENTS = ((1, 0, 0), (1, 300, 40), (2, 300, 0))
WHOLE = sent(*MOMENTS)


def past(frames: Path | None = None) -> Past:
    return Past(
        sidecar=Path("x-1.ktstr.json"),
        scenario=Path("x.toml"),
        options=RunOptions(),
        seed=1,
        begins=(Begin(1, 0, 5000),),
        end_ms=500,
        moments=MOMENTS,
        qemu="",
        plan="",
        kernel="",
        image="",
        frames_sha256=hashlib.sha256(WHOLE).hexdigest(),
        frames=frames,
    )


def test_kept_frames_prove_every_byte(tmp_path: Path) -> None:
    kept = tmp_path / "frames.bin"
    kept.write_bytes(WHOLE)
    assert same_so_far(past(kept), WHOLE[:77]) == "77 bytes, all as recorded"
    other = sent((1, 0, 0), (1, 300, 41))
    with pytest.raises(
        NotVisitable, match=r"not the one that x-1 records: frame 2, STEP_END differs"
    ):
        same_so_far(past(kept), other)


def test_without_them_the_starts_and_ends_of_steps_do() -> None:
    begun = sent(*MOMENTS[:2])
    assert same_so_far(past(), begun + WHOLE[len(begun) :][:9]) == (
        "2 starts and ends of steps, as recorded"
    )
    for other in ((1, 0, 1), (1, 1, 0), (2, 0, 0)):
        with pytest.raises(NotVisitable, match="not the one that x-1 records"):
            same_so_far(past(), sent(other))
    with pytest.raises(NotVisitable):
        same_so_far(past(), sent(*MOMENTS, (2, 400, 9)))


def test_a_run_that_ended_is_known_by_its_digest(tmp_path: Path) -> None:
    same_to_the_end(past(), WHOLE)
    with pytest.raises(NotVisitable):
        same_to_the_end(past(), WHOLE[:-1])
    kept = tmp_path / "frames.bin"
    kept.write_bytes(WHOLE)
    with pytest.raises(NotVisitable, match="frame 3"):
        same_to_the_end(past(kept), sent(*MOMENTS[:2]))


def test_the_digest_of_memory_is_of_all_nodes_but_not_of_the_firmwares() -> None:
    fds = [os.memfd_create("a"), os.memfd_create("b")]
    try:
        for fd in fds:
            os.ftruncate(fd, 3 * FIRMWARE)
        empty = hashlib.sha256(bytes(5 * FIRMWARE)).hexdigest()
        assert memory_digest(fds) == empty
        os.pwrite(fds[0], b"x", FIRMWARE - 1)
        assert memory_digest(fds) == empty
        os.pwrite(fds[1], b"x", 0)
        one = memory_digest(fds)
        assert one != empty
        os.pwrite(fds[0], b"x", FIRMWARE)
        assert memory_digest(fds) not in (one, empty)
    finally:
        for fd in fds:
            os.close(fd)
