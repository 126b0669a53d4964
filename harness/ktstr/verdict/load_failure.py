# SPDX-License-Identifier: GPL-2.0-only
"""Why a scheduler was not loaded, out of what libbpf and the verifier printed.

The sentences are libbpf's own (tools/lib/bpf/libbpf.c of Linux 6.12 and 7.x), printed by every
program that loads BPF with it, whatever else it prints.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

LOAD_FAILED: Final = "BPF program load failed"
"""libbpf's words before the verifier's log of a program that was refused."""

MAX_LOG: Final = 4 << 20
"""So many characters of a log are looked at, from its end."""

MAX_NAMES: Final = 4
"""So many names are told; where one is missing, often all of its family are."""

_NAME: Final = r"([A-Za-z_][A-Za-z0-9_]{0,127})"
_ABSENT: Final = (
    ("kfunc", rf"extern \(func ksym\) '{_NAME}': not found in kernel or module BTFs"),
    ("kfunc", rf"kfunc '{_NAME}' is referenced but wasn't resolved"),
    ("variable", rf"extern \(var ksym\) '{_NAME}': not found in kernel"),
    ("callback", rf"struct_ops init_kern \S+: Cannot find member {_NAME} in kernel BTF"),
    ("struct", rf"struct_ops init_kern: struct {_NAME} is not found in kernel BTF"),
)
_CHANGED: Final = rf"extern \(func ksym\) '{_NAME}': func_proto \[\d+\] incompatible with"
_RELOCATION: Final = re.compile(r"failed to resolve CO-RE relocation ([^\n]{1,200})")
# A name may carry a flavour that the kernel does not know: scx_bpf_dsq_insert___compat.
_FLAVOUR: Final = "___"
_CLOSING: Final = re.compile(r"processed \d+ insns\b")


@dataclass(frozen=True, slots=True)
class Absent:
    """Something that a scheduler wants of the kernel and the kernel has not.

    :param what: ``kfunc``, ``variable``, ``callback`` or ``struct``.
    """

    what: str
    name: str


def absent(log: str) -> list[Absent]:
    """What libbpf did not find in the kernel, in the order it said so, each once."""
    found = [
        (match.start(), Absent(what, match[1].partition(_FLAVOUR)[0]))
        for what, pattern in _ABSENT
        for match in re.finditer(pattern, log[-MAX_LOG:])
    ]
    return list(dict.fromkeys(one for _, one in sorted(found, key=lambda pair: pair[0])))


def mismatch(log: str, release: str | None) -> str | None:
    """Why a scheduler does not fit the kernel, in a sentence; ``None`` when the log tells nothing.

    :param release: the kernel's, as ``uname -r`` prints it; ``None`` when it is not known.
    """
    log = log[-MAX_LOG:]
    kernel = f"kernel {release}" if release else "the kernel"
    if missing := absent(log):
        return f"{kernel} has no {_listed(missing)}; the scheduler was built for another kernel"
    if changed := re.search(_CHANGED, log):
        return (
            f"{kernel} has another kfunc {changed[1].partition(_FLAVOUR)[0]} than the scheduler"
            " was built for"
        )
    if relocation := _RELOCATION.search(log):
        return (
            f"{kernel} has not what the scheduler reads: {relocation[1].strip()};"
            " the scheduler was built for another kernel"
        )
    return None


def refusal(log: str) -> str | None:
    """The verifier's reason, which stands right before its closing line; ``None`` without one.

    What libbpf shows of programs that were accepted is passed over.
    """
    log = log[-MAX_LOG:]
    lines = [line.strip() for line in log[max(0, log.find(LOAD_FAILED)) :].splitlines()]
    lines = [line for line in lines if line]
    for before, line in pairwise(lines):
        if _CLOSING.match(line):
            return before
    return None


def _listed(missing: list[Absent]) -> str:
    """Those of the first one's kind, as in ``kfunc a, b``; more than a few are counted."""
    first = missing[0].what
    names = [one.name for one in missing if one.what == first]
    return f"{first} {', '.join(_few(names))}"


def _few(names: list[str]) -> Iterator[str]:
    yield from names[:MAX_NAMES]
    if len(names) > MAX_NAMES:
        yield f"and {len(names) - MAX_NAMES} more"
