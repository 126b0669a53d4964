# SPDX-License-Identifier: GPL-2.0-only
"""Looks at what is due before anything boots: what it costs, what cannot be, and why."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

from ktstr.errors import DefinitionInvalid, KtstrError, Problem
from ktstr.session.definition import define
from ktstr.session.matrix import Turn
from ktstr.session.options import RunOptions
from ktstr.session.room import cost_of
from ktstr.vm.spec import MAX_APIC_ID, highest_apic_id

SCHEDULER_OPS: Final = frozenset(
    {"DetachScheduler", "ReplaceScheduler", "RestartScheduler", "WriteBpfGlobal"}
)
"""Ops that a run without a scheduler cannot do."""


def surveyed(turns: Iterable[Turn]) -> list[Turn]:
    """The same runs, each with its cost, or with why it is skipped or refused."""
    known: dict[tuple[Path, RunOptions], Turn] = {}
    return [turn if turn.refused is not None else _looked_at(turn, known) for turn in turns]


def _looked_at(turn: Turn, known: dict[tuple[Path, RunOptions], Turn]) -> Turn:
    """The run, with what was found of its first repetition."""
    key = turn.path, turn.options
    if key not in known:
        known[key] = _surveyed(turn)
    found = known[key]
    return replace(
        turn, name=found.name, cost=found.cost, skipped=found.skipped, refused=found.refused
    )


def _surveyed(turn: Turn) -> Turn:
    try:
        definition = define(turn.path, turn.options)
    except DefinitionInvalid as error:
        reason = _no_place(turn, error.problems)
        if reason:
            return replace(turn, skipped=reason)
        return replace(turn, refused=error)
    except KtstrError as error:
        return replace(turn, refused=error)
    apic_id = highest_apic_id(definition.topology)
    if turn.options.topology is not None and apic_id > MAX_APIC_ID:
        reason = f"it needs APIC id {apic_id}, this machine type goes to {MAX_APIC_ID}"
        return replace(turn, skipped=f"topology {turn.options.topology}: {reason}")
    return replace(turn, cost=cost_of(definition), name=definition.scenario.name)


def _no_place(turn: Turn, problems: tuple[Problem, ...]) -> str:
    """Why a scenario has no place in this matrix, when that is all that is wrong with it.

    What is wrong on its own topology as well is a mistake, not a limit of the topology, and ops on
    a scheduler that nobody wants are a reason only when the scheduler was taken away.
    """
    options = turn.options
    elsewhere = problems if options.topology is None else _on_its_own_topology(turn)
    ops = {problem.found.strip('"') for problem in elsewhere}
    if elsewhere and not (options.scheduler == "none" and ops <= SCHEDULER_OPS):
        return ""
    if elsewhere:
        return f"{', '.join(sorted(ops))}: there is no scheduler to do that to"
    first = problems[0]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    found = f"found {first.found}" if first.found else "missing"
    what = f"{first.key}: {found}; allowed: {first.allowed}{more}"
    return f"not on topology {options.topology}: {what}"


def _on_its_own_topology(turn: Turn) -> tuple[Problem, ...]:
    try:
        define(turn.path, replace(turn.options, topology=None))
    except DefinitionInvalid as error:
        return error.problems
    return ()
