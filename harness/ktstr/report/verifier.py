# SPDX-License-Identifier: GPL-2.0-only
"""The verifier's account of a scheduler: programs by kernels, and why one did not load."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ktstr.errors import ExitCode
from ktstr.report.printable import LINE_CHARS, NOT_MEASURED, lines, one_line
from ktstr.report.programs import count_text, new_table, program_style, program_table, share_text
from ktstr.report.verdict import STYLES
from ktstr.report.verifier_log import fold
from ktstr.series.programs import INSNS_LIMIT, VerifiedProgram
from ktstr.session.verifier import Loading

SCHEMA: Final = 1
"""Version of :func:`document`."""

MAX_LOG_LINES: Final = 400
"""Lines of a folded log that are printed; the evidence has all."""


def matrix_table(loadings: Sequence[Loading]) -> Table:
    """Verified instructions, programs downwards and kernels across."""
    shown = [each for each in loadings if each.programs]
    table = new_table(["program", "attached to"], [_title(each) for each in shown])
    by_kernel = [_by_key(each.programs) for each in shown]
    for key in dict.fromkeys(key for programs in by_kernel for key in programs):
        found = [programs.get(key) for programs in by_kernel]
        attach = next((p.attach for p in found if p is not None and p.attach), None)
        table.add_row(
            escape(one_line(key[0])),
            escape(one_line(attach or NOT_MEASURED)),
            *(NOT_MEASURED if p is None else Text(_cell(p), style=program_style(p)) for p in found),
        )
    return table


def report(scheduler: str, loadings: Sequence[Loading], *, raw: bool) -> Iterator[RenderableType]:
    """What people see: figures, then what did not load, then a line for each kernel.

    :param raw: show logs as they are.
    """
    with_programs = [each for each in loadings if each.programs]
    if loadings:
        yield Text()
    if len(with_programs) == 1 and (table := program_table(with_programs[0].programs)):
        yield table
        yield Text()
    elif with_programs:
        yield matrix_table(with_programs)
        yield Text()
    for each in loadings:
        if each.log:
            yield from _log_parts(each, raw=raw)
            yield Text()
    for each in loadings:
        yield _line(scheduler, each)


def _log_parts(loading: Loading, *, raw: bool) -> Iterator[RenderableType]:
    yield Text(f"--- log of {one_line(_title(loading))} ---", style="dim")
    text = loading.log.rstrip("\n")
    if raw:
        yield Text(lines(text, limit=len(text)))
        return
    every = fold(text).split("\n")
    if len(every) > MAX_LOG_LINES:
        head = MAX_LOG_LINES // 4
        left = len(every) - MAX_LOG_LINES
        where = f"; {loading.evidence} has all" if loading.evidence is not None else ""
        middle = f"[{left} lines are left out here{where}]"
        every = [*every[:head], middle, *every[head + left :]]
    yield Text(lines("\n".join(every), limit=LINE_CHARS))


def _line(scheduler: str, loading: Loading) -> Text:
    line = Text(f"{loading.verdict.upper():<12} ", style=STYLES.get(loading.verdict, "bold red"))
    line.append(f"{one_line(scheduler)} on {one_line(_title(loading))} ")
    line.append(f"{loading.wall_s:.1f} s", style="dim")
    if loading.verdict == "pass":
        most = max(loading.programs, key=lambda each: each.verified or 0)
        line.append(f"  {len(loading.programs)} programs, at most {count_text(most.verified)}")
        line.append(
            f" instructions verified ({one_line(most.name)}, {share_text(most)} of the limit)"
        )
    elif loading.reason:
        line.append(f"  {one_line(loading.reason)}")
    return line


def document(
    scheduler: str, loadings: Iterable[Loading], limit: int | None, code: ExitCode
) -> dict[str, Any]:
    """The same for programs; logs folded."""
    return {
        "schema": SCHEMA,
        "scheduler": scheduler,
        "exit_code": int(code),
        "kernel_limit": INSNS_LIMIT,
        "limit": limit,
        "kernels": [
            {
                "kernel": each.kernel,
                "release": each.release or None,
                "verdict": each.verdict,
                "reason": each.reason,
                "wall_s": round(each.wall_s, 3),
                "programs": [program.plain() for program in each.programs],
                "log": fold(each.log) if each.log else "",
                "record": None if each.record is None else str(each.record),
                "evidence": None if each.evidence is None else str(each.evidence),
            }
            for each in loadings
        ],
    }


def _by_key(programs: Sequence[VerifiedProgram]) -> dict[tuple[str, int], VerifiedProgram]:
    """By name, and by how many of that name came before."""
    found: dict[tuple[str, int], VerifiedProgram] = {}
    for each in programs:
        number = 0
        while (each.name, number) in found:
            number += 1
        found[each.name, number] = each
    return found


def _title(loading: Loading) -> str:
    return loading.release or loading.kernel


def _cell(program: VerifiedProgram) -> str:
    count = count_text(program.verified)
    return f"{count} refused" if program.refused else count
