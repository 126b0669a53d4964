# SPDX-License-Identifier: GPL-2.0-only
"""A run's lease of the host's CPUs: it covers the time in which its guest's vCPUs run.

A guest that stands, because it waits for its turn or because its scenario is over, needs memory
only. What starts QEMU, judges and writes runs beside the guests of others, but a guest runs only
under a lease.
"""

import time


class Lease:
    """The lease of a run that has the host to itself; others wait in :meth:`_granted`.

    :cvar shared: whether others may have to be waited for.
    :cvar crowded: whether its CPUs may be those of others of its pool.
    :cvar crowd: the process of that pool, where it is another; 0: this one.
    :ivar waited_s: how long it has waited for CPUs, seconds.
    """

    shared = False
    crowded = False
    crowd = 0

    def __init__(self) -> None:
        self.waited_s = 0.0
        self._held = False

    @property
    def held(self) -> bool:
        """Whether the guest's vCPUs may run."""
        return self._held

    def enter_now(self) -> bool:
        """Whether the vCPUs may run, without waiting for anybody."""
        if not self.shared:
            self._held = True
        return self._held

    async def enter(self) -> float:
        """Wait until the vCPUs may run; at once when they may already.

        :return: how long that took, seconds.
        """
        if self._held:
            return 0.0
        began = time.monotonic()
        await self._granted()
        self._held = True
        waited_s = time.monotonic() - began
        self.waited_s += waited_s
        return waited_s

    def leave(self) -> None:
        """The vCPUs have nothing more to do that counts; any number of times."""
        if self._held:
            self._held = False
            self._given_back()

    async def _granted(self) -> None:
        """Return once there are CPUs for the run."""

    def _given_back(self) -> None:
        """Others may have the CPUs now."""
