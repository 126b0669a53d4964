# SPDX-License-Identifier: GPL-2.0-only
"""The gauntlet file: scenarios times presets times kernels times schedulers, and a budget.

Like a scenario file it is read strictly, and all its mistakes are listed at once.
"""

from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, PlainValidator, StrictBool, StrictInt, ValidationError, WithJsonSchema

from ktstr.errors import CannotRun, DefinitionInvalid
from ktstr.model.catalogue import scenario_paths
from ktstr.model.configs import configs_folder
from ktstr.model.definition import Clock
from ktstr.model.fields import KernelSpec, Name, PositiveMs, Schema, Table
from ktstr.model.gauntlet_def import Constraints, constraint_mistakes
from ktstr.model.mistakes import mistakes_from
from ktstr.model.presets import ALL, OWN, presets, topology_named
from ktstr.model.scenario import default_name, parse_toml, read_definition
from ktstr.model.source import Mistake, Source
from ktstr.model.topology import MAX_CPUS
from ktstr.model.words import did_you_mean

PLACE_ALLOWED: Final = f'a topology such as "1n2l2c1t", a preset, "{ALL}" of them, or "{OWN}"'
MAX_ENTRIES: Final = 256


def _place(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(PLACE_ALLOWED)
    if value not in (OWN, ALL):
        try:
            topology_named(value)
        except ValueError as error:
            text = str(error).replace("a topology such as", f'"{ALL}", "{OWN}", a topology such as')
            raise ValueError(text) from None
    return value


Place = Annotated[
    str,
    PlainValidator(_place),
    WithJsonSchema({"type": "string", "x-allowed": PLACE_ALLOWED}),
]
_Word = Annotated[str, Field(strict=True, min_length=1, max_length=4096)]
Words = Annotated[tuple[_Word, ...], Field(max_length=MAX_ENTRIES)]


class GauntletFile(Table):
    """What is multiplied by what.

    :ivar scenarios: files, names of the catalogue, folders, patterns, ``all`` for the catalogue;
        paths start at the file's folder.
    :ivar max_cpus: guests with more vCPUs are left out; None: as the host can carry.
    :ivar budget: how long all of it may take, ms; None: everything is run.
    """

    name: Name
    description: Annotated[str, Field(max_length=4096)] = ""
    scenarios: Annotated[tuple[_Word, ...], Field(min_length=1, max_length=MAX_ENTRIES)]
    presets: Annotated[tuple[Place, ...], Field(min_length=1, max_length=MAX_ENTRIES)] = (ALL,)
    kernels: Annotated[
        tuple[Literal["own"] | KernelSpec, ...], Field(min_length=1, max_length=MAX_ENTRIES)
    ] = (OWN,)
    schedulers: Annotated[tuple[_Word, ...], Field(min_length=1, max_length=MAX_ENTRIES)] = (OWN,)
    all_flags: StrictBool = False
    constraints: Constraints = Field(default_factory=Constraints)
    budget: PositiveMs | None = None
    max_cpus: Annotated[StrictInt, Field(ge=1, le=MAX_CPUS)] | None = None
    clock: Clock | None = None
    accel: Literal["auto", "kvm", "tcg"] = "auto"


@cache
def json_schema() -> Schema:
    """JSON Schema of the gauntlet file."""
    schema = GauntletFile.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "ktstr gauntlet"
    schema["required"] = [key for key in schema["required"] if key != "name"]
    return schema


def load_gauntlet(path: Path) -> GauntletFile:
    """Read and check a gauntlet file.

    :raises DefinitionInvalid: with every mistake found, or why the file cannot be read.
    """
    file = str(path)
    text = read_definition(path)
    data = parse_toml(text, file)
    data.setdefault("name", default_name(file))
    return _checked(Source(file, text, data), path.parent)


def gauntlet_from_data(data: dict[str, Any], file: str) -> GauntletFile:
    """Check a gauntlet that is no text: what its TOML would be read as.

    :param file: what mistakes call it; relative paths start at the working directory.
    :raises DefinitionInvalid: with every mistake found.
    """
    return _checked(Source(file, "", data), Path())


def _checked(source: Source, folder: Path) -> GauntletFile:
    data = dict(source.data)
    mistakes: list[Mistake] = []
    found: GauntletFile | None = None
    try:
        found = GauntletFile.model_validate(data)
    except ValidationError as error:
        mistakes = mistakes_from(error, data, json_schema())
    mistakes += _rules(data, folder)
    if found is None or mistakes:
        raise DefinitionInvalid(source.problems(mistakes))
    return found


def _rules(data: dict[str, object], folder: Path) -> list[Mistake]:
    """What reads well and still means nothing; of a file with other mistakes too."""
    mistakes: list[Mistake] = []
    scenarios = data.get("scenarios")
    for index, word in enumerate(scenarios if isinstance(scenarios, list | tuple) else ()):
        if isinstance(word, str) and word not in ("", ALL):
            try:
                scenarios_named(word, folder)
            except CannotRun as error:
                allowed = f"a name of the catalogue, a file, a folder or a pattern: {error.message}"
                mistakes.append(Mistake(("scenarios", index), allowed))
    constraints = data.get("constraints")
    return [*mistakes, *(_ranges(constraints) if isinstance(constraints, dict) else ())]


def _ranges(given: dict[str, object]) -> list[Mistake]:
    """Empty ranges among the constraints that can be read."""
    try:
        found = Constraints.model_validate(given)
    except ValidationError as error:
        spoilt = {detail["loc"][0] for detail in error.errors() if detail["loc"]}
        axes = {str(key).partition("_")[2] for key in spoilt}
        rest = {key: value for key, value in given.items() if key.partition("_")[2] not in axes}
        return _ranges(rest) if len(rest) < len(given) else []
    return [*constraint_mistakes(found, "constraints")]


def scenarios_named(word: str, folder: Path) -> tuple[Path, ...]:
    """The scenarios of one entry; a path that is not absolute starts at ``folder``.

    :raises CannotRun: when it names nothing.
    """
    beside = folder / word
    is_path = "/" in word or word.endswith(".toml") or any(sign in word for sign in "*?[")
    return scenario_paths([str(beside) if is_path or beside.is_dir() else word])


def gauntlet_path(text: str) -> Path:
    """The file that ``text`` names: a path, or one of ``configs/gauntlets``.

    :raises CannotRun: when it looks like a name and there is none such.
    """
    path = Path(text)
    if path.suffix or len(path.parts) != 1 or path.is_file():
        return path
    known = {file.stem: file for file in gauntlet_files()}
    if text not in known:
        raise CannotRun(
            f'no gauntlet is called "{text}", and there is no such file{did_you_mean(text, known)}',
            hint=f"there are {', '.join(known)}; a file's name ends in .toml",
        )
    return known[text]


def gauntlet_files() -> tuple[Path, ...]:
    """The gauntlets that come with ktstr, by name."""
    return tuple(sorted((configs_folder() / "gauntlets").glob("*.toml")))


def places(words: tuple[str, ...]) -> tuple[str | None, ...]:
    """The topologies that the words mean, each once; None: each scenario's own."""
    found: dict[str | None, None] = {}
    for word in words:
        for name in presets() if word == ALL else (word,):
            found[None if name == OWN else name] = None
    return tuple(found)


def or_own(words: tuple[str, ...]) -> tuple[str | None, ...]:
    """The kernels or schedulers that the words mean, each once; None: each scenario's own."""
    return tuple(dict.fromkeys(None if word == OWN else word for word in words))
