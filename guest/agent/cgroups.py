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
FREEZE_S = 10.0
FREEZE_PAUSE_S = 0.005
HOST = "/"
"""The root cgroup, which is under nobody's control."""


class Cgroups:
    """Creates, tunes and removes groups; names are relative to the parent.

    :param root: where cgroup v2 is mounted.
    :param controllers: what the groups get, as ``cgroup.subtree_control`` takes it.
    :param parent: path of the parent below the root, with a leading slash.
    """

    def __init__(
        self,
        loop: Loop,
        root: str = ROOT,
        controllers: str = CONTROLLERS,
        parent: str = "/ktstr",
    ) -> None:
        self._loop = loop
        self._root = root
        self._controllers = controllers
        self._parent = f"{root}{parent}"
        self._made: list[str] = []
        self._controlled: set[str] = set()
        self._frozen: set[str] = set()

    def path(self, name: str) -> str:
        """Folder of the group; :data:`HOST` is the root."""
        return self._root if name == HOST else f"{self._parent}/{name}"

    def make_parent(self) -> None:
        """Make the parent of all groups, with controllers for them; once.

        :raise OSError: as the kernel answers.
        """
        if os.path.isdir(self._parent):
            return
        folder = self._root
        for part in self._parent[len(self._root) + 1 :].split("/"):
            write_text(f"{folder}/cgroup.subtree_control", self._controllers)
            folder = f"{folder}/{part}"
            if not os.path.isdir(folder):
                os.mkdir(folder)
        write_text(f"{folder}/cgroup.subtree_control", self._controllers)

    def _take_control(self, name: str) -> None:
        # Only where it is asked for: a group whose inner groups have controllers takes no tasks.
        above = name.rpartition("/")[0]
        if above and above not in self._controlled:
            self._take_control(above)
            write_text(f"{self.path(above)}/cgroup.subtree_control", self._controllers)
            self._controlled.add(above)

    def create(self, name: str) -> None:
        """Make the group.

        :raise OSError: as the kernel answers; a group of that name may exist already.
        """
        self.make_parent()
        os.mkdir(self.path(name))
        self._made.append(name)

    def set_cpus(self, name: str, cpus: str | None) -> None:
        """Set ``cpuset.cpus``; None or "" gives the group its parent's CPUs back.

        :raise OSError: when the kernel refuses the list.
        """
        self._take_control(name)
        write_text(f"{self.path(name)}/cpuset.cpus", (cpus or "") + "\n")

    def get_cpus(self, name: str) -> str:
        """``cpuset.cpus`` as set (empty: inherited)."""
        return read_text(f"{self.path(name)}/cpuset.cpus") or ""

    def set_weight(self, name: str, weight: int) -> None:
        """Set ``cpu.weight`` (1 to 10000)."""
        self._take_control(name)
        write_text(f"{self.path(name)}/cpu.weight", str(weight))

    def set_cpu_max(self, name: str, limit: str) -> None:
        """Set ``cpu.max``: quota and period in microseconds."""
        self._take_control(name)
        write_text(f"{self.path(name)}/cpu.max", limit)

    def freeze(self, name: str) -> None:
        """Stop every task in the group and below, and see that they stand.

        :raise ValueError: when one still runs after ten seconds.
        """
        self._frozen.add(name)
        folder = self.path(name)
        write_text(f"{folder}/cgroup.freeze", "1")
        deadline = time.monotonic() + FREEZE_S
        while "frozen 1" not in (read_text(f"{folder}/cgroup.events") or ""):
            if time.monotonic() >= deadline:
                raise ValueError(f"tasks of {name!r} still run {FREEZE_S:.0f} s after the freeze")
            self._loop.run(time.monotonic() + FREEZE_PAUSE_S)

    def thaw(self, name: str) -> None:
        """Let the group's tasks run again; a group inside a frozen one stays frozen with it."""
        self._frozen.discard(name)
        write_text(f"{self.path(name)}/cgroup.freeze", "0")

    def thaw_all(self) -> None:
        """Let everything run again that :meth:`freeze` stopped."""
        for name in sorted(self._frozen):
            self._frozen.discard(name)
            write_text(f"{self.path(name)}/cgroup.freeze", "0")

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
        """Kill what still runs in the group and below, and remove it all.

        The loop is served meanwhile.

        :raise OSError: when the kernel still calls it busy after 40 s, or refuses outright.
        """
        if name not in self._made:
            return
        for inner in [made for made in self._made if made.startswith(f"{name}/")]:
            self.remove(inner)
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
        self._controlled.discard(name)
        self._frozen.discard(name)

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
