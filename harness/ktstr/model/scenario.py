# SPDX-License-Identifier: GPL-2.0-only
"""Reads a scenario file; every mistake in it is listed at once.

Importing this loads pydantic: do it when a scenario is about to be read, not before.
"""

import os
import re
import tomllib
from collections.abc import Iterator, Sequence
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
from ktstr.model.rules.numa import division_mistakes
from ktstr.model.rules.scenario import rule_mistakes, walk_cgroups
from ktstr.model.scheduler_def import KERNEL_SOURCE
from ktstr.model.source import Mistake, Source, Unknown

__all__ = [
    "Scenario",
    "json_schema",
    "load_scenario",
    "scenario_from_data",
    "scenario_from_toml",
    "scheduler_table",
]

MAX_FILE_SIZE: Final = 1 << 20

_TOML_ERROR: Final = re.compile(r"(.*?) \(at (?:line (\d+), column (\d+)|end of document)\)")


def load_scenario(
    path: str | Path,
    *,
    kernel: str | None = None,
    topology: str | None = None,
    scheduler: str | None = None,
    work_type: str | None = None,
    flags: Sequence[str] | None = None,
    clock: str | None = None,
    seed: int | None = None,
    memory_mib: int | None = None,
) -> Scenario:
    """Read and check a scenario file.

    :param kernel: replaces the file's kernel.
    :param topology: replaces the file's topology; the cpusets are checked against this one.
    :param scheduler: replaces the file's scheduler, with all that belongs to it: a built-in name,
        the path of a BPF object (``*.o``) or of a program, or ``none`` for the kernel's own.
    :param work_type: replaces the type of all works in swappable cgroups; their parameters are
        then that type's defaults.
    :param flags: replaces the flags of the scheduler.
    :param clock: replaces the file's clock.
    :param seed: replaces the file's seed.
    :param memory_mib: replaces the file's guest memory, MiB; that of nodes stays.
    :raises DefinitionInvalid: with every mistake found, or why the file cannot be read.
    """
    return scenario_from_toml(
        read_definition(path),
        file=str(path),
        kernel=kernel,
        topology=topology,
        scheduler=scheduler,
        work_type=work_type,
        flags=flags,
        clock=clock,
        seed=seed,
        memory_mib=memory_mib,
    )


def scenario_from_toml(
    text: str,
    *,
    file: str = "<memory>",
    kernel: str | None = None,
    topology: str | None = None,
    scheduler: str | None = None,
    work_type: str | None = None,
    flags: Sequence[str] | None = None,
    clock: str | None = None,
    seed: int | None = None,
    memory_mib: int | None = None,
) -> Scenario:
    """Read and check a scenario's text; relative paths in it start at the folder of ``file``.

    :raises DefinitionInvalid: with every mistake found.
    """
    data = parse_toml(text, file)
    data.setdefault("name", default_name(file))
    replaced: set[KeyPath] = set()
    if kernel is not None:
        data["kernel"] = kernel
        replaced.add(("kernel",))
    if topology is not None and isinstance(data.setdefault("vm", {}), dict):
        data["vm"]["topology"] = topology
        replaced.add(("vm", "topology"))
    vm = data.setdefault("vm", {}) if memory_mib is not None else None
    if isinstance(vm, dict) and not vm.get("numa"):
        vm["memory"] = f"{memory_mib}M"
        replaced.add(("vm", "memory"))
    for key, given in (("clock", clock), ("seed", seed)):
        if given is not None and isinstance(data.setdefault("run", {}), dict):
            data["run"][key] = given
            replaced.add(("run", key))
    if scheduler is not None:
        form, value = _scheduler_form(scheduler)
        data["scheduler"] = {form: value}
        replaced |= {("scheduler",), ("scheduler", form)}
    if flags is not None and isinstance(data.setdefault("scheduler", {}), dict):
        data["scheduler"]["flags"] = [*flags]
        replaced.add(("scheduler", "flags"))
    if work_type is not None:
        replaced |= set(_swap_types(data, work_type, ()))
    return _validate(data, Source(file, text, data, frozenset(replaced)))


def scenario_from_data(data: dict[str, Any], *, file: str = "<memory>") -> Scenario:
    """Check a scenario that is no text: what its TOML would be read as.

    :param file: what mistakes call it; relative paths start at this one's folder.
    :raises DefinitionInvalid: with every mistake found.
    """
    return _validate(data, Source(file, "", data))


def scheduler_table(word: str) -> dict[str, str | bool]:
    """``[scheduler]`` for a scheduler given by one word, as :func:`load_scenario` takes it."""
    form, value = _scheduler_form(word)
    return {form: value}


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
    division = [] if unknown.topology else [*division_mistakes(scenario)]
    unknown.topology |= bool(division)
    topology = scenario.vm.topology if unknown.topology else scenario.vm.guest_topology
    mistakes += [
        mistake
        for mistake in (
            *division,
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


def parse_toml(text: str, file: str) -> dict[str, Any]:
    """The tables of a definition file.

    :raises DefinitionInvalid: when it is not TOML, naming the line.
    """
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


def read_definition(path: str | Path) -> str:
    """The text of a definition file.

    :raises DefinitionInvalid: when it cannot be read, is too large or no text.
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
        return raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _unreadable(file, line, f"byte 0x{raw[error.start]:02x}", "UTF-8 text") from None


def _unreadable(file: str, line: int | None, found: str, allowed: str) -> DefinitionInvalid:
    shown = "".join(c if c.isprintable() else "?" for c in found[:80])
    return DefinitionInvalid([Problem(file, line, "(the file)", shown, allowed)])


def _scheduler_form(text: str) -> tuple[str, str | bool]:
    """Key and value of ``[scheduler]`` for a scheduler given by one word."""
    if text == "none":
        return "kernel_default", True
    if text.startswith(KERNEL_SOURCE):
        return "binary", text
    if "/" not in text and not os.path.isfile(text):
        # Meant as a name: the mistake, if it is one, lists the names.
        return "bpf", text
    # Typed on a command line, it starts there and not beside the scenario.
    return "bpf" if text.endswith(".o") else "binary", os.path.abspath(text)


def _swap_types(node: object, work_type: str, at: KeyPath) -> Iterator[KeyPath]:
    """Change the types in swappable cgroups of raw data, wherever they are; yields the keys."""
    if isinstance(node, list):
        for index, item in enumerate(node):
            yield from _swap_types(item, work_type, (*at, index))
    elif isinstance(node, dict):
        for key, item in node.items():
            yield from _swap_types(item, work_type, (*at, key))
        works = node.get("works") if node.get("swappable") is True else None
        for index, work in enumerate(works if isinstance(works, list) else ()):
            if isinstance(work, dict):
                work.pop("params", None)
                work["type"] = work_type
                yield (*at, "works", index, "type")


def default_name(file: str) -> str:
    """The name of a definition that gives none: its file's, as far as names may be so."""
    stem = Path(file).name.removesuffix(".toml")
    return re.sub(r"[^a-z0-9_-]+", "_", stem.lower()).strip("_")[:64] or "scenario"
