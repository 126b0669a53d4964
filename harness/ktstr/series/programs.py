# SPDX-License-Identifier: GPL-2.0-only
"""What the verifier made of BPF programs, as data: counts of those loaded, words about the others.

A program's complexity is the number of instructions that the verifier walked through, over all
paths: ``bpf_prog_aux.verified_insns``, since Linux 5.16 (kernel/bpf/verifier.c).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any, Final

INSNS_LIMIT: Final = 1_000_000
"""Instructions that the verifier walks through before it gives up (BPF_COMPLEXITY_LIMIT_INSNS)."""

MAX_TOLD: Final = 1024
NAME_CHARS: Final = 128

_BEGIN: Final = re.compile(r"prog '([^'\n]{1,128})': -- BEGIN PROG LOAD LOG --")
_END: Final = "-- END PROG LOAD LOG --"
_PROCESSED: Final = re.compile(
    r"processed (\d{1,9}) insns \(limit (\d{1,9})\)(?: max_states_per_insn \d{1,9})?"
    r"(?: total_states (\d{1,9}))?(?: peak_states (\d{1,9}))?"
)
_STACK: Final = re.compile(r"stack depth (\d{1,6}(?:\+\d{1,6})*)")
_REFUSED: Final = re.compile(r"prog '([^'\n]{1,128})': BPF program load failed: ([^\n]{1,200})")


@dataclass(frozen=True, slots=True)
class VerifiedProgram:
    """One BPF program; ``None`` for what is not known.

    :param name: its whole name where BTF tells it; the kernel itself keeps 15 characters.
    :param kind: its type, as ``struct_ops``, ``tracing``; empty when not known.
    :param attach: what it is attached to: ``sched_ext_ops.enqueue``, a traced function.
    :param insns: instructions it consists of, after the verifier rewrote it.
    :param verified: instructions the verifier walked through.
    :param stack: bytes of stack, of the main function alone.
    :param peak_states: most states the verifier held at once; where its log was printed.
    :param refused: why it did not load; empty when it did.
    """

    name: str
    kind: str = ""
    attach: str | None = None
    insns: int | None = None
    verified: int | None = None
    stack: int | None = None
    peak_states: int | None = None
    refused: str = ""

    @property
    def share(self) -> float | None:
        """Part of :data:`INSNS_LIMIT` that was used up."""
        return None if self.verified is None else self.verified / INSNS_LIMIT

    def plain(self) -> dict[str, Any]:
        """As a record has it: without what is not known."""
        return {key: value for key, value in asdict(self).items() if value not in (None, "")}

    @classmethod
    def of_plain(cls, value: object) -> "VerifiedProgram | None":
        """Out of a record; ``None`` for what is none."""
        if not isinstance(value, Mapping) or not _is_name(value.get("name")):
            return None
        kind, attach, refused = (value.get(key) for key in ("kind", "attach", "refused"))
        insns, verified, stack, peak = (
            count if type(count := value.get(key)) is int and count >= 0 else None
            for key in ("insns", "verified", "stack", "peak_states")
        )
        return cls(
            value["name"],
            kind if isinstance(kind, str) else "",
            attach if isinstance(attach, str) else None,
            insns,
            verified,
            stack,
            peak,
            refused if isinstance(refused, str) else "",
        )


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= NAME_CHARS


def programs_of(values: object) -> tuple[VerifiedProgram, ...]:
    """The programs of a record's list; what is none is left out."""
    listed = values if isinstance(values, Sequence) and not isinstance(values, str) else ()
    found = map(VerifiedProgram.of_plain, listed[:MAX_TOLD])
    return tuple(each for each in found if each is not None)


def told_by_loader(statuses: Sequence[Mapping[str, Any]]) -> tuple[VerifiedProgram, ...]:
    """The programs that the loader's last ``loaded`` message counts, by bpf(2) in the guest."""
    loaded = [status for status in statuses if status.get("event") == "loaded"]
    progs = loaded[-1].get("progs") if loaded else ()
    return programs_of(
        [
            {"name": prog.get("name"), "verified": prog.get("insns_verified")}
            for prog in (progs if isinstance(progs, list) else ())
            if isinstance(prog, Mapping)
        ]
    )


def with_log(programs: Sequence[VerifiedProgram], log: str) -> tuple[VerifiedProgram, ...]:
    """The programs with what a log of libbpf tells beside, those that it refused after them.

    libbpf prints the verifier's log of a program that did not load, and on request that of others;
    kernel and libbpf end it with a line of counters.
    """
    refused = {found[1]: found[2].strip() for found in _REFUSED.finditer(log)}
    figures = _figures(log)
    known = [
        replace(each, peak_states=figures[each.name].peak_states) if each.name in figures else each
        for each in programs
    ]
    names = {each.name for each in programs}
    return (
        *known,
        *(
            replace(figures.get(name, VerifiedProgram(name)), refused=why)
            for name, why in list(refused.items())[:MAX_TOLD]
            if name not in names
        ),
    )


def _figures(log: str) -> dict[str, VerifiedProgram]:
    """What the last line of counters in each program's log says."""
    found: dict[str, VerifiedProgram] = {}
    begins = list(islice(_BEGIN.finditer(log), MAX_TOLD))
    ends = [*(begin.start() for begin in begins[1:]), len(log)]
    for begin, after in zip(begins, ends, strict=False):
        end = log.find(_END, begin.end(), after)
        text = log[begin.end() : end if end >= 0 else after][-4096:]
        for counters in _PROCESSED.finditer(text):
            stack = _STACK.search(text)
            found[begin[1]] = VerifiedProgram(
                begin[1],
                verified=int(counters[1]),
                stack=int(stack[1].split("+")[0]) if stack else None,
                peak_states=int(counters[4]) if counters[4] else None,
            )
    return found
