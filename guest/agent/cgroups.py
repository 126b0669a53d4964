# SPDX-License-Identifier: GPL-2.0-only
"""cgroup v2: the scenario's groups below one parent of our own."""

from __future__ import annotations

import os
import time

from agent.system import read_text, write_text

ROOT = "/sys/fs/cgroup"
PARENT = f"{ROOT}/ktstr"
CONTROLLERS = "+cpuset +cpu"
BUSY_TRIES = 40
BUSY_PAUSE_S = 0.05


class Cgroups:
    """Creates, tunes and removes groups; names are relative to the parent."""

    def __init__(self) -> None:
        self._made: list[str] = []

    def path(self, name: str) -> str:
        """Folder of the group."""
        return f"{PARENT}/{name}"

    def __contains__(self, name: str) -> bool:
        return name in self._made

    def _ensure_parent(self) -> None:
        if not os.path.isdir(PARENT):
            write_text(f"{ROOT}/cgroup.subtree_control", CONTROLLERS)
            os.mkdir(PARENT)
            write_text(f"{PARENT}/cgroup.subtree_control", CONTROLLERS)

    def create(self, name: str) -> None:
        """Make the group, and the groups above it in a nested name.

        :raise OSError: as the kernel answers.
        """
        self._ensure_parent()
        parts = name.split("/")
        for depth in range(1, len(parts) + 1):
            partial = "/".join(parts[:depth])
            if partial in self._made:
                continue
            os.mkdir(self.path(partial))
            self._made.append(partial)
            if depth < len(parts):
                write_text(f"{self.path(partial)}/cgroup.subtree_control", CONTROLLERS)

    def set_cpus(self, name: str, cpus: str | None) -> None:
        """Set ``cpuset.cpus``; None or "" gives the group its parent's CPUs back.

        :raise OSError: when the kernel refuses the list.
        """
        write_text(f"{self.path(name)}/cpuset.cpus", (cpus or "") + "\n")

    def get_cpus(self, name: str) -> str:
        """``cpuset.cpus`` as set (empty: inherited)."""
        return read_text(f"{self.path(name)}/cpuset.cpus") or ""

    def effective_cpus(self, name: str) -> str:
        """The CPUs the group's tasks may run on now."""
        return read_text(f"{self.path(name)}/cpuset.cpus.effective") or ""

    def set_weight(self, name: str, weight: int) -> None:
        """Set ``cpu.weight`` (1 to 10000)."""
        write_text(f"{self.path(name)}/cpu.weight", str(weight))

    def set_max(self, name: str, limit: str) -> None:
        """Set ``cpu.max`` ("max 100000" or "QUOTA PERIOD", µs)."""
        write_text(f"{self.path(name)}/cpu.max", limit)

    def move_all(self, source: str, target: str) -> int:
        """Move every process of ``source`` to ``target``; returns how many moved."""
        moved = 0
        for pid in (read_text(f"{self.path(source)}/cgroup.procs") or "").split():
            try:
                write_text(f"{self.path(target)}/cgroup.procs", pid)
                moved += 1
            except ProcessLookupError:
                continue  # it exited between the list and the move
        return moved

    def remove(self, name: str) -> None:
        """Kill what still runs in the group and remove it.

        :raise OSError: when the kernel still calls it busy after two seconds.
        """
        if name not in self._made:
            return
        for tries_left in reversed(range(BUSY_TRIES)):
            try:
                os.rmdir(self.path(name))
                break
            except OSError:
                if not tries_left:
                    raise
                # A killed task leaves its group only once it has been scheduled to die.
                self._kill(name)
                time.sleep(BUSY_PAUSE_S)
        self._made.remove(name)

    def _kill(self, name: str) -> None:
        try:
            write_text(f"{self.path(name)}/cgroup.kill", "1")
        except OSError:
            return

    def remove_all(self, keep: frozenset[str] = frozenset()) -> None:
        """Remove all groups but those in ``keep``, innermost first."""
        for name in reversed(self._made.copy()):
            if name not in keep:
                self.remove(name)

    def names(self) -> frozenset[str]:
        """The groups that exist now."""
        return frozenset(self._made)

    def count(self) -> int:
        """How many groups exist now."""
        return len(self._made)
