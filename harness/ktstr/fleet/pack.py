# SPDX-License-Identifier: GPL-2.0-only
"""Packs a run for a worker: what its scenario refers to by path becomes content."""

import copy
import hashlib
import json
import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ktstr.errors import CannotRun
from ktstr.fleet.parcel import MAX_FILE_BYTES, MAX_FILES, Parcel, SentFile
from ktstr.gauntlet.cells import Cell, options_to_json
from ktstr.kernels.catalogue import catalogued
from ktstr.kernels.resolve import MODULES
from ktstr.model.packing import packed_files
from ktstr.scenario.toml import toml_text
from ktstr.session.definition import define
from ktstr.session.room import cost_of

FOLDED: Final = (
    "kernel",
    "topology",
    "scheduler",
    "work_type",
    "flags",
    "clock",
    "seed",
    "memory_mib",
)
"""Options that stand in place of what the scenario says."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A parcel, and where its files are on this machine, by digest."""

    parcel: Parcel
    sources: dict[str, Path] = field(default_factory=dict)


def pack(cell: Cell) -> Packed:
    """Pack a cell's scenario with its options and everything it refers to; blocks.

    Where it refers to no files its text travels as it is. Otherwise it is written anew, with the
    places that the files have on the worker, and with the options that replace parts of it.

    :raise CannotRun: when it cannot run anywhere but here, or not at all.
    """
    path, options = cell.path, cell.options
    definition = define(path, options)
    scenario = definition.scenario
    files = _Files()
    data = copy.deepcopy(dict(scenario.source.data))
    for packed in packed_files(scenario):
        place = files.add(packed.host)
        if packed.at[-1] == "python":
            # The function is named behind its file.
            place += ":" + str(scenario.source.value(packed.at)).rpartition(":")[2]
        _put(data, packed.at, place)
    kernel = _sent_kernel(scenario.kernel, files)
    if kernel is not None:
        data["kernel"] = kernel
    cost, given = cost_of(definition), options_to_json(options)
    shape = [scenario.kernel, str(definition.topology), scenario.vm.memory_mib]
    parcel = Parcel(
        scenario.name,
        toml_text(data) if files.sent else _named(path, scenario.name),
        {key: value for key, value in given.items() if not files.sent or key not in FOLDED},
        cost.cpus,
        cost.memory_mib,
        hashlib.sha256(json.dumps([*shape, sorted(files.sources)]).encode()).hexdigest()[:16],
        cell.kernel,
        "" if kernel is not None else scenario.kernel,
        tuple(files.sent.values()),
    )
    return Packed(parcel, files.sources)


class _Files:
    """Files to send, and where each content is."""

    def __init__(self) -> None:
        self.sent: dict[str, SentFile] = {}
        self.sources: dict[str, Path] = {}

    def add(self, host: Path) -> str:
        """The place of a file on the worker.

        :raise CannotRun: when it cannot be read or is too large.
        """
        try:
            info = host.stat()
            if info.st_size > MAX_FILE_BYTES or len(self.sent) >= MAX_FILES:
                raise CannotRun(
                    f"{host} is too much to send: {info.st_size >> 20} MiB, "
                    f"{len(self.sent)} files before it",
                    hint=f"at most {MAX_FILES} files of {MAX_FILE_BYTES >> 20} MiB travel",
                )
            with host.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise CannotRun(f"{host} cannot be sent: {error.strerror}") from error
        name = f"files/{digest[:12]}/{host.name}"
        self.sent[name] = SentFile(name, digest, info.st_size, bool(info.st_mode & 0o100))
        self.sources[digest] = host
        return name


def _sent_kernel(spec: str, files: _Files) -> str | None:
    """What a kernel is called on the worker; None when the same as here.

    :raise CannotRun: when only this machine has it.
    """
    meant = catalogued(spec)
    kind, colon, value = meant.partition(":")
    if meant == "host":
        raise CannotRun(
            "kernel host means another kernel on every machine",
            hint="name it by path:FILE, which is sent along, or take one of `ktstr kernel list`",
        )
    named = bool(colon) and kind == "path"
    place = Path(os.path.expanduser(value if named else meant)).absolute()
    if not named and not os.path.lexists(place):
        return None
    if MODULES in meant or place.is_dir():
        raise CannotRun(
            f"kernel {spec} cannot be sent: a folder lies on this machine only",
            hint="name an image by path:FILE, or a kernel that each worker can fetch or build",
        )
    return f"path:{files.add(place)}"


def _put(data: dict[str, Any], at: Sequence[str | int], value: str) -> None:
    node: Any = data
    for part in at[:-1]:
        node = node[part]
    node[at[-1]] = value


def _named(path: Path, name: str) -> str:
    """The file's text, with the name that it has from its file where it says none itself."""
    text = path.read_text("utf-8")
    return text if "name" in tomllib.loads(text) else f"name = {json.dumps(name)}\n{text}"
