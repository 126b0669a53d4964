# SPDX-License-Identifier: GPL-2.0-only
"""Rules that span several keys of a scenario, each a function from a scenario to its mistakes."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ktstr.model.cgroups import CgroupTable, Label
from ktstr.model.checks import Checks
from ktstr.model.definition import (
    BUILT_IN_BPF,
    MAX_WATCHDOG_MS,
    MIN_SNAPSHOT_SPACING_MS,
    Backdrop,
    Scenario,
    Step,
)
from ktstr.model.locate import KeyPath
from ktstr.model.mistakes import did_you_mean
from ktstr.model.op_models import MAX_GARBAGE, AnyOp, InjectFault, Pause, Resume, SetCpuset, Spawn
from ktstr.model.source import Mistake, Unknown
from ktstr.model.topology import Topology
from ktstr.model.units import format_duration
from ktstr.model.works import WORK_TYPES
from ktstr.model.workspec import MAX_RT_PRIO, CgroupDef, Work

MIN_MEMORY = 128 << 20
MAX_LIVE_WORKERS = 4096
"""Slots for live counters in the guest."""

MAX_CPUS = 255
"""q35 without interrupt remapping numbers local APICs in one byte."""


def rule_mistakes(scenario: Scenario, unknown: Unknown) -> list[Mistake]:
    """Every mistake that can be told without looking at the topology."""
    rules = [_vm, _scheduler, _works, _crowd, _steps, _ops, _checks]
    if not unknown.times:
        rules.append(_timing)
    if not unknown.cpusets:
        rules.append(_cpuset_checks)
    return [mistake for rule in rules for mistake in rule(scenario)]


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
        topology, lambda at, allowed: mistakes.append(Mistake(at, allowed)), unknown
    )
    _set_up(table, scenario.backdrop.cgroups, ("backdrop", "cgroups"))
    _apply(table, scenario.backdrop.ops, ("backdrop", "ops"))
    for index, step in enumerate(scenario.steps):
        table.step = index + 1
        at: KeyPath = ("steps", index)
        _apply(table, step.ops, (*at, "ops"))
        _set_up(table, step.cgroups, (*at, "cgroups"))
        table.observe(holding=True)
        if not unknown.cgroups:
            mistakes += _fault_targets(table, step.ops, (*at, "ops"))
        table.end_step()
    return mistakes, table.allowed


def _set_up(table: CgroupTable, cgroups: Sequence[CgroupDef], at: KeyPath) -> None:
    for index, cgroup in enumerate(cgroups):
        here = (*at, index)
        cpus = table.resolve(cgroup.cpuset, (*here, "cpuset"))
        table.add(cgroup.name, (*here, "name"), cpus)
        for number, work in enumerate(cgroup.works):
            place = (*here, "works", number, "affinity")
            table.check_affinity(work.affinity, cgroup.name, place)
            table.spawn(cgroup.name)
    table.observe()


def _apply(table: CgroupTable, ops: Sequence[AnyOp], at: KeyPath) -> None:
    for index, op in enumerate(ops):
        op.apply(table, (*at, index))
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
    if memory < MIN_MEMORY or memory % (1 << 20):
        yield Mistake(("vm", "memory"), 'whole MiB, at least "128M"')
    if scenario.vm.topology.cpus > MAX_CPUS:
        yield Mistake(("vm", "topology"), f"a topology of at most {MAX_CPUS} CPUs")


def _scheduler(scenario: Scenario) -> Iterator[Mistake]:
    scheduler = scenario.scheduler
    forms = [key for key in ("bpf", "binary", "kernel_default") if getattr(scheduler, key)]
    if len(forms) != 1:
        found = ", ".join(forms) if forms else "none of them"
        yield Mistake(
            ("scheduler",), 'one of bpf = "…", binary = "…", kernel_default = true', found
        )
        return
    only_for = {"globals": "bpf", "timeout": "bpf", "args": "binary"}
    for key, form in only_for.items():
        if getattr(scheduler, key) and forms[0] != form:
            yield Mistake(("scheduler", key), f"{key} only beside {form} (here: {forms[0]})")
    if scheduler.timeout is not None and scheduler.timeout > MAX_WATCHDOG_MS:
        yield Mistake(("scheduler", "timeout"), "at most 30s: the kernel's watchdog goes no higher")
    file = scenario.scheduler_file()
    if file is None:
        return
    at = ("scheduler", forms[0])
    if forms[0] == "bpf" and file.suffix != ".o":
        hint = did_you_mean(str(scheduler.bpf), BUILT_IN_BPF)
        known = ", ".join(f'"{name}"' for name in sorted(BUILT_IN_BPF))
        yield Mistake(at, f"{known}, or the path of a BPF object (*.o){hint}")
    elif not _is_file(file):
        yield Mistake(at, f"a file that exists (looked for {file})")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, or a NUL inside
        return False


def _timing(scenario: Scenario) -> Iterator[Mistake]:
    duration = scenario.run.duration
    fractions = [i for i, step in enumerate(scenario.steps) if step.hold.fraction is not None]
    if duration is None and fractions:
        keys = ", ".join(f"steps[{index}].hold" for index in fractions)
        yield Mistake(("run", "duration"), f"a duration, for {keys} to be a fraction of", found="")
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
    for at, work in _all_works(scenario):
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
        if (work.rt_prio is None) != (work.policy not in ("fifo", "rr")):
            allowed = f"an integer from 1 to {MAX_RT_PRIO}"
            yield Mistake(
                (*at, "rt_prio"),
                f"{allowed} with policy fifo or rr, nothing with {work.policy}"
                if work.rt_prio is not None
                else f"{allowed}: policy {work.policy} needs a priority",
            )


def _crowd(scenario: Scenario) -> Iterator[Mistake]:
    counts: dict[KeyPath, int] = {}
    for at, work in _all_works(scenario):
        group = at[:2] if at[0] == "steps" else at[:1]
        counts[group] = counts.get(group, 0) + work.worker_count
    permanent = counts.pop(("backdrop",), 0)
    for at, count in {("backdrop",): 0, **counts}.items():
        if permanent + count > MAX_LIVE_WORKERS:
            yield Mistake(
                at,
                f"at most {MAX_LIVE_WORKERS} workers at a time, the Backdrop's included",
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


def _ops(scenario: Scenario) -> Iterator[Mistake]:
    yield from _pauses(scenario.backdrop.ops, ("backdrop", "ops"))
    for index, op in enumerate(scenario.backdrop.ops):
        if isinstance(op, InjectFault):
            yield Mistake(("backdrop", "ops", index, "op"), "in a step only: it needs a hold")
    for number, step in enumerate(scenario.steps):
        at: KeyPath = ("steps", number, "ops")
        yield from _pauses(step.ops, at)
        for index, op in enumerate(step.ops):
            if isinstance(op, InjectFault):
                yield from _fault(op, (*at, index), scenario, number)


def _pauses(ops: Sequence[AnyOp], at: KeyPath) -> Iterator[Mistake]:
    paused: int | None = None
    for index, op in enumerate(ops):
        if isinstance(op, Pause):
            if paused is not None:
                yield Mistake((*at, index, "op"), "Resume before another Pause")
            paused = index
        elif isinstance(op, Resume):
            if paused is None:
                yield Mistake((*at, index, "op"), "Resume only after Pause")
            paused = None
    if paused is not None:
        yield Mistake((*at, paused, "op"), "Pause with a Resume after it in the same list")


def _fault(op: InjectFault, at: KeyPath, scenario: Scenario, step: int) -> Iterator[Mistake]:
    hold = scenario.holds_ms()[step]
    if op.at >= hold > 0:
        yield Mistake((*at, "at"), f"before the hold of {format_duration(hold)} ends")
    if op.cgroup is not None and op.fault != "kill-worker":
        yield Mistake((*at, "cgroup"), "cgroup only with kill-worker")
    if "size" in op.model_fields_set and op.fault != "garbage-on-port":
        yield Mistake((*at, "size"), "size only with garbage-on-port")
    elif not 0 < op.size <= MAX_GARBAGE:
        yield Mistake((*at, "size"), f'above zero, at most "{MAX_GARBAGE >> 20}M"')
    if op.fault == "kill-scheduler" and scenario.scheduler.kernel_default:
        yield Mistake((*at, "fault"), "kill-scheduler only with a scheduler that ktstr started")


CHECKS_OF_CPUSETS = {
    "isolation": "isolation only in a scenario that gives a cgroup a cpuset",
    "min_page_locality": "only in a scenario that gives a cgroup a cpuset: its nodes are meant",
}
"""Checks that have nothing to judge without a cpuset."""


def _cpuset_checks(scenario: Scenario) -> Iterator[Mistake]:
    groups: list[Backdrop | Step] = [scenario.backdrop, *scenario.steps]
    if any(cgroup.cpuset for group in groups for cgroup in group.cgroups) or any(
        isinstance(op, SetCpuset) for group in groups for op in group.ops
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
        elif checks.enforce_monitor_thresholds and not scenario.run.num_snapshots:
            yield Mistake(
                ("run", "num_snapshots"),
                "snapshots, for the enforced monitor thresholds to be judged by",
            )


def _check_tables(scenario: Scenario) -> tuple[tuple[KeyPath, Checks], ...]:
    return (("scheduler", "checks"), scenario.scheduler.checks), (("checks",), scenario.checks)


def _all_works(scenario: Scenario) -> Iterator[tuple[KeyPath, Work]]:
    groups: list[tuple[KeyPath, Sequence[CgroupDef], Sequence[AnyOp]]] = [
        (("backdrop",), scenario.backdrop.cgroups, scenario.backdrop.ops)
    ]
    groups += [(("steps", i), step.cgroups, step.ops) for i, step in enumerate(scenario.steps)]
    for at, cgroups, ops in groups:
        for index, cgroup in enumerate(cgroups):
            for number, work in enumerate(cgroup.works):
                yield (*at, "cgroups", index, "works", number), work
        for index, op in enumerate(ops):
            if isinstance(op, Spawn):
                yield (*at, "ops", index, "work"), op.work
