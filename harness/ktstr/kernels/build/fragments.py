# SPDX-License-Identifier: GPL-2.0-only
"""Configuration fragments: what a kernel is asked to have, merged, and held against the result."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import ktstr
from ktstr.errors import HostUnfit, KernelUnfit

BASE = "base"
"""The fragment that every kernel is built with, first."""

_OPTION = re.compile(r"CONFIG_(\w+)=(.+)")
_UNSET = re.compile(r"# CONFIG_(\w+) is not set")
_VALUE = re.compile(r'[ymn]|-?\d+|0[xX][0-9a-fA-F]+|"(?:[^"\\]|\\.)*"')
_NAME = re.compile(r"[a-z][a-z0-9-]*")
_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Fragment:
    """Options by name without ``CONFIG_``, in order; ``n`` is "not set"."""

    name: str
    options: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Lost:
    """An option that the configuration did not keep.

    :param got: its value there; ``n`` when it is not set.
    :param fragment: the last fragment that asked for *wanted*.
    """

    name: str
    wanted: str
    got: str
    fragment: str


def fragments_folder() -> Path:
    """The folder with the fragments that come with ktstr: the repository's or the wheel's.

    :raise HostUnfit: neither is there.
    """
    package = Path(ktstr.__file__).parent
    for candidate in (package.parents[1] / "kernels", package / "_kernels"):
        if (candidate / f"{BASE}.config").is_file():
            return candidate
    raise HostUnfit(
        "the kernel configurations that come with ktstr are neither beside the package nor in it",
        hint="install ktstr from its repository or from a complete wheel",
    )


def known_fragments() -> tuple[str, ...]:
    """Names of the fragments that come with ktstr, ``base`` first."""
    names = sorted(path.stem for path in fragments_folder().glob("*.config"))
    return (BASE, *(name for name in names if name != BASE))


def split_spec(spec: str) -> tuple[str, tuple[str, ...]]:
    """A specification without the fragments named at its end, and these.

    ``debian-source:6.12+numa+debug`` asks for ``numa`` and ``debug``. Only names of fragments
    that exist are taken off: a plus sign may belong to a file name.
    """
    known = known_fragments()
    found: list[str] = []
    while True:
        head, plus, name = spec.rpartition("+")
        if not plus or name not in known:
            return spec, tuple(reversed(found))
        spec = head
        found.append(name)


def load_fragments(names: Iterable[str]) -> tuple[Fragment, ...]:
    """Read the named fragments, ``base`` before all others; a name with a dot is a file.

    :raise KernelUnfit: one is missing, cannot be read, or holds what no configuration does.
    """
    wanted = dict.fromkeys((BASE, *names))
    return tuple(_load(name) for name in wanted)


def parse_fragment(name: str, text: str) -> Fragment:
    """Options of a fragment's text.

    :raise KernelUnfit: a line is none that a kernel configuration can hold.
    """
    options: dict[str, str] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        option, unset = _OPTION.fullmatch(line), _UNSET.fullmatch(line)
        if option is not None and _VALUE.fullmatch(option[2]):
            options.pop(option[1], None)
            options[option[1]] = option[2]
        elif unset is not None:
            options.pop(unset[1], None)
            options[unset[1]] = "n"
        elif option is not None or not (line.startswith("#") or not line):
            raise KernelUnfit(
                f"{name}, line {number}: {line[:80]!r} is no line of a kernel configuration",
                hint='CONFIG_X=y, CONFIG_X=1, CONFIG_X="text", # CONFIG_X is not set, # a comment',
            )
    return Fragment(name, options)


def merged(fragments: Sequence[Fragment]) -> dict[str, str]:
    """All options asked for; of two fragments the later one is right."""
    return {name: value for fragment in fragments for name, value in fragment.options.items()}


def render(options: Mapping[str, str]) -> str:
    """A configuration file's text."""
    return "".join(
        f"# CONFIG_{name} is not set\n" if value == "n" else f"CONFIG_{name}={value}\n"
        for name, value in options.items()
    )


def lost_options(fragments: Sequence[Fragment], result: Mapping[str, str]) -> list[Lost]:
    """What of the fragments *result* does not have.

    :param result: the options of the finished configuration; what is missing is not set.
    """
    asker = {name: fragment.name for fragment in fragments for name in fragment.options}
    found = []
    for name, wanted in merged(fragments).items():
        got = result.get(name, "n")
        if _plain(got) != _plain(wanted):
            found.append(Lost(name, wanted, got, asker[name]))
    return found


def _plain(value: str) -> str:
    """Hexadecimal numbers may be written in more than one way."""
    return hex(int(value, 16)) if value[:2] in ("0x", "0X") else value


def _load(name: str) -> Fragment:
    inside = _NAME.fullmatch(name) is not None
    path = fragments_folder() / f"{name}.config" if inside else Path(name).expanduser()
    try:
        with path.open(encoding="utf-8") as file:
            return parse_fragment(name, file.read(_MAX_BYTES))
    except UnicodeDecodeError as error:
        raise KernelUnfit(f"{path} is not a text in UTF-8") from error
    except OSError as error:
        raise KernelUnfit(
            f"there is no kernel configuration {name!r}: {path}: {error.strerror}",
            hint=f"one of {', '.join(known_fragments())}, or a file such as ./my.config",
        ) from error
