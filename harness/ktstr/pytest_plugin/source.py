# SPDX-License-Identifier: GPL-2.0-only
"""From what a test gives as its scenario to a file that can be run, now and again later."""

import hashlib
import os
import re
import tempfile
import tomllib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ktstr.errors import CannotRun, DefinitionInvalid, OutputUnwritable
from ktstr.model.catalogue import scenario_path
from ktstr.model.packing import packed_files
from ktstr.model.scenario import Scenario, scenario_from_toml
from ktstr.scenario.builder import ScenarioBuilder, scenario_toml
from ktstr.scenario.toml import toml_text
from ktstr.session.options import RunOptions

FOLDER: Final = "scenarios"
"""Below the output folder: scenarios that came as text or out of Python."""

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a scenario was given.

    :param folder: where relative paths start.
    :param name: name for a scenario that has none.
    :param out: the output folder.
    """

    folder: Path
    name: str
    out: Path


def scenario_file(given: object, options: RunOptions, place: Place) -> Path:
    """The file of a scenario.

    A path is itself, and a name of the catalogue its file. Text and what was put together in
    Python are written below the output folder, with their paths made absolute: the record names
    that file, and it can be run again when the test is over.

    :param options: what the run replaces; text is checked with it.
    :raise CannotRun: when it is no scenario.
    """
    match given:
        case ScenarioBuilder():
            # The builder's own word for relative paths is the working directory.
            return _written(toml_text(given.plain()), options, place, Path.cwd())
        case Scenario():
            return _written(scenario_toml(given), options, place, given.folder)
        case str() if "\n" in given:
            return _written(given, options, place, place.folder)
        case str() | os.PathLike():
            return _found(os.fspath(given), place)
    raise CannotRun(
        f"the scenario of the test is of type {type(given).__name__}",
        hint="a path, a name of the catalogue, TOML text, or what ktstr.scenario builds",
    )


def _found(text: str, place: Place) -> Path:
    path = place.folder / text
    if path.suffix == ".toml" or path.is_file():
        return path.absolute()
    return scenario_path(text).absolute()


def _written(text: str, options: RunOptions, place: Place, folder: Path) -> Path:
    label = folder / f"scenario of {place.name}"
    scenario = _read(text, str(label), options)
    data = tomllib.loads(text)
    named = {"name": place.name, **data}
    for file in packed_files(scenario):
        _put(named, file.at, str(file.host.absolute()))
    content = toml_text(named)
    digest = hashlib.sha256(content.encode()).hexdigest()[:12]
    name = _UNSAFE.sub("-", str(named["name"]))[:60]
    return _keep(place.out / FOLDER / f"{name}-{digest}.toml", content)


def _read(text: str, label: str, options: RunOptions) -> Scenario:
    """The scenario, as it is or with what is to be replaced in it.

    :raise DefinitionInvalid: when it is none in either case.
    """
    with suppress(DefinitionInvalid):
        return scenario_from_toml(text, file=label)
    return scenario_from_toml(
        text,
        file=label,
        kernel=options.kernel,
        topology=options.topology,
        scheduler=options.scheduler,
        work_type=options.work_type,
        flags=options.flags,
        clock=options.clock,
        seed=options.seed,
    )


def _put(data: dict[str, Any], at: tuple[str | int, ...], host: str) -> None:
    """Make the path that stands at a key absolute; what stands behind a file's name stays."""
    node: Any = data
    try:
        for part in at[:-1]:
            node = node[part]
        value = node[at[-1]]
    except (KeyError, IndexError, TypeError):
        return  # it came with an option, not with the text
    if isinstance(value, str):
        _, colon, function = value.rpartition(":") if at[-1] == "python" else ("", "", "")
        node[at[-1]] = f"{host}{colon}{function}"


def _keep(path: Path, content: str) -> Path:
    """Write a file of which other workers find all or nothing.

    :raise OutputUnwritable: when the folder refuses.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as out:
                out.write(content)
            os.chmod(scratch, 0o644)
            os.replace(scratch, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(scratch)
            raise
    except OSError as error:
        raise OutputUnwritable(
            f"the scenario cannot be written to {path.parent}: {error.strerror}",
            hint="free space there, or choose another folder with --ktstr-out",
        ) from error
    return path
