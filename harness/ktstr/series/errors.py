# SPDX-License-Identifier: GPL-2.0-only
"""Questions that snapshots and samples have no answer to (reference-06 section 6.2).

Each error says what was asked and lists what there is instead, in its text and in its attributes.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from ktstr.errors import KtstrError

_LISTED = 24


def alternatives(names: Iterable[str]) -> str:
    """The first names of a list, for the "what is there" half of an error message."""
    listed = list(names)
    more = f", … ({len(listed)} in all)" if len(listed) > _LISTED else ""
    return ", ".join(listed[:_LISTED]) + more or "nothing"


class SnapshotError(KtstrError):
    """A question about a snapshot has no answer; the message lists what there is."""

    def __reduce__(self) -> tuple[Any, ...]:
        # The constructors take facts, not the message that Exception would hand them.
        return _restored, (type(self), self.__dict__)


def _restored(kind: type[SnapshotError], facts: dict[str, Any]) -> SnapshotError:
    error = kind.__new__(kind)
    Exception.__init__(error, facts["message"])
    error.__dict__.update(facts)
    return error


# Maps and variables


class MapNotFound(SnapshotError):
    """There is no map of that name."""

    def __init__(self, requested: str, available: Sequence[str]) -> None:
        super().__init__(f"no map {requested!r}; maps here: {alternatives(available)}")
        self.requested = requested
        self.available = tuple(available)


class VarNotFound(SnapshotError):
    """No data section has a variable of that name.

    :param sections: data sections that were searched.
    """

    def __init__(self, requested: str, available: Sequence[str], sections: Sequence[str]) -> None:
        super().__init__(
            f"no variable {requested!r} in {alternatives(sections)}; "
            f"variables here: {alternatives(available)}"
        )
        self.requested = requested
        self.available = tuple(available)
        self.sections = tuple(sections)


class AmbiguousVar(SnapshotError):
    """Several data sections have a variable of that name, and none or several are active."""

    def __init__(self, requested: str, found_in: Sequence[str]) -> None:
        super().__init__(
            f"variable {requested!r} is in several data sections: {', '.join(found_in)}"
        )
        self.requested = requested
        self.found_in = tuple(found_in)


class NoActiveScheduler(SnapshotError):
    """Which maps belong to the attached scheduler is not known."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"no active scheduler: {reason}")
        self.reason = reason


class ActiveFilterExcludedMaps(SnapshotError):
    """What was asked for is there, but only in maps that the attached scheduler does not use.

    :param active_obj: name of the attached scheduler.
    :param excluded_maps: maps that have it.
    :param whitelist_kvas: addresses of the maps that the attached scheduler uses.
    """

    def __init__(
        self,
        requested: str,
        active_obj: str | None,
        excluded_maps: Sequence[str],
        whitelist_kvas: Sequence[int],
    ) -> None:
        super().__init__(
            f"{requested!r} is only in maps that the active scheduler "
            f"{active_obj or '(without a name)'} does not use: {alternatives(excluded_maps)}"
        )
        self.requested = requested
        self.active_obj = active_obj
        self.excluded_maps = tuple(excluded_maps)
        self.whitelist_kvas = tuple(whitelist_kvas)


class MapRenderIncomplete(SnapshotError):
    """The map was found but its contents could not be read, or have another form."""

    def __init__(self, map_name: str, what: str, error: str) -> None:
        super().__init__(f"map {map_name!r} has no {what}: {error}")
        self.map = map_name
        self.error = error


# Entries of a map


class IndexOutOfRange(SnapshotError):
    """A map has no entry of that index."""

    def __init__(self, map_name: str, index: int, length: int, note: str = "") -> None:
        super().__init__(
            f"map {map_name!r} has no entry {index}: it has {length}{f' ({note})' if note else ''}"
        )
        self.map = map_name
        self.index = index
        self.len = length


class CpuNotFound(IndexOutOfRange):
    """The guest has no such CPU."""

    def __init__(self, cpu: int, available: Sequence[int]) -> None:
        SnapshotError.__init__(
            self, f"no CPU {cpu}; CPUs here: {alternatives(map(str, available))}"
        )
        self.map = "cpus"
        self.index = cpu
        self.len = len(available)


class NoMatch(SnapshotError):
    """No entry satisfies the condition.

    :param op: what was done: ``find``, ``max_by``, ``key``, ``cpu_sum`` and so on.
    """

    def __init__(
        self, map_name: str, op: str, length: int, available_keys: Sequence[str] = ()
    ) -> None:
        why = f"no entry matches; keys: {alternatives(available_keys)}"
        if not available_keys:
            why = "no CPU's value could be read" if length else "it has no entries"
        super().__init__(f"map {map_name!r}, {op}: {why}")
        self.map = map_name
        self.op = op
        self.len = length
        self.available_keys = tuple(available_keys)


class PerCpuSlot(SnapshotError):
    """A per-CPU entry has no value for that CPU.

    :param unmapped: whether the CPU exists and its value could not be read.
    """

    def __init__(
        self, map_name: str, cpu: int, available: Sequence[int], *, unmapped: bool
    ) -> None:
        why = "could not be read" if unmapped else "does not exist"
        super().__init__(
            f"{_of(map_name)}the value of CPU {cpu} {why}; "
            f"CPUs here: {alternatives(map(str, available))}"
        )
        self.map = map_name
        self.cpu = cpu
        self.len = len(available)
        self.unmapped = unmapped


class PerCpuNotNarrowed(SnapshotError):
    """A per-CPU entry was read without saying which CPU."""

    def __init__(
        self,
        map_name: str,
        path: str,
        available: Sequence[int],
        how: str = "choose one with .cpu(n)",
    ) -> None:
        super().__init__(
            f"{_of(map_name)}{path or 'the value'} is per CPU: {how}; "
            f"CPUs here: {alternatives(map(str, available))}"
        )
        self.map = map_name
        self.requested = path


class NoRendered(SnapshotError):
    """A map made without type information: its bytes can be read, their members not.

    :param side: ``key`` or ``value``.
    """

    def __init__(self, map_name: str, side: str, requested: str) -> None:
        super().__init__(
            f"{_of(map_name)}the {side} has no type, so it has no {requested!r}; "
            "there: its bytes, .raw()"
        )
        self.map = map_name
        self.side = side
        self.requested = requested


def _of(map_name: str) -> str:
    return f"map {map_name!r}: " if map_name else ""


# Parts of a value


class FieldNotFound(SnapshotError):
    """A path names a member or element that does not exist.

    :param walked: the part of the path that exists.
    :param component: the part that does not.
    :param note: what else is known about it.
    """

    def __init__(
        self, requested: str, walked: str, component: str, available: Sequence[str], note: str = ""
    ) -> None:
        super().__init__(
            f"path {requested!r}: {walked or 'the value'} has no {component!r}; "
            f"there: {alternatives(available)}{f' ({note})' if note else ''}"
        )
        self.requested = requested
        self.walked = walked
        self.component = component
        self.available = tuple(available)


class NotAStruct(SnapshotError):
    """A path goes on below a value that has no members.

    :param kind: what the value is.
    """

    def __init__(
        self, requested: str, walked: str, component: str, kind: str, note: str = ""
    ) -> None:
        super().__init__(
            f"path {requested!r}: {walked or 'the value'} is {kind}, it has no {component!r}"
            f"{f' ({note})' if note else ''}"
        )
        self.requested = requested
        self.walked = walked
        self.component = component
        self.kind = kind


class EmptyPathComponent(SnapshotError):
    """A dotted path has an empty part."""

    def __init__(self, requested: str, walked: str) -> None:
        super().__init__(f"path {requested!r} has an empty part after {walked or 'the value'}")
        self.requested = requested
        self.walked = walked


class TypeMismatch(SnapshotError):
    """A value was asked for as a type it is not.

    :param actual: what it is, with its value where that is short.
    :param requested: path of the value, where the caller gave one.
    """

    def __init__(self, expected: str, actual: str, requested: str = "") -> None:
        where = f"{requested}: " if requested else ""
        super().__init__(f"{where}{actual} is not {expected}")
        self.expected = expected
        self.actual = actual
        self.requested = requested


# Samples of a series


class PlaceholderSample(SnapshotError):
    """The capture of a sample failed, so that it holds nothing to project."""

    def __init__(self, tag: str, reason: str) -> None:
        super().__init__(f"sample {tag} holds no snapshot: {reason}")
        self.tag = tag
        self.reason = reason


class PlaceholderSnapshot(PlaceholderSample):
    """The snapshot of a sample was asked for and is not there."""


class MissingStatsError(SnapshotError):
    """A sample has no scheduler statistics.

    :param reason: a ``MissingStatsReason``.
    """

    def __init__(self, tag: str, reason: object) -> None:
        super().__init__(f"sample {tag} has no statistics: {reason}")
        self.tag = tag
        self.reason = reason


class HostFieldUnavailable(SnapshotError):
    """A sample holds no accounting of that CPU."""

    def __init__(self, tag: str, cpu: int, available: Sequence[int]) -> None:
        super().__init__(
            f"sample {tag} has no accounting of CPU {cpu}; "
            f"CPUs here: {alternatives(map(str, available))}"
        )
        self.tag = tag
        self.cpu = cpu


class WalkerDriftedWithinPhase(SnapshotError):
    """The attached scheduler's maps are others than earlier in the same phase.

    A series over both would compare variables of two schedulers.

    :param phase: label of the phase.
    """

    def __init__(
        self, phase: str, requested: str, pinned_kvas: Sequence[int], sample_kvas: Sequence[int]
    ) -> None:
        now = ", ".join(f"{kva:#x}" for kva in sample_kvas) or "none known"
        super().__init__(
            f"{requested!r}: within {phase} the active scheduler's maps changed from "
            f"{', '.join(f'{kva:#x}' for kva in pinned_kvas)} to {now}"
        )
        self.phase = phase
        self.requested = requested
        self.pinned_kvas = tuple(pinned_kvas)
        self.sample_kvas = tuple(sample_kvas)


class ProjectionFailed(SnapshotError):
    """A projection raised something of its own for this sample's data."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the projection failed: {reason}")
        self.reason = reason
