# SPDX-License-Identifier: GPL-2.0-only
"""What a guest tells that nobody judges any more, in sentences."""

from typing import Final

from ktstr.wire import Frame, MsgType, Stimulus, WireError, unpack_map
from ktstr.wire.messages import take_str

_MOMENTS: Final = {
    MsgType.STEP_START: "step {} begins",
    MsgType.STEP_END: "step {} ends",
    MsgType.SCENARIO_END: "the scenario ends",
}
_TEXTS: Final = {
    MsgType.GOODBYE: ("reason", "goodbye"),
    MsgType.AGENT_ERROR: ("text", "the agent failed"),
}
_LONGEST: Final = 1 << 20


def sentence(frame: Frame) -> str | None:
    """What one frame says, for a person; ``None`` for what is a part of the figures.

    Nothing in it is escaped.
    """
    try:
        if frame.msg_type in _MOMENTS:
            told = Stimulus.from_payload(frame.payload)
            return _MOMENTS[frame.msg_type].format(told.step_index)
        if frame.msg_type in _TEXTS:
            key, what = _TEXTS[frame.msg_type]
            return f"{what}: {take_str(unpack_map(frame.payload), key, _LONGEST)}"
    except WireError as error:
        return f"a frame that cannot be read: {error}"
    return "the scheduler has left" if frame.msg_type == MsgType.SCHEDULER_EXIT else None
