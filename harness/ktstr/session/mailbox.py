# SPDX-License-Identifier: GPL-2.0-only
"""Writing a plan, or what is to be ready before one, into the guest's mailbox, through guest RAM.

Layout: ``guest/agent/mailbox.py``. The pages need not be adjacent; the payload follows
the header in the order the agent announced them.
"""

import binascii
import struct
from collections.abc import Sequence
from typing import Protocol

from ktstr.errors import ChannelLost, DefinitionInvalid, Problem

PAGE = 4096
MAX_PAGES = 1024
MAGIC = 0x584F424C49414D4B
HEADER = struct.Struct("<QIIIIQ")
EMPTY, RUNG = 0, 1


class WritableMemory(Protocol):
    """Guest-physical memory the host can write."""

    def read(self, address: int, size: int) -> bytes: ...

    def write(self, address: int, data: bytes) -> None: ...


def ring(
    memory: WritableMemory,
    pages: Sequence[int],
    payload: bytes,
    wall_ns: int,
    entropy: bytes = b"",
) -> None:
    """Deliver ``payload`` and wake the agent.

    :param pages: physical addresses from Hello, untrusted.
    :param wall_ns: the host's wall clock, which the guest takes over; 0 leaves it alone.
    :param entropy: random bytes for the guest's kernel; clones of one guest need different ones.
    :raise ChannelLost: when the announced pages hold no waiting mailbox.
    :raise DefinitionInvalid: when the plan is larger than the mailbox.
    """
    room = len(pages) * PAGE - HEADER.size - len(entropy)
    if len(payload) > room:
        problem = Problem(
            "the plan", None, "steps", f"{len(payload)} bytes of plan", f"at most {room} bytes"
        )
        raise DefinitionInvalid([problem], hint="split the scenario into several files")
    try:
        magic, state, *_ = HEADER.unpack(memory.read(pages[0], HEADER.size))
        if magic != MAGIC or state != EMPTY:
            raise ChannelLost(
                f"guest memory at {pages[0]:#x} is not a waiting mailbox "
                f"(magic {magic:#x}, state {state})"
            )
        content = entropy + payload
        crc = binascii.crc32(content)
        header = HEADER.pack(MAGIC, EMPTY, len(payload), crc, len(entropy), wall_ns)
        body = header + content
        for index in range(0, len(body), PAGE):
            memory.write(pages[index // PAGE], body[index : index + PAGE])
        # Last, so that the agent never sees half a plan.
        memory.write(pages[0] + 8, struct.pack("<I", RUNG))
    except (ValueError, IndexError) as error:
        raise ChannelLost(f"the guest announced an impossible mailbox: {error}") from error
