# SPDX-License-Identifier: GPL-2.0-only
"""Kernels with a name: the rows of ``kernels/catalogue.toml``.

A name stands wherever a kernel specification may: in a scenario, in ``--kernel`` and ``--kernels``.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import ktstr
from ktstr.errors import HostUnfit
from ktstr.kernels import debian
from ktstr.kernels.cache import CacheEntry
from ktstr.kernels.kernel import FEATURES

FILE: Final = "catalogue.toml"
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9._+-]{0,63}")
_KEYS: Final = {"spec": str, "fragments": list, "has": list, "lacks": list, "note": str}


@dataclass(frozen=True, slots=True)
class NamedKernel:
    """A row of the catalogue.

    :param spec: the specification the name stands for.
    :param fragments: the configuration fragments it is built with; none: it is not built here.
    :param has: features that it is expected to have.
    :param lacks: features that it is known to be without.
    :param note: what it is good for, in a sentence.
    """

    name: str
    spec: str
    fragments: tuple[str, ...]
    has: tuple[str, ...]
    lacks: tuple[str, ...]
    note: str


def kernels_folder() -> Path:
    """The folder with the catalogue and the configuration fragments.

    :raise HostUnfit: neither the repository's nor the installed package's is there.
    """
    package = Path(ktstr.__file__).parent
    for candidate in (package.parents[1] / "kernels", package / "_kernels"):
        if (candidate / FILE).is_file():
            return candidate
    raise HostUnfit(
        "the catalogue of kernels is neither beside the package nor inside it",
        hint="install ktstr from its repository or from a complete wheel",
    )


@cache
def named_kernels() -> Mapping[str, NamedKernel]:
    """All of them by name, in the order of the file.

    :raise HostUnfit: the file is not there.
    :raise ValueError: it is not as it should be.
    """
    with (kernels_folder() / FILE).open("rb") as stream:
        rows = tomllib.load(stream)
    return MappingProxyType({name: _row(name, row) for name, row in rows.items()})


def catalogued(spec: str) -> str:
    """What *spec* stands for: itself, unless it is a name of the catalogue."""
    if ":" in spec or "/" in spec or spec == "host":
        return spec  # without opening the file
    row = named_kernels().get(spec)
    return spec if row is None else row.spec


def may_be_kernel(spec: str) -> bool:
    """Whether *spec* has a form that some kernel has; that it exists is another question."""
    return ":" in spec or spec == "host" or spec in named_kernels() or os.path.lexists(spec)


def cached(row: NamedKernel, entries: Iterable[CacheEntry]) -> CacheEntry | None:
    """The newest kernel in the cache that *row* means; ``None`` when there is none."""
    kind, _, value = row.spec.partition(":")
    if kind == "debian":
        sought = debian.parse(value)
        fit = [e for e in entries if "package" in e.origin and sought and sought.means(e.release)]
    elif kind == "debian-source":
        version = value.partition("+")[0]
        fit = [e for e in entries if _built(e, version) and _fragments(e) == set(row.fragments)]
    else:
        fit = [e for e in entries if e.spec == row.spec]
    return max(fit, key=_preference, default=None)


def _preference(entry: CacheEntry) -> tuple[bool, tuple[int, ...], float]:
    """As a specification chooses: what Debian has signed, then the newest."""
    signed = "-unsigned-" not in entry.origin.get("package", "")
    return signed, debian.numbers(entry.release), entry.made_at


def _built(entry: CacheEntry, version: str) -> bool:
    kind, _, source = entry.origin.get("source", "").partition(":")
    return kind == "debian-source" and debian.means(version, source)


def _fragments(entry: CacheEntry) -> set[str]:
    return set(re.findall(r"[\w-]+", entry.origin.get("fragments", "")))


def close_names(spec: str) -> str:
    """For a hint: the name of the catalogue that may have been meant; empty when none is close."""
    found = difflib.get_close_matches(spec, named_kernels(), n=1)
    return f"did you mean {found[0]}? " if found else ""


def _row(name: str, row: Any) -> NamedKernel:
    if not isinstance(row, dict) or not _NAME.fullmatch(name):
        raise ValueError(f"{FILE}: {name!r} is no name of a kernel")
    for key, value in row.items():
        kind = _KEYS.get(key)
        if kind is None or not isinstance(value, kind):
            raise ValueError(f"{FILE}: {name}.{key} is not one of {', '.join(_KEYS)}")
    has, lacks = tuple(row.get("has", ())), tuple(row.get("lacks", ()))
    for feature in (*has, *lacks):
        if feature not in FEATURES:
            raise ValueError(f"{FILE}: {name}: there is no feature {feature!r}")
    if not row.get("spec") or not row.get("note"):
        raise ValueError(f"{FILE}: {name} has no spec or no note")
    return NamedKernel(name, row["spec"], tuple(row.get("fragments", ())), has, lacks, row["note"])
