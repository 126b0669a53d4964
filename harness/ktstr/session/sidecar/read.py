# SPDX-License-Identifier: GPL-2.0-only
"""Reading sidecars, strictly: a file that is damaged or of another kind is told, never guessed at.

What comes back folds to the same statistics again and prints the same screen.
"""

import json
from pathlib import Path
from typing import Any, Final, NoReturn

from ktstr.errors import CannotRun, ExitCode
from ktstr.metrics.stimulus import StimulusEvent
from ktstr.series.sample import SampleSeries, StatsMeta
from ktstr.session.record import RunRecord
from ktstr.session.sidecar.json_safe import with_arrays
from ktstr.session.sidecar.monitor import read_monitor
from ktstr.session.sidecar.samples import MAX_TEXT, read_sample
from ktstr.session.sidecar.vectors import read_table
from ktstr.session.sidecar.write import SCHEMA, SUFFIX
from ktstr.telemetry import TaggedReport
from ktstr.telemetry.decode import Fields
from ktstr.telemetry.slices import MAX_STEP
from ktstr.verdict import AssertResult

MAX_FILE: Final = 1 << 30
"""Largest file that is read, in bytes."""

_MANY: Final = 1 << 20
_NOT_FACTS: Final = frozenset(
    (
        "schema",
        "name",
        "verdict",
        "exit_code",
        "error",
        "metrics",
        "phases",
        "reason",
        "counts",
        "host",
        "log_tails",
        "expected_nodes",
        "stimulus",
        "monitor",
        "samples",
        "workers",
        "result",
        "vectors",
    )
)
_HOST_FIELDS: Final = ("run_id", "evidence")


class SidecarUnreadable(CannotRun):
    """A file that holds no record this version can read."""


def read_sidecar(path: Path) -> RunRecord:
    """The record that :func:`write_sidecar` wrote to ``path``.

    Of large maps only a part is in the file; everything that statistics are computed from is.

    :raise SidecarUnreadable: when the file is no record, or of another schema.
    :raise RecordError: naming the file and the dotted field that is wrong.
    """
    return _record(_load(path), path)


def _load(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_FILE:
            _refuse(path, f"is larger than {MAX_FILE >> 20} MiB")
        values = json.loads(path.read_bytes(), parse_constant=_no_constant)
    except OSError as error:
        raise SidecarUnreadable(
            f"{path} cannot be read: {error.strerror}",
            hint=f"name the NAME-TIME{SUFFIX} of a run, or the folder it is in",
        ) from error
    except UnicodeDecodeError:
        _refuse(path, "is not text")
    except json.JSONDecodeError as error:
        _refuse(path, f"is not JSON: line {error.lineno}, column {error.colno}: {error.msg}")
    except (ValueError, RecursionError) as error:
        _refuse(path, f"is not JSON that ktstr writes: {error}")
    if not isinstance(values, dict) or "schema" not in values:
        _refuse(path, "is no record of ktstr: it has no schema number")
    if values["schema"] != SCHEMA:
        raise SidecarUnreadable(
            f"{path} has schema {values['schema']!r:.60}; this version of ktstr reads {SCHEMA}",
            hint="read it with the version that wrote it, or run the scenario again",
        )
    return values


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def _refuse(path: Path, what: str) -> NoReturn:
    raise SidecarUnreadable(f"{path} {what}", hint=f"the record of a run is a NAME-TIME{SUFFIX}")


def _record(values: dict[str, Any], path: Path) -> RunRecord:
    subject = str(path)
    values.setdefault("monitor", None)  # of a run recorded before there was one
    fields = Fields(values, subject)
    table = read_table(fields.named_maps("vectors", _MANY))
    for name in ("monitor", "workers", "result"):
        values[name] = with_arrays(fields.take(name), table, subject, name)
    host, tails = fields.nested("host"), fields.nested("log_tails")
    evidence = host.text_or_none("evidence", MAX_TEXT)
    code = fields.take("exit_code")
    if type(code) is not int or code not in list(ExitCode):
        fields.refuse("exit_code", code, f"one of {', '.join(str(int(each)) for each in ExitCode)}")
    record = RunRecord(
        run_id=host.name("run_id", 255),
        name=fields.name("name", 255),
        exit_code=ExitCode(code),
        result=fields.optional(
            "result", lambda name: AssertResult.from_record(values[name], f"{subject}: {name}")
        ),
        error=fields.text_or_none("error", MAX_TEXT),
        samples=SampleSeries([read_sample(each) for each in fields.maps("samples", _MANY)]),
        monitor=fields.optional("monitor", lambda name: read_monitor(fields.nested(name))),
        events=[StimulusEvent.read(each) for each in fields.maps("stimulus", _MANY)],
        reports=[
            TaggedReport.from_record(each, f"{subject}: workers[{index}]")
            for index, each in enumerate(fields.items("workers", _MANY))
        ],
        expected_nodes=dict(map(_nodes, fields.maps("expected_nodes", _MANY))),
        host={name: host.take(name) for name in values["host"] if name not in _HOST_FIELDS},
        sidecar=path,
        evidence=None if evidence is None else Path(evidence),
        console_tail=tuple(tails.texts("kernel", _MANY, MAX_TEXT)),
        scheduler_tail=tuple(tails.texts("scheduler", _MANY, MAX_TEXT)),
    )
    if fields.take("verdict") != record.verdict:
        fields.refuse("verdict", values["verdict"], f"{record.verdict!r}, by the outcomes")
    record.facts = _facts(values, subject)
    meta = record.facts.get("stats_meta")
    if isinstance(meta, dict):
        record.samples.stats_meta = StatsMeta.parse(meta)
    return record


def _nodes(fields: Fields) -> tuple[tuple[int, str], frozenset[int]]:
    label = fields.integer("step", 0, MAX_STEP), fields.text("cgroup", 255)
    nodes = fields.cpu_set("nodes")
    fields.done()
    return label, nodes


def _facts(values: dict[str, Any], subject: str) -> dict[str, Any]:
    """Everything without a field of its own; only what is rendered has to have a certain form."""
    facts = {name: value for name, value in values.items() if name not in _NOT_FACTS}
    fields = Fields(facts, subject)
    if "steps" in facts:
        for step in fields.maps("steps", MAX_STEP):
            step.integer("index", 1, MAX_STEP)
            step.text_or_none("name", 4096)
    if "scheduler" in facts:
        fields.nested("scheduler")
    return facts
