# SPDX-License-Identifier: GPL-2.0-only
"""Rules that span several keys of a scenario, each a function from a scenario to its mistakes."""

from collections.abc import Iterator, Sequence

from ktstr.model.cgroup_def import CgroupDef
from ktstr.model.cgroups import CgroupTable, Label
from ktstr.model.checks import Checks
from ktstr.model.definition import MIN_SNAPSHOT_SPACING_MS, Backdrop, Scenario, Step
from ktstr.model.gauntlet_def import constraint_mistakes
from ktstr.model.locate import KeyPath
from ktstr.model.op_models import (
    AddCgroupDef,
    AnyOp,
    InjectFault,
    SetCpuset,
)
from ktstr.model.python_work import file_mistakes as python_mistakes
from ktstr.model.python_work import split_call
from ktstr.model.rules.across import across_mistakes
from ktstr.model.rules.numa import MIN_MEMORY, node_mistakes
from ktstr.model.rules.ops import op_mistakes
from ktstr.model.rules.scheduler import file_mistakes, is_file, scheduler_mistakes
from ktstr.model.rules.temporal import temporal_mistakes
from ktstr.model.rules.virtual import virtual_mistakes
from ktstr.model.source import Mistake, Unknown
from ktstr.model.topology import Topology
from ktstr.model.units import format_duration
from ktstr.model.words import did_you_mean
from ktstr.model.works.of import all_works
from ktstr.model.works.registry import WORK_TYPES
from ktstr.model.workspec import MAX_RT_PRIO

MAX_SCRATCH = 64 << 30
"""Largest scratch disk; it takes no room on the host."""

MAX_LIVE_WORKERS = 4096
"""Slots for live counters in the guest."""

MAX_CPUS = 255
"""q35 without interrupt remapping numbers local APICs in one byte."""


def rule_mistakes(scenario: Scenario, unknown: Unknown) -> list[Mistake]:
    """Every mistake that can be told without looking at the topology."""
    rules = [_vm, node_mistakes, scheduler_mistakes, file_mistakes, op_mistakes]
    rules += [_works, _python, _crowd, _steps, _checks, virtual_mistakes]
    if not unknown.times:
        rules.append(_timing)
    if not unknown.cpusets:
        rules.append(_cpuset_checks)
    found = [mistake for rule in rules for mistake in rule(scenario)]
    return [
        *found,
        *constraint_mistakes(scenario.gauntlet, "gauntlet"),
        *across_mistakes(scenario, unknown),
        *temporal_mistakes(scenario, unknown),
    ]


def walk_cgroups(
    scenario: Scenario, topology: Topology, unknown: Unknown
) -> tuple[list[Mistake], dict[Label, frozenset[int] | None]]:
    """Follow the cgroups through the steps on one topology.

    :param unknown: what is unreadable, and therefore neither called missing nor impossible.
    :return: the mistakes, and per report label the CPUs its workers may have used (``None``
        when they were unlimited at any time).
    """
    mistakes: list[Mistake] = []
    table = CgroupTable(
        topology,
        lambda at, allowed: mistakes.append(Mistake(at, allowed)),
        unknown,
        # Where no form is given, that is the mistake, not what would follow from it.
        attached=not scenario.scheduler.kernel_default,
    )
    _set_up(table, scenario.backdrop.cgroups, ("backdrop", "cgroups"))
    _apply(table, scenario.backdrop.ops, ("backdrop", "ops"))
    for index, step in enumerate(scenario.steps):
        table.step = index + 1
        table.looping = step.hold.loop_ms is not None
        at: KeyPath = ("steps", index)
        if not table.looping:
            _apply(table, step.ops, (*at, "ops"))
        _set_up(table, step.cgroups, (*at, "cgroups"))
        if table.looping:
            # Twice: what can be done once need not be possible again.
            _apply(table, step.ops * 2, (*at, "ops"), len(step.ops))
        table.observe(holding=True)
        if not unknown.cgroups:
            mistakes += _fault_targets(table, step.ops, (*at, "ops"))
        table.end_step()
    return mistakes, table.allowed


def _set_up(table: CgroupTable, cgroups: Sequence[CgroupDef], at: KeyPath) -> None:
    for index, cgroup in enumerate(cgroups):
        table.define(cgroup, (*at, index))
    table.observe()


def _apply(
    table: CgroupTable, ops: Sequence[AnyOp], at: KeyPath, period: int | None = None
) -> None:
    for index, op in enumerate(ops):
        op.apply(table, (*at, index % (period or len(ops))))
        table.observe()


def _fault_targets(table: CgroupTable, ops: Sequence[AnyOp], at: KeyPath) -> Iterator[Mistake]:
    for index, op in enumerate(ops):
        if not isinstance(op, InjectFault) or op.fault != "kill-worker":
            continue
        if not table.populated():
            yield Mistake((*at, index, "fault"), "kill-worker only in a step that has workers")
        elif op.cgroup is not None and op.cgroup not in table.populated():
            names = ", ".join(table.populated())
            yield Mistake((*at, index, "cgroup"), f"a cgroup with workers in this step: {names}")


def _vm(scenario: Scenario) -> Iterator[Mistake]:
    memory = scenario.vm.memory
    if not scenario.vm.numa and (memory < MIN_MEMORY or memory % (1 << 20)):
        yield Mistake(("vm", "memory"), 'whole MiB, at least "128M"')
    disk = scenario.vm.scratch_disk
    if disk is not None and (not 0 < disk <= MAX_SCRATCH or disk % (1 << 20)):
        yield Mistake(("vm", "scratch_disk"), 'whole MiB from "1M" to "64G"')
    if scenario.vm.topology.cpus > MAX_CPUS:
        yield Mistake(("vm", "topology"), f"a topology of at most {MAX_CPUS} CPUs")


def _timing(scenario: Scenario) -> Iterator[Mistake]:
    duration = scenario.run.duration
    fractions = [i for i, step in enumerate(scenario.steps) if step.hold.fraction is not None]
    if duration is None and fractions:
        keys = ", ".join(f"steps[{index}].hold" for index in fractions)
        yield Mistake(("run", "duration"), f"a duration, for {keys} to be a fraction of", found="")
        return
    loops = [i for i, step in enumerate(scenario.steps) if step.hold.loop_ms is not None]
    last = len(scenario.steps) - 1
    if loops and duration is None:
        yield Mistake(("run", "duration"), "a duration, for the loop to last until its end", "")
        return
    if any(index != last for index in loops):
        yield Mistake(
            ("steps", loops[0], "hold"),
            "a loop in the last step only: it lasts until the end",
        )
        return
    if loops and not scenario.holds_ms()[last]:
        yield Mistake(
            ("steps", last, "hold"),
            "a loop that the other holds leave some of run.duration "
            f"({format_duration(duration or 0)})",
        )
        return
    total_fraction = sum(scenario.steps[index].hold.fraction or 0.0 for index in fractions)
    if total_fraction > 1.0 + 1e-9:
        yield Mistake(
            ("steps", fractions[-1], "hold"),
            f"fractions that add up to at most 1.0 (here: {total_fraction:g})",
        )
        return
    total = sum(scenario.holds_ms())
    # One per cent: thirds written as 0.33 are meant to fill the run.
    if duration is not None and abs(total - duration) * 100 > duration:
        yield Mistake(
            ("run", "duration"),
            f"the sum of all holds, {format_duration(total)} (or leave it out)",
        )
    count = scenario.run.num_snapshots
    most = max(0, total * 8 // (10 * MIN_SNAPSHOT_SPACING_MS) - 1)
    if count > most:
        yield Mistake(
            ("run", "num_snapshots"),
            f"0 to {most}: {format_duration(total)} of holds leave {MIN_SNAPSHOT_SPACING_MS} ms "
            "between snapshots (0.8 d / (N + 1))",
        )


def _works(scenario: Scenario) -> Iterator[Mistake]:
    for at, work in all_works(scenario):
        kind = WORK_TYPES[work.type]
        params = {param.name: param for param in kind.params}
        sound = True
        for name, value in work.params.items():
            here = (*at, "params", name)
            if name not in params:
                sound = False
                known = ", ".join(params) or "no parameters"
                yield Mistake(
                    here,
                    f"{work.type} has {known}{did_you_mean(name, params)}",
                    f'the unknown key "{name}"',
                )
            elif params[name].number(value) is None:
                sound = False
                yield Mistake(here, params[name].allowed)
        group = kind.group_size(work.params) if sound else 1
        if group == 0 or work.worker_count % group:
            yield Mistake(
                (*at, "workers"), f"a multiple of {group}: {work.type} works in groups of {group}"
            )
        for key, allowed in work.mistakes():
            yield Mistake((*at, key), allowed)
        if (work.rt_prio is None) != (work.policy not in ("fifo", "rr")):
            allowed = f"an integer from 1 to {MAX_RT_PRIO}"
            yield Mistake(
                (*at, "rt_prio"),
                f"{allowed} with policy fifo or rr, nothing with {work.policy}"
                if work.rt_prio is not None
                else f"{allowed}: policy {work.policy} needs a priority",
            )


def _python(scenario: Scenario) -> Iterator[Mistake]:
    for at, work in all_works(scenario):
        if work.python is None:
            continue
        file, function = split_call(work.python)
        path = scenario.folder / file
        if is_file(path):  # else that is said already
            for allowed in python_mistakes(path, function):
                yield Mistake((*at, "python"), allowed)


def _crowd(scenario: Scenario) -> Iterator[Mistake]:
    counts: dict[KeyPath, int] = {}
    holds = scenario.holds_ms()
    for at, work in all_works(scenario):
        group = at[:2] if at[0] == "steps" else at[:1]
        turns = 1
        if at[2] == "ops" and isinstance(number := at[1], int):
            turns = scenario.steps[number].hold.turns(holds[number])
        counts[group] = counts.get(group, 0) + work.worker_count * turns
    permanent = counts.pop(("backdrop",), 0)
    for at, count in {("backdrop",): 0, **counts}.items():
        if permanent + count > MAX_LIVE_WORKERS:
            yield Mistake(
                at,
                f"at most {MAX_LIVE_WORKERS} workers at a time, the Backdrop's and those of every "
                "turn of a loop included",
                f"{permanent + count} workers",
            )


def _steps(scenario: Scenario) -> Iterator[Mistake]:
    seen: dict[str, int] = {}
    for index in range(len(scenario.steps)):
        name = scenario.step_name(index)
        if name in seen:
            yield Mistake(
                ("steps", index, "name"),
                f"a name that steps[{seen[name]}] does not have",
                f'"{name}"',
            )
        seen.setdefault(name, index)


CHECKS_OF_CPUSETS = {
    "isolation": "isolation only in a scenario that gives a cgroup a cpuset",
    "min_page_locality": "only in a scenario that gives a cgroup a cpuset: its nodes are meant",
}
"""Checks that have nothing to judge without a cpuset."""


def _cpuset_checks(scenario: Scenario) -> Iterator[Mistake]:
    groups: list[Backdrop | Step] = [scenario.backdrop, *scenario.steps]
    if any(cgroup.cpuset for group in groups for cgroup in group.cgroups) or any(
        isinstance(op, SetCpuset) or (isinstance(op, AddCgroupDef) and op.cpuset)
        for group in groups
        for op in group.ops
    ):
        return
    for at, checks in _check_tables(scenario):
        for name, allowed in CHECKS_OF_CPUSETS.items():
            if checks.plain().get(name):
                yield Mistake((*at, name), allowed)


def _checks(scenario: Scenario) -> Iterator[Mistake]:
    for at, checks in _check_tables(scenario):
        if checks.not_stuck is not None and checks.not_starved is not None:
            yield Mistake((*at, "not_stuck"), "one of not_starved and not_stuck: they are the same")
        if checks.enforce_monitor_thresholds and scenario.scheduler.kernel_default:
            yield Mistake(
                (*at, "enforce_monitor_thresholds"), "only with a scheduler that ktstr started"
            )


def _check_tables(scenario: Scenario) -> tuple[tuple[KeyPath, Checks], ...]:
    return (("scheduler", "checks"), scenario.scheduler.checks), (("checks",), scenario.checks)
