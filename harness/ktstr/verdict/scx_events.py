# SPDX-License-Identifier: GPL-2.0-only
"""Bounds on the kernel's sched_ext event counters (reference-06 section 6.1)."""

from collections.abc import Iterable

from ktstr.verdict.detail import AssertDetail, DetailKind
from ktstr.verdict.result import AssertResult


def assert_scx_events_clean(
    events: Iterable[tuple[str, int | None]], max_count: int | None = None
) -> AssertResult:
    """Whether no counter grew beyond a bound; one detail for each that did.

    :param events: counters by name, as ``ScxEventsView.total_pairs`` gives them; choose among them,
        as several grow under any scheduler. One the kernel does not count cannot be judged.
    :param max_count: what is allowed; without it, nothing.
    """
    bound = 0 if max_count is None else max_count
    result = AssertResult()
    for name, count in events:
        if count is None:
            words = f"{name}: this kernel does not count it"
            result.record_inconclusive(AssertDetail(DetailKind.SCHEDULER_EVENT, words))
        elif count < 0:
            words = f"{name} is {count}: a counter that was damaged"
            result.record_fail(AssertDetail(DetailKind.SCHEDULER_EVENT, words))
        elif count > bound:
            words = f"{name} is {count}, at most {bound} allowed"
            result.record_fail(AssertDetail(DetailKind.SCHEDULER_EVENT, words))
        else:
            result.record_pass()
    return result
