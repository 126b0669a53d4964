# SPDX-License-Identifier: GPL-2.0-only
"""cgroup v2: the scenario's groups below one parent of our own."""

from __future__ import annotations

import os
import time

from agent.loop import Loop
from agent.system import read_text, write_text

ROOT = "/sys/fs/cgroup"
CONTROLLERS = "+cpuset +cpu"
EBUSY = 16  # the errno module is one more import
# A killed task dies only once it is scheduled, and a broken scheduler holds it back until
# the kernel's watchdog (30 s at most) ejects that scheduler.
BUSY_S = 40.0
BUSY_PAUSE_S = 0.02
MOVE_ROUNDS = 16


class Cgroups:
    """Creates, tunes and removes groups; names are relative to the parent.

    :param root: where cgroup v2 is mounted.
    :param controllers: what the groups get, as ``cgroup.subtree_control`` takes it.
    """

    def __init__(self, loop: Loop, root: str = ROOT, controllers: str = CONTROLLERS) -> None:
        self._loop = loop
        self._root = root
        self._controllers = controllers
        self._parent = f"{root}/ktstr"
        self._made: list[str] = []

    def path(self, name: str) -> str:
        """Folder of the group."""
        return f"{self._parent}/{name}"

    def _ensure_parent(self) -> None:
        if not os.path.isdir(self._parent):
            write_text(f"{self._root}/cgroup.subtree_control", self._controllers)
            os.mkdir(self._parent)
            write_text(f"{self._parent}/cgroup.subtree_control", self._controllers)

    def create(self, name: str) -> None:
        """Make the group.

        :raise OSError: as the kernel answers; a group of that name may exist already.
        """
        self._ensure_parent()
        os.mkdir(self.path(name))
        self._made.append(name)

    def set_cpus(self, name: str, cpus: str | None) -> None:
        """Set ``cpuset.cpus``; None or "" gives the group its parent's CPUs back.

        :raise OSError: when the kernel refuses the list.
        """
        write_text(f"{self.path(name)}/cpuset.cpus", (cpus or "") + "\n")

    def get_cpus(self, name: str) -> str:
        """``cpuset.cpus`` as set (empty: inherited)."""
        return read_text(f"{self.path(name)}/cpuset.cpus") or ""

    def set_weight(self, name: str, weight: int) -> None:
        """Set ``cpu.weight`` (1 to 10000)."""
        write_text(f"{self.path(name)}/cpu.weight", str(weight))

    def move_all(self, source: str, target: str) -> int:
        """Move every process of ``source`` to ``target``; returns how many moved.

        :raise OSError: when the kernel refuses.
        """
        moved = 0
        # Again and again, for a task may fork between the list and its own move.
        for _ in range(MOVE_ROUNDS):
            pids = (read_text(f"{self.path(source)}/cgroup.procs") or "").split()
            if not pids:
                break
            for pid in pids:
                try:
                    write_text(f"{self.path(target)}/cgroup.procs", pid)
                    moved += 1
                except ProcessLookupError:
                    continue  # it exited between the list and the move
        return moved

    def remove(self, name: str) -> None:
        """Kill what still runs in the group and remove it; the loop is served meanwhile.

        :raise OSError: when the kernel still calls it busy after 40 s, or refuses outright.
        """
        if name not in self._made:
            return
        deadline = time.monotonic() + BUSY_S
        while True:
            try:
                os.rmdir(self.path(name))
                break
            except OSError as error:
                if error.errno != EBUSY or time.monotonic() >= deadline:
                    raise
            self._kill(name)
            self._loop.run(time.monotonic() + BUSY_PAUSE_S)
        self._made.remove(name)

    def _kill(self, name: str) -> None:
        try:
            write_text(f"{self.path(name)}/cgroup.kill", "1")
        except OSError:
            return

    def remove_all(self, keep: set[str]) -> None:
        """Remove all groups but those in ``keep``, the youngest first.

        :raise OSError: as :meth:`remove`.
        """
        for name in reversed(self._made.copy()):
            if name not in keep:
                self.remove(name)

    def names(self) -> set[str]:
        """The groups that exist now."""
        return set(self._made)

    def count(self) -> int:
        """How many groups exist now."""
        return len(self._made)
