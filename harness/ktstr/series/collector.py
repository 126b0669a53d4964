# SPDX-License-Identifier: GPL-2.0-only
"""Building large trees of plain data without Python's cyclic collector looking at them.

A snapshot's plain form is half a million containers, none in a cycle; the collector would walk
the growing tree again and again, which takes four times as long as building it.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_lock = Lock()
_holders = 0
_was_enabled = False


@contextmanager
def uncollected() -> Iterator[None]:
    """The collector is off inside, for the whole process; nests, from any number of threads."""
    global _holders, _was_enabled
    with _lock:
        if not _holders:
            _was_enabled = gc.isenabled()
            gc.disable()
        _holders += 1
    try:
        yield
    finally:
        with _lock:
            _holders -= 1
            if not _holders and _was_enabled:
                gc.enable()
