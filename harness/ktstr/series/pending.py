# SPDX-License-Identifier: GPL-2.0-only
"""A snapshot that is copied and not yet decoded: decoding can wait until no guest needs the CPU."""

from collections.abc import Callable
from threading import Lock

from ktstr.series.snapshot import Snapshot


class Pending:
    """Copied bytes that become a :class:`Snapshot` when first asked for.

    :param decode: makes the snapshot; called once.
    :param maps: how many maps it will have.
    """

    __slots__ = ("_decode", "_lock", "_snapshot", "maps")

    def __init__(self, decode: Callable[[], Snapshot], maps: int) -> None:
        self.maps = maps
        self._decode: Callable[[], Snapshot] | None = decode
        self._snapshot: Snapshot | None = None
        self._lock = Lock()

    def snapshot(self) -> Snapshot:
        """The snapshot; any thread may ask.

        :raises Exception: whatever decoding raises; it is tried again when asked again.
        """
        with self._lock:
            if self._snapshot is None:
                assert self._decode is not None, "it is dropped only once there is a snapshot"
                self._snapshot = self._decode()
                self._decode = None
            return self._snapshot
