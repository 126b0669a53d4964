# SPDX-License-Identifier: GPL-2.0-only
"""How a worker ended that left no report of its own (seed 003, ``WorkerExitInfo``)."""

import signal
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from ktstr.telemetry.codec import Kind, integer, kinds_of, read_all, text
from ktstr.telemetry.decode import Fields, printable

COLLECTION_DEADLINE_S = 5
"""Shared deadline for all workers after the stop flag; source: seed 003."""

Reason = Annotated[str, text(4096)]


class WorkerExitInfo(ABC):
    """One of Exited, Signaled, TimedOut, WaitFailed, Panicked; only sentinel reports carry one."""

    __slots__ = ()

    @abstractmethod
    def in_words(self) -> str:
        """The end of the sentence that starts with the worker's name."""

    def to_wire(self) -> dict[str, object]:
        """``{"kind": ...}`` with the variant's own field; a record holds the same."""
        own = {name: getattr(self, name) for name in kinds_of(type(self))}
        return {"kind": type(self).__name__, **own}

    @staticmethod
    def from_wire(fields: Fields) -> "WorkerExitInfo":
        """Read the map; an unknown kind or a field out of range is refused."""
        variant = VARIANTS[fields.one_of("kind", VARIANTS)]
        return variant(**read_all(variant, fields))


@dataclass(frozen=True, slots=True)
class Exited(WorkerExitInfo):
    """The worker exited on its own before it could report."""

    code: Annotated[int, integer(-(1 << 31), (1 << 31) - 1)]

    def in_words(self) -> str:
        return f"exited with status {self.code} and left no report"


@dataclass(frozen=True, slots=True)
class Signaled(WorkerExitInfo):
    """A signal ended the worker."""

    signal: Annotated[int, integer(1, 127)]

    def in_words(self) -> str:
        try:
            name = f" ({signal.Signals(self.signal).name})"
        except ValueError:
            name = ""
        return f"was killed by signal {self.signal}{name}"


@dataclass(frozen=True, slots=True)
class TimedOut(WorkerExitInfo):
    """The worker ignored the stop flag past the collection deadline and was killed."""

    def in_words(self) -> str:
        return f"did not stop within {COLLECTION_DEADLINE_S} s and had to be killed"


@dataclass(frozen=True, slots=True)
class WaitFailed(WorkerExitInfo):
    """``waitpid`` itself failed."""

    error: Reason

    def in_words(self) -> str:
        return f"could not be waited for: {printable(self.error)}"


@dataclass(frozen=True, slots=True)
class Panicked(WorkerExitInfo):
    """A worker that is a thread could not go on and ended alone; its process lives on."""

    message: Reason

    def in_words(self) -> str:
        return f"gave up and left no report: {printable(self.message)}"


VARIANTS: Mapping[str, type[WorkerExitInfo]] = {
    variant.__name__: variant for variant in (Exited, Signaled, TimedOut, WaitFailed, Panicked)
}


def _read(fields: Fields, name: str) -> WorkerExitInfo | None:
    nested = fields.map_or_none(name)
    return None if nested is None else WorkerExitInfo.from_wire(nested)


def _written(info: WorkerExitInfo | None) -> object:
    return None if info is None else info.to_wire()


ExitInfo = Annotated[WorkerExitInfo | None, Kind(_read, wire=_written, record=_written)]
"""How the worker ended, or nil for one that reported itself."""
