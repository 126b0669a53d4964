# SPDX-License-Identifier: GPL-2.0-only
"""What ran on what, in words, and the command that runs it again."""

import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ktstr.report.printable import one_line
from ktstr.session.record import RunRecord

CHARS: Final = 400
_STARTS: Final = {
    "clone": "continued a template",
    "cold": "booted",
    "template": "booted, and kept as a template",
}


def fact_lines(record: RunRecord) -> list[tuple[str, str]]:
    """Labels and texts, the most asked for first."""
    return [(label, one_line(text, CHARS)) for label, text in _facts(record) if text]


def _facts(record: RunRecord) -> Iterator[tuple[str, str]]:
    facts, host = record.facts, record.host
    kernel, scheduler = _map(facts, "kernel"), _map(facts, "scheduler")
    spec = _text(kernel, "spec")
    yield "kernel", " ".join(filter(None, (_text(kernel, "release"), spec and f"({spec})")))
    memory = facts.get("memory_mib")
    yield (
        "topology",
        ", ".join(filter(None, (_text(facts, "topology"), f"{memory} MiB" if memory else ""))),
    )
    yield "scheduler", _text(scheduler, "path") or _text(scheduler, "kind")
    flags = _text(scheduler, "profile")
    yield "flags", "" if flags == "default" else flags
    virtual = facts.get("virtual")
    if isinstance(virtual, Mapping):
        yield "clock", f"virtual, seed {virtual.get('seed')}, shift {virtual.get('shift')}"
        yield "identity", _text(facts, "identity")
    elif facts:
        yield "clock", "wall"
    yield "accelerator", _text(facts, "accelerator")
    yield "run id", record.run_id
    wall = host.get("wall_s")
    yield "took", f"{wall:.1f} s" if isinstance(wall, int | float) else ""
    start = _text(host, "start")
    yield "start", _STARTS.get(start, start)
    yield "record", "" if record.sidecar is None else record.sidecar.name
    yield "evidence", "" if record.evidence is None else record.evidence.name


def again_command(record: RunRecord) -> str | None:
    """The command that runs the same again; ``None`` where the record does not name the file."""
    again = _map(record.host, "again")
    scenario = _text(again, "scenario")
    if not scenario:
        return None
    words = ["ktstr-run", scenario]
    for name in ("kernel", "topology", "scheduler", "work_type"):
        if value := _text(again, name):
            words += [f"--{name.replace('_', '-')}", value]
    flags = again.get("flags")
    if isinstance(flags, list):
        words += ["--flags", "+".join(map(str, flags)) or "default"]
    virtual = record.facts.get("virtual")
    if isinstance(virtual, Mapping):
        words += ["--clock", "virtual", "--seed", str(virtual.get("seed"))]
    return one_line(shlex.join(words), 2000)


def _map(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = values.get(name)
    return found if isinstance(found, Mapping) else {}


def _text(values: Mapping[str, Any], name: str) -> str:
    found = values.get(name)
    return found if isinstance(found, str) else ""
