# SPDX-License-Identifier: GPL-2.0-only
"""Finding maps and variables by name, among all maps or those of the attached scheduler."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ktstr.series.errors import (
    ActiveFilterExcludedMaps,
    AmbiguousVar,
    MapNotFound,
    VarNotFound,
)
from ktstr.series.maps import MapSnapshot
from ktstr.series.values import RenderedValue


def find_map(
    maps: Sequence[MapSnapshot], name: str, preferred: Collection[int] = ()
) -> MapSnapshot:
    """The map called ``name``: of several one that is preferred by id, else the newest.

    :raises MapNotFound: when there is none.
    """
    found = [m for m in maps if m.name == name]
    if not found:
        raise MapNotFound(name, [m.name for m in maps])
    return max(found, key=lambda m: (m.id in preferred, m.id))


def find_variable(
    maps: Sequence[MapSnapshot], path: str, preferred: Collection[int] = ()
) -> MapSnapshot:
    """The data section with the variable that ``path`` begins with.

    :param preferred: ids of the maps that decide when several sections have it.
    :raises VarNotFound: when none has it.
    :raises AmbiguousVar: when several have it.
    """
    name = path.partition(".")[0]
    sections = [m for m in maps if m.is_globals]
    found = _with_variable(sections, name)
    if len(found) > 1:
        found = [m for m in found if m.id in preferred] or found
    if len(found) > 1:
        raise AmbiguousVar(name, [_label(m) for m in found])
    if not found:
        there = [v for m in sections if m.value for v in m.value.names()]
        raise VarNotFound(name, there, [m.name for m in sections])
    return found[0]


def _with_variable(maps: Sequence[MapSnapshot], name: str) -> list[MapSnapshot]:
    return [m for m in maps if m.is_globals and m.value and name in m.value.names()]


def _label(found: MapSnapshot) -> str:
    return f"{found.name} (id {found.id})"


@dataclass(frozen=True, slots=True)
class ActiveView:
    """What a snapshot holds of the attached scheduler.

    :param all_maps: every map of the snapshot, to tell "not there" from "not in use".
    :param ids: the maps in use.
    :param ops: name of the scheduler.
    """

    all_maps: Sequence[MapSnapshot]
    ids: Collection[int]
    ops: str | None

    @property
    def maps(self) -> tuple[MapSnapshot, ...]:
        """The maps in use."""
        return tuple(m for m in self.all_maps if m.id in self.ids)

    def map(self, name: str) -> MapSnapshot:
        """The map called ``name``.

        :raises ActiveFilterExcludedMaps: when only maps of others are called that.
        :raises MapNotFound: when no map is.
        """
        try:
            return find_map(self.maps, name)
        except MapNotFound:
            self._refuse_excluded(name, [m for m in self.all_maps if m.name == name])
            raise

    def var(self, path: str) -> RenderedValue:
        """A variable, or a part of one.

        :raises ActiveFilterExcludedMaps: when only maps of others have it.
        :raises SnapshotError: when no section has it, several do, or it has no such part.
        """
        try:
            return find_variable(self.maps, path).get(path)
        except VarNotFound:
            name = path.partition(".")[0]
            self._refuse_excluded(name, _with_variable(self.all_maps, name))
            raise

    def live_var(self, path: str) -> RenderedValue:
        """As :meth:`var`: everything here is live."""
        return self.var(path)

    def _refuse_excluded(self, name: str, excluded: Sequence[MapSnapshot]) -> None:
        if excluded:
            kvas = [m.map_kva for m in self.maps]
            raise ActiveFilterExcludedMaps(name, self.ops, [_label(m) for m in excluded], kvas)
