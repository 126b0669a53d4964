# SPDX-License-Identifier: GPL-2.0-only
"""Which cells a gauntlet comes to, which it leaves out and why, before anything boots."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

import anyio.to_thread

from ktstr.errors import CannotRun, DefinitionInvalid, ExitCode, KtstrError, Problem
from ktstr.gauntlet.cells import Cell, CellResult, options_to_json
from ktstr.gauntlet.facts import Facts, read_facts
from ktstr.gauntlet.host import HostLimits
from ktstr.kernels import Kernel, resolve_kernel
from ktstr.model.gauntlet_def import Constraints, gauntlet_memory_mib
from ktstr.model.presets import topology_named
from ktstr.session.ends import End
from ktstr.session.lineup import surveyed
from ktstr.session.matrix import MAX_RUNS, Turn
from ktstr.session.options import RunOptions
from ktstr.session.pool import Cost
from ktstr.session.profiles import turns

Progress = Callable[[str, float | None], None]
KernelKey = tuple[str, frozenset[str]]
"""A kernel as it was named, and what it must not lack."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is multiplied by what; None stands for what each scenario says itself.

    :param constraints: of the whole gauntlet, beside those of the scenarios.
    :param options: what all runs have in common.
    """

    paths: tuple[Path, ...]
    presets: tuple[str | None, ...] = (None,)
    kernels: tuple[str | None, ...] = (None,)
    schedulers: tuple[str | None, ...] = (None,)
    all_flags: bool = False
    constraints: Constraints = field(default_factory=Constraints)
    options: RunOptions = field(default_factory=RunOptions)


@dataclass(frozen=True, slots=True)
class Entry:
    """A cell with what is known of it.

    :param cost: what of the host it takes while it runs.
    :param settled: how it went, where that is known before it runs.
    :param kernel_digest: of its kernel; empty when that was not found.
    """

    cell: Cell
    facts: Facts
    cost: Cost = field(default_factory=Cost)
    settled: CellResult | None = None
    kernel_digest: str = ""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A cell that is not to be.

    :param kind: ``constraints``, ``host`` or ``budget``.
    """

    cell: Cell
    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Every cell there could be, once."""

    entries: tuple[Entry, ...]
    left_out: tuple[LeftOut, ...] = ()


async def plan(wanted: Wanted, host: HostLimits, progress: Progress) -> Plan:
    """Multiply, check constraints, find the kernels.

    Cells of one place follow each other: guests of a place continue the template that the first
    of them leaves.

    :raise DefinitionInvalid: with every mistake in every scenario.
    :raise CannotRun: when there is nothing to run, or too much.
    """
    drafts, left_out = await anyio.to_thread.run_sync(_drafts, wanted, host)
    if not drafts and not left_out:
        raise CannotRun("there is no scenario to run")
    entries = await completed(drafts, progress)
    return Plan(tuple(sorted(entries, key=_place_order(wanted))), tuple(left_out))


def _place_order(wanted: Wanted) -> Callable[[Entry], tuple[int, ...]]:
    paths = {path.absolute(): at for at, path in enumerate(wanted.paths)}

    def order(entry: Entry) -> tuple[int, ...]:
        cell = entry.cell
        return (
            wanted.kernels.index(cell.kernel),
            wanted.presets.index(cell.preset),
            wanted.schedulers.index(cell.scheduler),
            paths[cell.path],
        )

    return order


def _drafts(wanted: Wanted, host: HostLimits) -> tuple[list[Cell], list[LeftOut]]:
    """The cells that constraints and host allow, and those they do not."""
    places = len(wanted.presets) * len(wanted.kernels)
    _check_count(len(wanted.paths) * places * len(wanted.schedulers))
    count = 0
    problems: dict[Problem, None] = {}
    kept: list[Cell] = []
    left_out: list[LeftOut] = []
    for path in wanted.paths:
        try:
            facts = read_facts(path, wanted.options)
            scheduled = [*_scheduled(path, wanted)]
        except DefinitionInvalid as error:
            problems |= dict.fromkeys(error.problems)
            continue
        # Only now is it known how many profiles of flags there are.
        count += len(scheduled) * places
        _check_count(count)
        constraints = facts.constraints.within(wanted.constraints)
        for preset in wanted.presets:
            for draft in scheduled:
                cell = _placed(draft, facts, preset)
                reason, kind = _against(cell, facts, constraints, host)
                for kernel in wanted.kernels:
                    options = replace(cell.options, kernel=kernel)
                    each = replace(cell, kernel=kernel, options=options)
                    if reason:
                        left_out.append(LeftOut(each, kind, reason))
                    else:
                        kept.append(each)
    if problems:
        raise DefinitionInvalid([*problems])
    return kept, left_out


def _check_count(cells: int) -> None:
    if cells > MAX_RUNS:
        raise CannotRun(f"{cells} cells or more; at most {MAX_RUNS} in one gauntlet")


def _scheduled(path: Path, wanted: Wanted) -> Iterator[Cell]:
    """A scenario with each scheduler and each profile of its flags, nowhere yet."""
    for scheduler in wanted.schedulers:
        options = replace(wanted.options, scheduler=scheduler)
        for turn in turns([path], options, all_flags=wanted.all_flags):
            if isinstance(turn.refused, DefinitionInvalid):
                raise turn.refused
            yield Cell(
                path=path.absolute(),
                name="",
                topology="",
                scheduler=scheduler,
                profile=turn.profile,
                options=turn.options,
            )


def _placed(cell: Cell, facts: Facts, preset: str | None) -> Cell:
    """The cell on a topology, with the memory that a guest of that size gets."""
    topology = facts.topology if preset is None else topology_named(preset)
    options = replace(cell.options, topology=preset)
    if preset is not None:
        memory_mib = gauntlet_memory_mib(topology, facts.memory_mib)
        if memory_mib != facts.memory_mib:
            options = replace(options, memory_mib=memory_mib)
    return replace(cell, name=facts.name, topology=str(topology), preset=preset, options=options)


def _against(
    cell: Cell, facts: Facts, constraints: Constraints, host: HostLimits
) -> tuple[str, str]:
    """What is against a cell, and which kind of reason that is; its own topology is its choice."""
    topology = facts.topology if cell.preset is None else topology_named(cell.preset)
    if cell.preset is not None:
        reason = constraints.why_not(topology, cell.preset)
        if reason:
            return reason, "constraints"
    return host.why_not(topology, cell.options.memory_mib or facts.memory_mib), "host"


async def completed(cells: Sequence[Cell], progress: Progress) -> list[Entry]:
    """What is known of each cell now: facts, cost, kernel, key.

    :raise DefinitionInvalid: with every mistake in every scenario.
    """
    entries = await anyio.to_thread.run_sync(_entries, cells)
    kernels: dict[KernelKey, Kernel | KtstrError] = {}
    for entry in entries:
        wanted = _kernel_key(entry)
        if entry.settled is None and wanted not in kernels:
            spec, need = wanted
            progress(f"kernel {spec}", None)
            try:
                kernels[wanted] = await resolve_kernel(spec, need=need, progress=progress)
            except KtstrError as error:
                kernels[wanted] = error
    return [_with_kernel(entry, kernels) for entry in entries]


def _entries(cells: Iterable[Cell]) -> list[Entry]:
    problems: dict[Problem, None] = {}
    known: dict[tuple[Path, RunOptions], Facts] = {}
    found: dict[tuple[Path, RunOptions], Turn] = {}
    entries: list[Entry] = []
    for cell in cells:
        anywhere = replace(cell.options, kernel=None, topology=None, memory_mib=None)
        here = cell.path, replace(cell.options, kernel=None)
        if here not in found:
            (found[here],) = surveyed([Turn(cell.path, here[1])])
        turn, settled = found[here], None
        facts = known.get((cell.path, anywhere))
        try:
            if turn.refused is not None:
                raise turn.refused
            if turn.skipped:
                # It may be unreadable with this scheduler; what it says itself will do then.
                settled = CellResult.of(End("skip", ExitCode.PASS, reason=turn.skipped))
                anywhere = replace(anywhere, scheduler=None, flags=None)
                facts = known.get((cell.path, anywhere))
            facts = facts or read_facts(cell.path, anywhere)
        except DefinitionInvalid as error:
            problems |= dict.fromkeys(error.problems)
            continue
        known[cell.path, anywhere] = facts
        entries.append(Entry(replace(cell, name=facts.name), facts, turn.cost, settled))
    if problems:
        raise DefinitionInvalid([*problems])
    return entries


def _kernel_key(entry: Entry) -> KernelKey:
    return entry.cell.kernel or entry.facts.kernel, entry.facts.needs


def _with_kernel(entry: Entry, kernels: Mapping[KernelKey, Kernel | KtstrError]) -> Entry:
    kernel = kernels.get(_kernel_key(entry))
    if isinstance(kernel, KtstrError):
        end = End.of_error(kernel, entry.cell.kernel)
        return _keyed(replace(entry, settled=CellResult.of(end)))
    return _keyed(replace(entry, kernel_digest="" if kernel is None else kernel.digest))


def _keyed(entry: Entry) -> Entry:
    """The entry with the key of its cell: whatever shapes the run is in it."""
    cell = entry.cell
    shape = [
        version("ktstr"),
        *(str(cell.path), cell.name, cell.topology, cell.kernel, cell.scheduler, cell.profile),
        options_to_json(cell.options),
        entry.facts.digest,
        entry.kernel_digest,
    ]
    key = hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()[:32]
    return replace(entry, cell=replace(cell, key=key))
