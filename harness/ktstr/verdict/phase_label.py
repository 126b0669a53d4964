# SPDX-License-Identifier: GPL-2.0-only
"""The phase that records made from here on belong to."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_CURRENT: ContextVar[str | None] = ContextVar("ktstr_phase_label", default=None)


def current_phase_label() -> str | None:
    """Label of the innermost :func:`phase_label` block; ``None`` outside of any."""
    return _CURRENT.get()


@contextmanager
def phase_label(label: object) -> Iterator[None]:
    """Put ``label`` (a :class:`~ktstr.metrics.phase.Phase`, or any text) on records made inside.

    Blocks nest, and each thread and task has its own.
    """
    token = _CURRENT.set(str(label))
    try:
        yield
    finally:
        _CURRENT.reset(token)
