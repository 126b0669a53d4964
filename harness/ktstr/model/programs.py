# SPDX-License-Identifier: GPL-2.0-only
"""Which scheduler and which payloads run at every point of a scenario."""

from collections.abc import Callable

from ktstr.model.locate import KeyPath


class Programs:
    """The state of the programs beside the workers while a scenario is walked.

    :param attached: whether a scheduler of ktstr's is attached at the start.
    :param report: takes a mistake, where and what would be allowed.
    """

    def __init__(self, attached: bool, report: Callable[[KeyPath, str], None]) -> None:
        self._own = self._attached = attached
        self._report = report
        self._payloads: dict[str, bool] = {}

    def attach(self, at: KeyPath, scheduler_at: KeyPath, *, own: bool) -> None:
        """Start a scheduler; ``own`` is the scenario's."""
        if self._attached:
            self._report(at, "DetachScheduler before it, or ReplaceScheduler: one is attached")
        elif own and not self._own:
            self._report(scheduler_at, "the scheduler to attach: the scenario has none of its own")
        self._attached = True

    def detach(self, at: KeyPath) -> None:
        """End the scheduler."""
        self.need_scheduler(at)
        self._attached = False

    def need_scheduler(self, at: KeyPath) -> None:
        """Report when none is attached."""
        if not self._attached:
            self._report(at, "AttachScheduler before it: no scheduler of ktstr's is attached here")

    def run(self, name: str, at: KeyPath, *, permanent: bool) -> None:
        """Start a payload."""
        if name in self._payloads:
            self._report(at, f"a name that no running payload has: {', '.join(self._payloads)}")
        self._payloads[name] = permanent

    def end(self, name: str, at: KeyPath) -> None:
        """Wait for a payload, or kill it."""
        if name not in self._payloads:
            names = ", ".join(self._payloads) or "none"
            self._report(at, f"a payload that RunPayload started before this op (here: {names})")
        self._payloads.pop(name, None)

    def end_step(self) -> None:
        """Kill the step's payloads; the Backdrop's run on."""
        self._payloads = {name: True for name, permanent in self._payloads.items() if permanent}
