# SPDX-License-Identifier: GPL-2.0-only
"""One run of a gauntlet and how it went, each as an object and as JSON."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal, cast

from ktstr.errors import ExitCode
from ktstr.model.presets import OWN
from ktstr.session.ends import End
from ktstr.session.options import RunOptions
from ktstr.telemetry.decode import Fields

VERDICTS: Final = ("pass", "skip", "fail", "inconclusive", "guest lost", "cannot run", "not run")

_TEXT: Final = 4096
_MANY: Final = 256
_LONG_S: Final = 1e9
_SEED: Final = (1 << 63) - 1
_MIB: Final = 1 << 24


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of a gauntlet: a scenario on a topology, a kernel and a scheduler.

    :param path: the scenario's file, absolute.
    :param name: the scenario's own name.
    :param topology: the guest's topology, ``NnNlNcNt``.
    :param preset: how that was named; None: the file's own.
    :param kernel: the kernel as it was named; None: the file's own.
    :param scheduler: the scheduler as it was named; None: the file's own.
    :param profile: name of the flags it uses, where it is one of several of its scenario.
    :param options: all of that as a run takes it. Where results go is the executor's choice.
    :param key: digest of everything that shapes the run (:mod:`ktstr.gauntlet.keys`).
    """

    path: Path
    name: str
    topology: str
    preset: str | None = None
    kernel: str | None = None
    scheduler: str | None = None
    profile: str | None = None
    options: RunOptions = field(default_factory=RunOptions)
    key: str = ""

    @property
    def place(self) -> tuple[str, str, str]:
        """The column of the matrix: preset, kernel, scheduler with its flags."""
        scheduler = self.scheduler or OWN
        if self.profile is not None:
            scheduler = f"{scheduler}:{self.profile}"
        return self.preset or self.topology, self.kernel or OWN, scheduler

    @property
    def label(self) -> str:
        """Scenario and place: ``cgroup_steady/tiny-2llc/debian:7/scx_ktstr``."""
        return "/".join((self.name, *self.place))

    def to_json(self) -> dict[str, Any]:
        """The cell as JSON carries it."""
        return {
            "path": str(self.path),
            "name": self.name,
            "topology": self.topology,
            "preset": self.preset,
            "kernel": self.kernel,
            "scheduler": self.scheduler,
            "profile": self.profile,
            "options": options_to_json(self.options),
            "key": self.key,
        }

    @classmethod
    def from_json(cls, values: object, subject: str = "a cell") -> "Cell":
        """The cell that :meth:`to_json` made this of.

        :raise RecordError: naming ``subject`` and the field that is wrong.
        """
        found = values if isinstance(values, Fields) else Fields(values, subject)
        cell = cls(
            path=Path(found.name("path", _TEXT)),
            name=found.name("name", 64),
            topology=found.name("topology", 64),
            preset=found.optional("preset", lambda name: found.name(name, 64)),
            kernel=found.optional("kernel", lambda name: found.name(name, _TEXT)),
            scheduler=found.optional("scheduler", lambda name: found.name(name, _TEXT)),
            profile=found.optional("profile", lambda name: found.name(name, _TEXT)),
            options=options_from_json(found.nested("options")),
            key=found.name("key", 64),
        )
        found.done()
        return cell


@dataclass(frozen=True, slots=True)
class CellResult:
    """How a cell's run went.

    :param verdict: one of :data:`VERDICTS`.
    :param exit_code: what ``ktstr-run`` of it alone would have exited with.
    :param sidecar: the run's record.
    :param wall_s: from its start to its record, without what it waited for CPUs, seconds.
    :param workload_s: what its steps hold, seconds; None when that was not seen.
    :param reason: the first reason of a verdict that is no pass.
    :param details: all its reasons.
    :param notes: what happened besides.
    :param facts: what it ran on, by name (kernel release, accelerator, …).
    """

    verdict: str
    exit_code: ExitCode
    sidecar: Path | None = None
    wall_s: float = 0.0
    reason: str = ""
    workload_s: float | None = None
    details: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    evidence: Path | None = None

    @classmethod
    def of(cls, end: End, wall_s: float = 0.0) -> "CellResult":
        """The result that the end of a run comes to."""
        return cls(
            end.verdict,
            end.exit_code,
            end.record,
            wall_s,
            end.reason,
            end.workload_s,
            end.details,
            end.notes,
            end.facts,
            end.evidence,
        )

    @classmethod
    def not_run(cls, reason: str) -> "CellResult":
        """The result of a cell that was not begun, or cut."""
        return cls("not run", ExitCode.PASS, reason=reason)

    def to_json(self) -> dict[str, Any]:
        """The result as JSON carries it; long texts and lists are cut."""
        return {
            "verdict": self.verdict,
            "exit_code": int(self.exit_code),
            "sidecar": None if self.sidecar is None else str(self.sidecar),
            "wall_s": round(self.wall_s, 3),
            "reason": self.reason[:_TEXT],
            "workload_s": self.workload_s,
            "details": [text[:_TEXT] for text in self.details[:_MANY]],
            "notes": [text[:_TEXT] for text in self.notes[:_MANY]],
            "facts": {name: text[:_TEXT] for name, text in self.facts.items()},
            "evidence": None if self.evidence is None else str(self.evidence),
        }

    @classmethod
    def from_json(cls, values: object, subject: str = "a result") -> "CellResult":
        """The result that :meth:`to_json` made this of.

        :raise RecordError: naming ``subject`` and the field that is wrong.
        """
        found = values if isinstance(values, Fields) else Fields(values, subject)
        code = found.integer("exit_code", 0, 255)
        if code not in [*ExitCode]:
            found.refuse("exit_code", code, "an exit code of ktstr-run")
        result = cls(
            verdict=found.one_of("verdict", VERDICTS),
            exit_code=ExitCode(code),
            sidecar=_path(found, "sidecar"),
            wall_s=_seconds(found, "wall_s"),
            reason=found.text("reason", _TEXT),
            workload_s=found.optional("workload_s", lambda name: _seconds(found, name)),
            details=tuple(found.texts("details", _MANY, _TEXT)),
            notes=tuple(found.texts("notes", _MANY, _TEXT)),
            facts=_facts(found.nested("facts"), found),
            evidence=_path(found, "evidence"),
        )
        found.done()
        return result


def _path(found: Fields, name: str) -> Path | None:
    text = found.optional(name, lambda name: found.text(name, _TEXT))
    return None if text is None else Path(text)


def _seconds(found: Fields, name: str) -> float:
    seconds = found.number(name)
    if not 0 <= seconds <= _LONG_S:
        found.refuse(name, seconds, "seconds")
    return seconds


def _facts(table: Fields, found: Fields) -> dict[str, str]:
    names = cast(dict[str, object], found.take("facts"))
    if len(names) > _MANY:
        found.refuse("facts", names, f"at most {_MANY} facts")
    return {name: table.text(name, _TEXT) for name in names}


_READERS: Final[Mapping[str, Callable[[Fields, str], Any]]] = {
    "kernel": lambda found, name: found.name(name, _TEXT),
    "topology": lambda found, name: found.name(name, 64),
    "scheduler": lambda found, name: found.name(name, _TEXT),
    "work_type": lambda found, name: found.name(name, 64),
    "flags": lambda found, name: tuple(found.texts(name, _MANY, _TEXT)),
    "clock": lambda found, name: found.one_of(name, ("wall", "virtual")),
    "seed": lambda found, name: found.integer(name, 0, _SEED),
    "icount_shift": lambda found, name: found.integer(name, 0, 10),
    "accel": lambda found, name: found.one_of(name, ("auto", "kvm", "tcg")),
    "timeout_s": _seconds,
    "memory_mib": lambda found, name: found.integer(name, 1, _MIB),
    "auto_repro": lambda found, name: found.boolean(name),
    "checkpoint_on_fail": lambda found, name: found.boolean(name),
    "cold": lambda found, name: found.boolean(name),
}
"""The options that a cell carries. Folders, logs and kept VMs are not part of what is run."""

Accel = Literal["auto", "kvm", "tcg"]


def options_to_json(options: RunOptions) -> dict[str, Any]:
    """The options of a cell that are not the default."""
    default = RunOptions()
    found: dict[str, Any] = {}
    for each in fields(RunOptions):
        value = getattr(options, each.name)
        if each.name in _READERS and value != getattr(default, each.name):
            found[each.name] = [*value] if isinstance(value, tuple) else value
    return found


def options_from_json(values: object, subject: str = "a cell") -> RunOptions:
    """The options that :func:`options_to_json` made this of.

    :raise RecordError: naming ``subject`` and the option that is wrong.
    """
    found = values if isinstance(values, Fields) else Fields(values, subject)
    given = {name: read(found, name) for name, read in _READERS.items() if found.has(name)}
    found.done()
    return RunOptions(**given)
