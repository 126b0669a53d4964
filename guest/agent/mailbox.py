# SPDX-License-Identifier: GPL-2.0-only
"""The mailbox: pages of this process that the host fills through guest RAM.

The agent announces their physical addresses in Hello and waits. The host writes the
payload, then the header with state ``RUNG``. No byte travels over a device, so a clone
of a waiting guest is a guest that waits. It can be waited at more than once: what the
guest is to get ready may come before the plan.
"""

from __future__ import annotations

import binascii
import mmap
import os
import struct
import time

from agent.system import write_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = 4096
PAGES = 64
MAGIC = 0x584F424C49414D4B  # "KMAILBOX" read as a little-endian integer
HEADER = struct.Struct("<QIIIIQ")
"""magic, state, payload length, crc32 of all that follows, length of the entropy in front of the
payload, host wall clock in ns."""
EMPTY, RUNG, TAKEN = 0, 1, 2
POLL_S = 0.004

DELIVERED = "/ktstr/plan"
"""Where the plan lies when it came with the guest's image."""

_NAME = "ktstr-mailbox"
_MAP_POPULATE = 0x8000
_MAP_LOCKED = 0x2000


def delivered() -> bytes | None:
    """The plan that came with the image; None when it comes through the mailbox.

    A guest with a virtual clock must hear nothing from the host, whose time would be in it.
    """
    try:
        with open(DELIVERED, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


class Mailbox:
    """Locked pages with known physical addresses; one payload at a time arrives in them.

    :ivar entropy: random bytes that came with the last payload; empty when none did.
    """

    def __init__(self) -> None:
        # Compaction would move the pages after their addresses were announced.
        try:
            write_text("/proc/sys/vm/compact_unevictable_allowed", "0")
        except FileNotFoundError:
            pass  # a kernel without compaction moves nothing
        fd = os.memfd_create(_NAME)
        os.ftruncate(fd, PAGES * PAGE)
        self._memory = mmap.mmap(
            fd, PAGES * PAGE, flags=mmap.MAP_SHARED | _MAP_POPULATE | _MAP_LOCKED
        )
        os.close(fd)
        self.entropy = b""
        self.empty()

    def empty(self) -> None:
        """Be ready for a payload; announce it only afterwards."""
        self._memory[: HEADER.size] = HEADER.pack(MAGIC, EMPTY, 0, 0, 0, 0)

    def rung(self) -> bool:
        """Whether a payload is there."""
        return bool(HEADER.unpack_from(self._memory)[1] == RUNG)

    def pages(self) -> list[int]:
        """Physical address of each page, in order.

        :raise OSError: when /proc/self/pagemap hides them (the agent is not root).
        """
        start = self._virtual_address()
        fd = os.open("/proc/self/pagemap", os.O_RDONLY)
        try:
            raw = os.pread(fd, 8 * PAGES, start // PAGE * 8)
        finally:
            os.close(fd)
        frames = [entry & ((1 << 55) - 1) for entry in struct.unpack(f"<{PAGES}Q", raw)]
        if not all(frames):
            raise OSError("the kernel does not reveal physical addresses in /proc/self/pagemap")
        return [frame * PAGE for frame in frames]

    def _virtual_address(self) -> int:
        # mmap objects do not tell their address, but the map carries the memfd's name.
        with open("/proc/self/maps", encoding="ascii") as maps:
            for line in maps:
                if _NAME in line:
                    return int(line.partition("-")[0], 16)
        raise OSError("the mailbox pages are not in /proc/self/maps")

    def wait(self, pause: Callable[[], object] = lambda: time.sleep(POLL_S)) -> tuple[bytes, int]:
        """The payload and the host's wall clock (ns), once the host has rung.

        Waits without a deadline: a template guest waits here for as long as it is kept.

        :param pause: what to do between two looks.
        :raise ValueError: when length or checksum do not fit.
        """
        while not self.rung():
            pause()
        magic, _, length, crc, entropy, wall_ns = HEADER.unpack_from(self._memory)
        if magic != MAGIC or entropy + length > PAGES * PAGE - HEADER.size:
            raise ValueError(f"mailbox header is damaged: magic {magic:#x}, length {length}")
        body = self._memory[HEADER.size : HEADER.size + entropy + length]
        if binascii.crc32(body) != crc:
            raise ValueError("mailbox payload does not match its checksum")
        self._memory[8:12] = struct.pack("<I", TAKEN)
        self.entropy = body[:entropy]
        return body[entropy:], wall_ns
