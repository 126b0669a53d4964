# SPDX-License-Identifier: GPL-2.0-only
"""What a test asks for: the marker's arguments, and the variants they make of one test.

Read while pytest collects, so it imports nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, Protocol

MAX_REPEAT: Final = 10_000


class BadMarker(ValueError):
    """A marker's arguments are not what they may be."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The arguments of the markers of one test, the closest before those around it.

    :param scenario: a file, a name of the catalogue, TOML text, or what
        ``ktstr.scenario.scenario`` builds; None: the test's body runs what it wants.
    :param topology: topology instead of the scenario's.
    :param presets: topologies of which each makes a test of its own.
    :param kernel: kernel instead of the scenario's.
    :param kernels: kernels of which each makes a test of its own.
    :param scheduler: scheduler instead of the scenario's.
    :param flags: flags of the scheduler: ``"a+b"``, ``"default"`` for none, or their names.
    :param work_type: type instead of those of works in swappable cgroups.
    :param repeat: how often it is run.
    :param timeout: longest stay in the VM, seconds.
    :param check: a run that does not pass fails the test before its body.
    :param expect_fail: the scenario's own checks have to fail.
    :param allow_inconclusive: a run that measured nothing is skipped instead of failed.
    """

    scenario: object = None
    topology: str | None = None
    presets: tuple[str, ...] = ()
    kernel: str | None = None
    kernels: tuple[str, ...] = ()
    scheduler: str | None = None
    flags: tuple[str, ...] | str | None = None
    work_type: str | None = None
    clock: Literal["wall", "virtual"] | None = None
    seed: int | None = None
    repeat: int = 1
    timeout: float | None = None
    check: bool = True
    expect_fail: bool = False
    allow_inconclusive: bool = False


@dataclass(frozen=True, slots=True)
class Variant:
    """One of the tests that kernels and topologies make of a test.

    :param offered: the topology comes from a list or from outside the test, so that a scenario
        that has no place on it is skipped.
    :param id: what tells it from the others; empty where there are no others.
    """

    kernel: str | None = None
    topology: str | None = None
    offered: bool = False
    id: str = ""


class Outside(Protocol):
    """Kernels and topologies by command line, which go before the test's, and by ini file."""

    @property
    def kernels(self) -> tuple[str, ...]: ...
    @property
    def topologies(self) -> tuple[str, ...]: ...
    @property
    def usual_kernels(self) -> tuple[str, ...]: ...
    @property
    def usual_topologies(self) -> tuple[str, ...]: ...


class Mark(Protocol):
    """A marker of pytest."""

    @property
    def args(self) -> tuple[Any, ...]: ...
    @property
    def kwargs(self) -> Mapping[str, Any]: ...


def asked_by(marks: Sequence[Mark]) -> Asked:
    """The arguments of all markers of a test.

    :param marks: the closest first.
    :raise BadMarker: in a sentence, for an argument that is unknown or of a wrong type.
    """
    given: dict[str, Any] = {}
    for mark in reversed(marks):
        if len(mark.args) > 1:
            raise BadMarker(f"one scenario is due, found {len(mark.args)} arguments without names")
        if mark.args and "scenario" in mark.kwargs:
            raise BadMarker("the scenario is given twice")
        own = ({"scenario": mark.args[0]} if mark.args else {}) | dict(mark.kwargs)
        given |= checked(own)
    for one, several in (("topology", "presets"), ("kernel", "kernels")):
        if given.get(one) is not None and given.get(several):
            raise BadMarker(f"{one} names one, {several} several; not both")
    return Asked(**given)


def checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by name, lists as tuples.

    :raise BadMarker: for one that is unknown or of a wrong type.
    """
    found: dict[str, Any] = {}
    for name, value in given.items():
        if name not in _NAMES:
            raise BadMarker(f"there is no argument {name!r}; there are {', '.join(_NAMES)}")
        allowed, fits = _ALLOWED.get(name, ("", _anything))
        if value is not None and not fits(value):
            raise BadMarker(f"{name}={value!r:.80}; allowed: {allowed}")
        found[name] = tuple(value) if isinstance(value, list) else value
    defaults = Asked()
    return {k: getattr(defaults, k) if v is None else v for k, v in found.items()}


def variants(asked: Asked, outside: Outside) -> tuple[Variant, ...]:
    """The tests that one test comes to, the topologies of each kernel together.

    What is named on the command line stands in the place of what the test names, and that in the
    place of the ini file's. A variant has an id where its list names several, and always where the
    test itself gives a list, so that the id stays when the list grows.
    """
    kernels, kernels_named = _chosen(
        outside.kernels, asked.kernels, asked.kernel, outside.usual_kernels
    )
    topologies, topologies_named = _chosen(
        outside.topologies, asked.presets, asked.topology, outside.usual_topologies
    )
    fixed = asked.topology is not None and not outside.topologies
    return tuple(
        Variant(
            kernel,
            topology,
            topology is not None and not fixed,
            "-".join(
                str(part)
                for part, named in ((topology, topologies_named), (kernel, kernels_named))
                if named
            ),
        )
        for kernel in kernels
        for topology in topologies
    )


def _chosen(
    command: tuple[str, ...], several: tuple[str, ...], one: str | None, usual: tuple[str, ...]
) -> tuple[tuple[str | None, ...], bool]:
    if command:
        return command, len(command) > 1
    if several:
        return several, True
    if one is not None:
        return (one,), False
    return usual or (None,), len(usual) > 1


def _anything(value: object) -> bool:
    return True


def _text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _texts(value: object) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(map(_text, value))


def _flag_names(value: object) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)
    )


def _truth(value: object) -> bool:
    return isinstance(value, bool)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9


def _whole(low: int, high: int) -> Callable[[object], bool]:
    return lambda value: type(value) is int and low <= value <= high


_NAMES: Final = tuple(field.name for field in fields(Asked))
_TEXT: Final = ("a text", _text)
_TEXTS: Final = ("a list of texts, with one at least", _texts)
_TRUTH: Final = ("True or False", _truth)
_ALLOWED: Final[dict[str, tuple[str, Callable[[object], bool]]]] = {
    "topology": _TEXT,
    "presets": _TEXTS,
    "kernel": _TEXT,
    "kernels": _TEXTS,
    "scheduler": _TEXT,
    "flags": ('"a+b", "default", or a list of flags', _flag_names),
    "work_type": _TEXT,
    "clock": ('"wall" or "virtual"', lambda value: value in ("wall", "virtual")),
    "seed": ("an integer from 0 to 2^63 - 1", _whole(0, (1 << 63) - 1)),
    "repeat": (f"an integer from 1 to {MAX_REPEAT}", _whole(1, MAX_REPEAT)),
    "timeout": ("seconds, more than 0", _number),
    "check": _TRUTH,
    "expect_fail": _TRUTH,
    "allow_inconclusive": _TRUTH,
}
