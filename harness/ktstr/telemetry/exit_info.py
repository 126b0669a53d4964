# SPDX-License-Identifier: GPL-2.0-only
"""How a worker ended that left no report of its own (seed 003, ``WorkerExitInfo``)."""

import signal
from abc import abstractmethod
from dataclasses import dataclass

from ktstr.telemetry.decode import Fields, printable

COLLECTION_DEADLINE_S = 5
"""Shared deadline for all workers after the stop flag; source: seed 003."""


class WorkerExitInfo:
    """One of Exited, Signaled, TimedOut, WaitFailed; only sentinel reports carry one."""

    __slots__ = ()

    @abstractmethod
    def to_wire(self) -> dict[str, object]:
        """The wire map, ``{"kind": ...}`` with the variant's own field."""

    @abstractmethod
    def in_words(self) -> str:
        """The end of the sentence that starts with the worker's name."""

    @staticmethod
    def from_wire(fields: Fields) -> "WorkerExitInfo":
        """Read the wire map.

        :raise TelemetryError: on an unknown kind or a field out of range.
        """
        info: WorkerExitInfo
        match kind := fields.text("kind", 32):
            case "Exited":
                info = Exited(fields.integer("code", -(1 << 31), (1 << 31) - 1))
            case "Signaled":
                info = Signaled(fields.integer("signal", 1, 127))
            case "TimedOut":
                info = TimedOut()
            case "WaitFailed":
                info = WaitFailed(fields.text("error", 4096))
            case _:
                fields.refuse("kind", kind, "Exited, Signaled, TimedOut or WaitFailed")
        fields.done()
        return info


@dataclass(frozen=True, slots=True)
class Exited(WorkerExitInfo):
    """The worker exited on its own before it could report."""

    code: int

    def to_wire(self) -> dict[str, object]:
        return {"kind": "Exited", "code": self.code}

    def in_words(self) -> str:
        return f"exited with status {self.code} and left no report"


@dataclass(frozen=True, slots=True)
class Signaled(WorkerExitInfo):
    """A signal ended the worker."""

    signal: int

    def to_wire(self) -> dict[str, object]:
        return {"kind": "Signaled", "signal": self.signal}

    def in_words(self) -> str:
        try:
            name = f" ({signal.Signals(self.signal).name})"
        except ValueError:
            name = ""
        return f"was killed by signal {self.signal}{name}"


@dataclass(frozen=True, slots=True)
class TimedOut(WorkerExitInfo):
    """The worker ignored the stop flag past the collection deadline and was killed."""

    def to_wire(self) -> dict[str, object]:
        return {"kind": "TimedOut"}

    def in_words(self) -> str:
        return f"did not stop within {COLLECTION_DEADLINE_S} s and had to be killed"


@dataclass(frozen=True, slots=True)
class WaitFailed(WorkerExitInfo):
    """``waitpid`` itself failed."""

    error: str

    def to_wire(self) -> dict[str, object]:
        return {"kind": "WaitFailed", "error": self.error}

    def in_words(self) -> str:
        return f"could not be waited for: {printable(self.error)}"
