# SPDX-License-Identifier: GPL-2.0-only
"""Reads a scenario file; every mistake in it is listed at once.

Importing this loads pydantic: do it when a scenario is about to be read, not before.
"""

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from ktstr.errors import DefinitionInvalid, Problem
from ktstr.model.definition import Scenario
from ktstr.model.fields import Schema
from ktstr.model.locate import KeyPath
from ktstr.model.mistakes import mistakes_from
from ktstr.model.repair import repair
from ktstr.model.rules import rule_mistakes, walk_cgroups
from ktstr.model.source import Mistake, Source, Unknown

__all__ = ["Scenario", "json_schema", "load_scenario", "scenario_from_toml"]

MAX_FILE_SIZE: Final = 1 << 20

_TOML_ERROR: Final = re.compile(r"(.*?) \(at (?:line (\d+), column (\d+)|end of document)\)")


def load_scenario(
    path: str | Path, *, kernel: str | None = None, topology: str | None = None
) -> Scenario:
    """Read and check a scenario file.

    :param kernel: replaces the file's kernel.
    :param topology: replaces the file's topology; the cpusets are checked against this one.
    :raises DefinitionInvalid: with every mistake found, or why the file cannot be read.
    """
    file = str(path)
    try:
        with open(path, "rb") as stream:
            raw = stream.read(MAX_FILE_SIZE + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise _unreadable(file, None, reason, "a scenario file that can be read") from None
    if len(raw) > MAX_FILE_SIZE:
        raise _unreadable(file, None, "more than 1 MiB", "a scenario file of at most 1 MiB")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _unreadable(file, line, f"byte 0x{raw[error.start]:02x}", "UTF-8 text") from None
    return scenario_from_toml(text, file=file, kernel=kernel, topology=topology)


def scenario_from_toml(
    text: str,
    *,
    file: str = "<memory>",
    kernel: str | None = None,
    topology: str | None = None,
) -> Scenario:
    """Read and check a scenario's text; relative paths in it start at the folder of ``file``.

    :raises DefinitionInvalid: with every mistake found.
    """
    data = _parse(text, file)
    data.setdefault("name", _default_name(file))
    replaced: set[KeyPath] = set()
    if kernel is not None:
        data["kernel"] = kernel
        replaced.add(("kernel",))
    if topology is not None and isinstance(data.setdefault("vm", {}), dict):
        data["vm"]["topology"] = topology
        replaced.add(("vm", "topology"))
    source = Source(file, text, data, frozenset(replaced))
    return _validate(data, source)


@cache
def json_schema() -> Schema:
    """JSON Schema of the scenario file, for editors and for the words of mistakes."""
    schema = Scenario.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "ktstr scenario"
    schema["required"] = [key for key in schema["required"] if key != "name"]
    return schema


def _validate(data: dict[str, Any], source: Source) -> Scenario:
    unknown, muted = Unknown(), list[KeyPath]()
    try:
        scenario = Scenario.model_validate(data)
        mistakes: list[Mistake] = []
    except ValidationError as error:
        mistakes = mistakes_from(error, data, json_schema())
        repaired = repair(data, [mistake.at for mistake in mistakes])
        unknown, muted = repaired.unknown, repaired.muted
        try:
            scenario = Scenario.model_validate(repaired.data)
        except ValidationError:
            raise DefinitionInvalid(source.problems(mistakes)) from None
    scenario._source = source  # the object's own private slot; frozen fields stay as they are
    topology = scenario.vm.topology
    mistakes += [
        mistake
        for mistake in (
            *rule_mistakes(scenario, unknown),
            *walk_cgroups(scenario, topology, unknown)[0],
        )
        if not any(_overlap(mistake.at, at) for at in muted)
    ]
    if mistakes:
        raise DefinitionInvalid(source.problems(mistakes))
    return scenario


def _overlap(one: KeyPath, other: KeyPath) -> bool:
    length = min(len(one), len(other))
    return one[:length] == other[:length]


def _parse(text: str, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise _unreadable(file, None, "values nested too deeply", "valid TOML") from None
    except ValueError as error:  # TOMLDecodeError, and numbers too long for Python
        match = _TOML_ERROR.fullmatch(str(error))
        lines = text.rstrip().split("\n")
        reason = match[1] if match else str(error)
        line = int(match[2]) if match and match[2] else len(lines) if match else None
        found = "" if line is None else lines[min(line, len(lines)) - 1].strip()
        column = f", column {match[3]}" if match and match[3] else ""
        allowed = f"valid TOML ({reason[:1].lower()}{reason[1:]}{column})"
        raise _unreadable(file, line, found or "nothing", allowed) from None


def _unreadable(file: str, line: int | None, found: str, allowed: str) -> DefinitionInvalid:
    shown = "".join(c if c.isprintable() else "?" for c in found[:80])
    return DefinitionInvalid([Problem(file, line, "(the file)", shown, allowed)])


def _default_name(file: str) -> str:
    stem = Path(file).name.removesuffix(".toml")
    return re.sub(r"[^a-z0-9_-]+", "_", stem.lower()).strip("_")[:64] or "scenario"
