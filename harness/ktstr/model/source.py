# SPDX-License-Identifier: GPL-2.0-only
"""A definition file's text and values, able to say where a key stands and what it holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ktstr.errors import Problem
from ktstr.model.locate import KeyPath, locate_keys

_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Mistake:
    """A mistake before it has a line.

    :param found: what stands there; ``None`` means the value under ``at``, if any.
    """

    at: KeyPath
    allowed: str
    found: str | None = None


@dataclass(slots=True)
class Unknown:
    """What cannot be told of a scenario because parts of it are unreadable.

    :ivar times: how long some hold or the run lasts.
    :ivar topology: which CPUs there are.
    :ivar cgroups: whether there are more cgroups than those that can be read.
    :ivar history: whether a cgroup still exists, and with which CPUs: an op is unreadable.
    :ivar cpusets: whether there are more cpusets than those that can be read.
    :ivar steps: which steps there are, and their names.
    :ivar scheduler: whether ktstr starts a scheduler.
    """

    times: bool = False
    topology: bool = False
    cgroups: bool = False
    history: bool = False
    cpusets: bool = False
    steps: bool = False
    scheduler: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """One definition file as read.

    :param replaced: keys whose values the caller gave in place of the file's.
    """

    file: str = "<memory>"
    text: str = ""
    data: Mapping[str, object] = field(default_factory=dict)
    replaced: frozenset[KeyPath] = frozenset()

    def problems(self, mistakes: Sequence[Mistake]) -> list[Problem]:
        """Mistakes with file, line and key, in the order of the file, each once."""
        try:
            lines = locate_keys(self.text)
        except RecursionError:
            lines = {}
        found = {
            Problem(
                file=f"given in place of {self.file}" if given else self.file,
                line=None if given else _line(lines, mistake.at),
                key=format_key(mistake.at) or "(the file)",
                found=self._found(mistake.at) if mistake.found is None else mistake.found,
                allowed=mistake.allowed,
            ): None
            for mistake in mistakes
            for given in (mistake.at in self.replaced,)
        }
        return sorted(found, key=lambda problem: problem.line or 0)

    def value(self, at: KeyPath) -> object:
        """The raw value under a key path; ``None`` when there is none."""
        node: object = self.data
        for part in at:
            node = child(node, part)
        return node

    def _found(self, at: KeyPath) -> str:
        value = self.value(at)
        return "" if value is None else show(value)


def child(node: object, part: str | int) -> object:
    """The value under a key or an index; ``None``, which TOML does not have, when there is none."""
    match node, part:
        case Mapping(), str():
            return node.get(part)
        case list(), int() if part < len(node):
            return node[part]
    return None


def _line(lines: Mapping[KeyPath, int], at: KeyPath) -> int | None:
    """Line of the key, or of the nearest table around it."""
    while at and at not in lines:
        at = at[:-1]
    return lines.get(at)


def format_key(at: KeyPath) -> str:
    """A key path as people write it: ``steps[1].cgroups[0].name``, indices from 0."""
    text = ""
    for part in at:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def show(value: object) -> str:
    """A value in TOML's notation, on one line, shortened where it is long."""
    text = _toml(value, depth=3)
    text = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def _toml(value: object, depth: int) -> str:
    if depth == 0 and isinstance(value, list | Mapping):
        return "…"
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return '"' + value[:_SHOWN].replace("\\", "\\\\").replace('"', '\\"') + '"'
        case list():
            return "[" + ", ".join(_toml(v, depth - 1) for v in value[:_SHOWN]) + "]"
        case Mapping():
            pairs = [f"{k} = {_toml(v, depth - 1)}" for k, v in list(value.items())[:_SHOWN]]
            return "{ " + ", ".join(pairs) + " }" if pairs else "{}"
        case _:
            return str(value)
