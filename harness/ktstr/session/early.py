# SPDX-License-Identifier: GPL-2.0-only
"""Looking into a guest that continues a template before its QEMU has come up.

Its RAM is in place tens of milliseconds before QEMU has started, and finding the kernel in it takes
as long: done one after the other, that was half of the time from the request to ScenarioStart.
"""

from contextlib import suppress

from platformdirs import user_cache_path

from ktstr.errors import ChannelLost
from ktstr.introspect import Kernel, attach
from ktstr.session.hello import Hello
from ktstr.vm.ram import GuestRam
from ktstr.wire import FrameDecoder, MsgType


class EarlyLook:
    """What the memory of a continued guest shows; empty until it was looked into.

    :param frames: every byte that the guest had sent when it was saved.
    :ivar kernel: the kernel, where it was found.
    """

    def __init__(self, frames: bytes) -> None:
        self.kernel: Kernel | None = None
        self._note = _vmcoreinfo(frames)

    def look(self, ram: GuestRam) -> None:
        """Find the kernel; blocks. What cannot be found, who needs it will miss with a reason."""
        if self._note is None:
            return
        try:
            self.kernel = attach(ram, self._note, cache_dir=user_cache_path("ktstr"))
        except Exception:  # guest memory may hold anything, so reading it may raise anything
            self.kernel = None


def _vmcoreinfo(frames: bytes) -> tuple[int, int] | None:
    for frame in FrameDecoder().feed(frames):
        if frame.msg_type == MsgType.HELLO:
            with suppress(ChannelLost):
                return Hello.from_payload(frame.payload).vmcoreinfo
    return None
