# SPDX-License-Identifier: GPL-2.0-only
"""What a gauntlet is made of: its file, with the command line in place of parts of it."""

import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from ktstr.cli.command_line import BadCommandLine
from ktstr.cli.gauntlet_runner import Asked
from ktstr.errors import CannotRun
from ktstr.gauntlet.plan import Wanted
from ktstr.kernels.catalogue import close_names, may_be_kernel
from ktstr.model.catalogue import catalogue
from ktstr.model.gauntlet_def import Constraints
from ktstr.model.gauntlet_file import (
    GauntletFile,
    gauntlet_from_data,
    gauntlet_path,
    load_gauntlet,
    or_own,
    places,
    scenarios_named,
)
from ktstr.model.presets import ALL
from ktstr.session.matrix import unique
from ktstr.session.options import RunOptions
from ktstr.session.run_id import new_run_id

FOLDER = Path("ktstr-gauntlets")


def wanted_by(
    file: str | None,
    *,
    scenarios: Sequence[str],
    presets: Sequence[str],
    kernels: Sequence[str],
    schedulers: Sequence[str],
    all_flags: bool,
    constraints: Sequence[str],
    budget_s: float | None,
    max_cpus: int | None,
    jobs: int | None,
    clock: Literal["wall", "virtual"] | None,
    accel: Literal["auto", "kvm", "tcg"],
    auto_repro: bool | None,
    out_dir: Path | None,
    verbose: bool,
) -> Asked:
    """What the command line asks for.

    :raise DefinitionInvalid: with every mistake in the file.
    :raise CannotRun: when a name means nothing.
    """
    path = None if file is None else gauntlet_path(file)
    given: dict[str, Any] = {
        "scenarios": [*unique(scenarios)],
        "presets": [*unique(presets)],
        "kernels": [*unique(kernels)],
        "schedulers": [*unique(schedulers)],
        "constraints": _constraints(constraints),
    }
    given = {key: value for key, value in given.items() if value}
    if path is None:
        found = _by_options(given)
        folder = Path()
    else:
        found = load_gauntlet(path)
        folder = path.parent
        found = _with(found, given)
    for spec in or_own(found.kernels):
        if spec is not None and not may_be_kernel(spec):
            hint = f"{close_names(spec)}`ktstr kernel list` has the names"
            raise CannotRun(f"{spec!r} names no kernel and is no file", hint=hint)
    if budget_s is None and found.budget is not None:
        budget_s = found.budget / 1000
    wanted = Wanted(
        paths=_paths(found.scenarios, Path() if "scenarios" in given else folder),
        presets=places(found.presets),
        kernels=or_own(found.kernels),
        schedulers=tuple(
            _scheduler(word, Path() if "schedulers" in given else folder)
            for word in or_own(found.schedulers)
        ),
        all_flags=all_flags or found.all_flags,
        constraints=found.constraints,
        options=RunOptions(
            clock=clock or found.clock,
            accel=found.accel if accel == "auto" else accel,
            auto_repro=auto_repro,
            verbose=verbose,
        ),
    )
    return Asked(
        name=found.name,
        folder=out_dir or FOLDER / f"{found.name}-{new_run_id()}",
        wanted=wanted,
        max_cpus=max_cpus or found.max_cpus,
        budget_s=budget_s,
        jobs=jobs,
        verbose=verbose,
    )


def _by_options(given: dict[str, Any]) -> GauntletFile:
    """A gauntlet without a file.

    :raise DefinitionInvalid: with every mistake in the options.
    """
    return gauntlet_from_data({"name": "gauntlet", **given}, "the command line")


def _with(found: GauntletFile, given: dict[str, Any]) -> GauntletFile:
    """The file with what the command line says in place of its own."""
    if not given:
        return found
    own = found.constraints.model_dump(exclude_unset=True)
    plain = {
        key: value
        for key, value in found.model_dump(exclude_unset=True).items()
        if key in ("name", "scenarios", "presets", "kernels", "schedulers")
    }
    if "constraints" in given:
        given = {**given, "constraints": {**own, **given["constraints"]}}
    checked = gauntlet_from_data({**plain, **given, "scenarios": [ALL]}, "the command line")
    changed = {key: getattr(checked, key) for key in given}
    if "scenarios" in given:
        # Their paths start here, not at the file.
        changed["scenarios"] = _by_options({"scenarios": given["scenarios"]}).scenarios
    return found.model_copy(update=changed)


def _constraints(words: Iterable[str]) -> dict[str, Any]:
    """``KEY=VALUE`` as TOML reads them; ``exclude`` takes names."""
    found: dict[str, Any] = {}
    for word in words:
        key, sign, value = word.partition("=")
        if not sign:
            known = ", ".join(Constraints.model_fields)
            raise BadCommandLine(f"--constraint: {word!r}; allowed: KEY=VALUE with {known}")
        if key == "exclude":
            found.setdefault(key, []).extend(unique([value]))
            continue
        try:
            found[key] = tomllib.loads(f"x = {value}")["x"]
        except ValueError:
            found[key] = value
    return found


def _paths(words: Sequence[str], folder: Path) -> tuple[Path, ...]:
    found: dict[Path, Path] = {}
    for word in words:
        named = (
            tuple(entry.path for entry in catalogue())
            if word == ALL
            else scenarios_named(word, folder)
        )
        for path in named:
            found.setdefault(path.absolute(), path)
    return tuple(found.values())


def _scheduler(word: str | None, folder: Path) -> str | None:
    """A scheduler as a run takes it; a relative path starts at ``folder``."""
    if word is None or "/" not in word or ":" in word or Path(word).is_absolute():
        return word
    return str((folder / word).absolute())
