# SPDX-License-Identifier: GPL-2.0-only
"""The BTF of kernels that this process has seen, indexed once.

To index a kernel's 6 MB takes 20 ms of CPU time, and finding the enumerators that readers need as
much again for each of them. Runs of one command share a kernel, so all but the first have it from
here. What is kept is found by the digest of every byte, so a guest can only get what it would have
got by itself.
"""

import hashlib
from collections import OrderedDict
from threading import Lock
from typing import Final

from ktstr.introspect.btf import Btf

MAX_KEPT: Final = 4
"""Kernels whose BTF is kept; a process that runs more of them indexes again."""


class KnownBtf:
    """Indexed blobs by digest, those used last; threads may share it."""

    def __init__(self, limit: int = MAX_KEPT) -> None:
        self._limit = limit
        self._kept: OrderedDict[str, Btf] = OrderedDict()
        self._lock = Lock()

    def indexed(self, raw: bytes) -> tuple[Btf, str]:
        """A blob's index, and its digest.

        :raises BtfInvalid: when it is malformed; nothing is kept of it then.
        """
        digest = digest_of(raw)
        with self._lock:
            found = self._kept.get(digest)
            if found is not None:
                self._kept.move_to_end(digest)
                return found, digest
        # Outside the lock: two threads may index the same, but nobody waits for another kernel.
        made = Btf(raw)
        with self._lock:
            made = self._kept.setdefault(digest, made)
            self._kept.move_to_end(digest)
            while len(self._kept) > self._limit:
                self._kept.popitem(last=False)
        return made, digest


def digest_of(raw: bytes) -> str:
    """What tells one blob from another."""
    return hashlib.blake2b(raw, digest_size=16).hexdigest()


KERNELS: Final = KnownBtf()
"""Those of this process."""
