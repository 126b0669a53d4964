# SPDX-License-Identifier: GPL-2.0-only
"""Options of the plugin: on the command line, and of the same names in the ini file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

MAX_JOBS: Final = 256
_LISTS: Final = {
    "kernel": "Kernel instead of those that tests name; several times: each for every test.",
    "topology": "Topology or preset instead of those that tests name; several times: each.",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for all tests.

    :param kernels: kernels named on the command line.
    :param usual_kernels: kernels of the ini file, for tests that name none; topologies likewise.
    :param out: folder for records and evidence, absolute.
    :param jobs: guests at a time; None: as many as there are workers of pytest-xdist.
    :param no_skip: a skip is a failure.
    """

    kernels: tuple[str, ...]
    topologies: tuple[str, ...]
    usual_kernels: tuple[str, ...]
    usual_topologies: tuple[str, ...]
    out: Path
    jobs: int | None
    no_skip: bool


def add_options(parser: pytest.Parser) -> None:
    """Declare command-line and ini options."""
    group = parser.getgroup("ktstr", "tests of process schedulers in virtual machines")
    for name, meaning in _LISTS.items():
        group.addoption(f"--ktstr-{name}", action="append", metavar=name.upper(), help=meaning)
        parser.addini(f"ktstr_{name}", f"{name} where a test names none; several: each", "args")
    out = "Folder for records and evidence; default: ktstr-runs beside the ini file."
    group.addoption("--ktstr-out", metavar="DIR", help=out)
    parser.addini("ktstr_out", out, "string", "ktstr-runs")
    jobs = "Guests at a time, with several workers of pytest-xdist; default: one for each worker."
    group.addoption("--ktstr-jobs", metavar="N", help=jobs)
    parser.addini("ktstr_jobs", jobs, "string", "")
    no_skip = "A scenario that is skipped is a failure."
    group.addoption("--ktstr-no-skip", action="store_true", default=None, help=no_skip)
    parser.addini("ktstr_no_skip", no_skip, "bool", False)


_SETTINGS: Final = pytest.StashKey[Settings]()


def settings_of(config: pytest.Config) -> Settings:
    """What command line and ini file say.

    :raise pytest.UsageError: for what cannot be.
    """
    if _SETTINGS not in config.stash:
        config.stash[_SETTINGS] = _read(config)
    return config.stash[_SETTINGS]


def _read(config: pytest.Config) -> Settings:
    given_out, no_skip = config.getoption("--ktstr-out"), config.getoption("--ktstr-no-skip")
    out = (
        config.rootpath / config.getini("ktstr_out")
        if given_out is None
        else config.invocation_params.dir / given_out
    )
    return Settings(
        kernels=_unique(config.getoption("--ktstr-kernel") or ()),
        topologies=_unique(config.getoption("--ktstr-topology") or ()),
        usual_kernels=_unique(config.getini("ktstr_kernel")),
        usual_topologies=_unique(config.getini("ktstr_topology")),
        out=out.absolute(),
        jobs=_jobs(config.getoption("--ktstr-jobs") or config.getini("ktstr_jobs")),
        no_skip=config.getini("ktstr_no_skip") if no_skip is None else no_skip,
    )


def _unique(words: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for word in words if word))


def _jobs(text: str) -> int | None:
    if text in ("", "auto"):
        return None
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MAX_JOBS:
        raise pytest.UsageError(
            f"ktstr-jobs: {text!r}; allowed: auto, or a number from 1 to {MAX_JOBS}"
        )
    return int(text)
