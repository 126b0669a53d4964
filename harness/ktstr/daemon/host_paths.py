# SPDX-License-Identifier: GPL-2.0-only
"""What of a submission names things of this host, or is made into programs that run on it.

A client from elsewhere may not have files of this host packed into its guest and looked at there,
nor sources of its choice built here. The keys are those of the model (a test holds them against
it); whether the scenario is right otherwise is found out when it is read to be run.
"""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any, Final

from ktstr.daemon.submission import OWN_FOLDER, ScenarioFile, Submission
from ktstr.errors import RequestInvalid

FILE_KEYS: Final = frozenset(("bpf", "binary", "config_file", "command", "files", "python"))
"""Keys of the scenario file that take files of the host."""

BUILT_IN: Final = frozenset(("scx_ktstr",))
"""Values of ``bpf`` that ktstr brings along."""

KERNEL_PREFIX: Final = "kernel:"
"""Before the name of a scheduler of the guest kernel's own source."""

MAX_DOTS: Final = 200
"""Dots in a line of a scenario that comes from elsewhere."""

KERNEL_KINDS: Final = frozenset(("debian", "debian-source"))
"""Kinds of kernels that come from where the host's own packages come from."""


def host_references(submission: Submission) -> Iterator[tuple[str, str]]:
    """Each key that refers to the host, and its value.

    :raise RequestInvalid: when the scenario is too deep to be looked through.
    """
    options, scenario = submission.options, submission.scenario
    if isinstance(scenario, ScenarioFile):
        yield "scenario.path", str(scenario.path)
    else:
        yield from _in_toml(scenario.toml)
    if submission.cwd is not None:
        yield "cwd", str(submission.cwd)
    if options.out_dir != OWN_FOLDER:
        yield "options.out_dir", str(options.out_dir)
    if options.kernel is not None and not _harmless_kernel(options.kernel):
        yield "options.kernel", options.kernel
    if options.scheduler is not None and not _harmless_scheduler(options.scheduler):
        yield "options.scheduler", options.scheduler


def _in_toml(text: str) -> Iterator[tuple[str, str]]:
    # tomllib takes the square of a dotted key's length, and everybody would wait for it meanwhile.
    if any(line.count(".") > MAX_DOTS for line in text.split("\n")):
        raise RequestInvalid(f"scenario.toml: too deep: more than {MAX_DOTS} dots in a line")
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        # What cannot be read is refused with line and column when the run is defined.
        return
    kernel = data.get("kernel")
    if isinstance(kernel, str) and not _harmless_kernel(kernel):
        yield "scenario.toml: kernel", kernel
    try:
        yield from _walk(data, "")
    except RecursionError:
        # Dotted keys make tables as deep as the text is long.
        raise RequestInvalid("scenario.toml: its tables are too deep") from None


def _walk(value: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            place = f"{key}.{name}" if key else str(name)
            if name in FILE_KEYS and not _harmless(name, item):
                yield f"scenario.toml: {place}", str(item)
            else:
                yield from _walk(item, place)
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from _walk(item, f"{key}[{at}]")


def _harmless(name: str, value: Any) -> bool:
    if name == "bpf":
        return value in BUILT_IN if isinstance(value, str) else False
    if name == "binary":
        return isinstance(value, str) and _of_kernel(value)
    return isinstance(value, list) and not value


def _harmless_scheduler(text: str) -> bool:
    return text in BUILT_IN or text == "none" or _of_kernel(text)


def _of_kernel(text: str) -> bool:
    name = text.removeprefix(KERNEL_PREFIX)
    return name != text and PurePath(name).name == name


def _harmless_kernel(text: str) -> bool:
    kind, colon, rest = text.partition(":")
    if colon:
        return kind in KERNEL_KINDS and ".." not in rest and "#" not in rest
    # It takes 80 ms to import, and clients from elsewhere are rare.
    from ktstr.kernels.catalogue import named_kernels

    # Other words may be files.
    return text == "host" or text in named_kernels()
