# SPDX-License-Identifier: GPL-2.0-only
"""What a resumed guest's frames say to a person."""

import pytest

from ktstr.session.onlooker import sentence
from ktstr.wire import Frame, MsgType, Stimulus, pack_payload


@pytest.mark.parametrize(
    "msg_type, payload, words",
    [
        (MsgType.STEP_START, Stimulus(step_index=2).to_payload(), "step 2 begins"),
        (MsgType.STEP_END, Stimulus(step_index=1).to_payload(), "step 1 ends"),
        (MsgType.SCENARIO_END, Stimulus().to_payload(), "the scenario ends"),
        (MsgType.GOODBYE, pack_payload({"reason": "done"}), "goodbye: done"),
        (MsgType.AGENT_ERROR, pack_payload({"text": "no"}), "the agent failed: no"),
        (MsgType.SCHEDULER_EXIT, b"anything", "the scheduler has left"),
        (MsgType.WORKER_REPORT, b"anything", None),
        (MsgType.STEP_END, b"\xc1", "a frame that cannot be read: payload is not msgpack"),
        (MsgType.GOODBYE, pack_payload({}), "a frame that cannot be read: field 'reason'"),
    ],
)
def test_frames_in_words(msg_type: int, payload: bytes, words: str | None) -> None:
    told = sentence(Frame(msg_type, 0, payload))
    assert told == words if words is None else told is not None and told.startswith(words)
