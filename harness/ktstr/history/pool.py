# SPDX-License-Identifier: GPL-2.0-only
"""The records of many runs, as rows."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ktstr.errors import CannotRun
from ktstr.history.head import read_head
from ktstr.history.rows import VERDICTS, Row, RowPhase
from ktstr.session.sidecar.read import SidecarUnreadable
from ktstr.session.sidecar.write import SUFFIX, is_repetition

MAX_NAME: Final = 4096
_RUN_TIME: Final = re.compile(r"(\d{4})(\d\d)(\d\d)-(\d\d)(\d\d)(\d\d)\b")
_STEP: Final = re.compile(r"Step\[(\d{1,6})\]")
_TOPOLOGY: Final = re.compile(r"\d+n(\d+)l(\d+)c(\d+)t")


@dataclass(frozen=True, slots=True)
class Damaged:
    """A file that should have been a record.

    :param reason: what is wrong, a sentence that names the file.
    """

    path: Path
    reason: str


def load(*places: Path, damaged: list[Damaged] | None = None) -> list[Row]:
    """The runs recorded in files and folders, in the order they were started.

    Of a folder, the records in it and in the folders right below it are taken. Repetitions with
    probes are left out: they belong to the run that they repeat.

    :param damaged: takes what cannot be read inside of folders; without it the first one raises.
    :raise SidecarUnreadable: when a file that was named cannot be read.
    :raise CannotRun: when a place does not exist.
    """
    rows: dict[Path, Row] = {}
    for place in places:
        named = not place.is_dir()
        for path in [place] if named else records_in(place, damaged):
            try:
                rows[path.absolute()] = row_of(read_head(path), path)
            except SidecarUnreadable as error:
                if named or damaged is None:
                    raise
                damaged.append(Damaged(path, error.message))
    return sorted(rows.values(), key=lambda row: (row.started or "", row.run_id, str(row.path)))


def records_in(folder: Path, damaged: list[Damaged] | None = None) -> list[Path]:
    """The records in a folder and in the folders right below it, by name.

    :param damaged: takes folders below that cannot be read; without it they raise.
    :raise CannotRun: when the folder cannot be read.
    """
    inside, below = _inside(folder), []
    for each in inside:
        if each.is_dir():
            try:
                below += _inside(each)
            except CannotRun as error:
                if damaged is None:
                    raise
                damaged.append(Damaged(each, error.message))
    return [
        path
        for path in (*inside, *below)
        if path.name.endswith(SUFFIX) and not path.name.startswith(".") and not is_repetition(path)
    ]


def _inside(folder: Path) -> list[Path]:
    """What lies in a folder, by name.

    :raise CannotRun: when the folder cannot be read.
    """
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise CannotRun(
            f"{error.filename} cannot be read: {error.strerror}",
            hint="name the folder that was given to ktstr-run with --out",
        ) from error


def row_of(head: Mapping[str, Any], path: Path) -> Row:
    """The row of a record.

    :param head: the values before the logs, see :func:`read_head`.
    :raise SidecarUnreadable: when what every record has is missing or of the wrong type.
    """
    name, verdict, code = head.get("name"), head.get("verdict"), head.get("exit_code")
    if not isinstance(name, str) or verdict not in VERDICTS or type(code) is not int:
        raise SidecarUnreadable(f"{path} has no name, verdict or exit code of a run")
    host, kernel = _table(head, "host"), _table(head, "kernel")
    virtual, metrics = _table(head, "virtual"), _table(head, "metrics")
    run_id = _text(host.get("run_id")) or path.name.removesuffix(SUFFIX)
    topology, measured = _text(head.get("topology")), _finite(metrics)
    return Row(
        path=path,
        run_id=run_id,
        scenario=name,
        verdict=verdict,
        exit_code=code,
        started=_started(run_id),
        error=_text(head.get("error")),
        reason=_text(head.get("reason")) or _text(head.get("error")),
        kernel=_text(kernel.get("release")),
        kernel_spec=_text(kernel.get("spec")),
        kernel_commit=_text(kernel.get("commit")),
        scheduler=_scheduler(_table(head, "scheduler")),
        flags=_text(_table(head, "scheduler").get("profile")),
        topology=topology,
        work_type=_work_type(head.get("work_types")),
        project_commit=_text(host.get("project_commit")),
        run_source=_text(host.get("run_source")),
        cpu_budget=_count(host.get("cpu_budget")),
        vcpus=_cpus(topology),
        clock=_clock(head, virtual),
        seed=_count(virtual.get("seed")),
        identity=_text(head.get("identity")),
        steps=_steps(head.get("steps")),
        wall_s=_number(host.get("wall_s")),
        run_sample_count=_count(_table(head, "counts").get("readings")),
        metrics=measured,
        phases=tuple(_phases(_table(head, "phases"))),
        not_finite=tuple(key for key in metrics if key not in measured),
    )


def _phases(found: Mapping[str, Any]) -> Iterator[RowPhase]:
    for label in found:
        values, step = _table(found, label), _STEP.fullmatch(label)
        yield RowPhase(
            step_index=int(step[1]) + 1 if step else 0,
            label=label,
            name=_text(values.get("step")),
            samples=_count(values.get("samples")),
            metrics=_finite(_table(values, "metrics")),
        )


def _steps(found: object) -> tuple[tuple[str | None, int | None], ...]:
    steps = found if isinstance(found, list) else []
    return tuple(
        (_text(each.get("name")), _count(each.get("hold_ms")))
        for each in steps
        if isinstance(each, dict)
    )


def _clock(head: Mapping[str, Any], virtual: Mapping[str, Any]) -> str | None:
    if virtual:
        return "virtual"
    return "wall" if "kernel" in head else None


def _scheduler(found: Mapping[str, Any]) -> str | None:
    kind, path = _text(found.get("kind")), _text(found.get("path"))
    if kind == "none" or path is None:
        return kind
    return path.rsplit("/", 1)[-1].removesuffix(".bpf.o")


def _work_type(found: object) -> str | None:
    if not isinstance(found, list):
        return None
    return "+".join(sorted({each for each in found if isinstance(each, str)})) or None


def _cpus(topology: str | None) -> int | None:
    match = _TOPOLOGY.fullmatch(topology or "")
    return int(match[1]) * int(match[2]) * int(match[3]) if match else None


def _started(run_id: str) -> str | None:
    match = _RUN_TIME.match(run_id)
    if match is None:
        return None
    year, month, day, hour, minute, second = match.groups()
    return f"{year}-{month}-{day} {hour}:{minute}:{second}"


def _table(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = values.get(key)
    return found if isinstance(found, dict) else {}


def _text(value: object) -> str | None:
    return value[:MAX_NAME] if isinstance(value, str) else None


def _count(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _number(value: object) -> float | None:
    """A finite number; JSON's own have no other, and what was none is a text in a record."""
    if type(value) is float or type(value) is int:
        try:
            found = float(value)
        except OverflowError:
            return None
        return found if math.isfinite(found) else None
    return None


def _finite(values: Mapping[str, Any]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in values.items():
        # Nearly all are, and a thousand records have a hundred thousand of them.
        if type(value) is float and math.isfinite(value):
            found[name] = value
        elif (number := _number(value)) is not None:
            found[name] = number
    return found
