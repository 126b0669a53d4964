# SPDX-License-Identifier: GPL-2.0-only
"""What a run is to do: its scenario, resolved, and what follows from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ktstr.capture.boundaries import boundary_offsets_ms
from ktstr.errors import DefinitionInvalid, HostUnfit, Problem
from ktstr.model.op_programs import RunPayload
from ktstr.model.plan import build_plan, expected_cpusets, workload_ms
from ktstr.model.scenario import Scenario, load_scenario
from ktstr.model.scheduler_def import DEFAULT_ATTACH_MS
from ktstr.model.topology import Topology
from ktstr.session.options import RunOptions
from ktstr.session.phase_checks import metric_mistakes
from ktstr.session.temporal import unjudgeable


@dataclass(frozen=True, slots=True)
class Definition:
    """A scenario with everything that follows from it alone.

    :param workers: how many workers each (step, cgroup) has that may report.
    :param silenced: the (step, cgroup) pairs of which an op ends workers without reports.
    :param pauses_ms: how long ops may hold the scenario up beside the holds.
    :param asks_host: whether an op asks the host to look into the guest or write there.
    :param payloads: the ops that start programs, by the programs' names.
    :param checkpoint_step: the step at whose end a checkpoint is taken, from 1 on.
    """

    scenario: Scenario
    topology: Topology
    plan: Mapping[str, Any]
    cpusets: Mapping[tuple[int, str], frozenset[int]]
    workers: Mapping[tuple[int, str], int]
    silenced: frozenset[tuple[int, str]]
    holds_ms: tuple[int, ...]
    pauses_ms: int
    workload_ms: int
    boundaries_ms: tuple[float, ...]
    asks_host: bool
    payloads: Mapping[str, RunPayload]
    checkpoint_step: int | None = None


def define(path: Path, options: RunOptions) -> Definition:
    """Read the scenario and resolve it against its topology.

    :raise DefinitionInvalid: with every mistake found.
    :raise HostUnfit: when an option is not for the scenario's clock.
    """
    scenario = load_scenario(
        path,
        kernel=options.kernel,
        topology=options.topology,
        scheduler=options.scheduler,
        work_type=options.work_type,
        flags=options.flags,
        clock=options.clock,
        seed=options.seed,
        memory_mib=options.memory_mib,
    )
    return defined(scenario, options)


def defined(scenario: Scenario, options: RunOptions) -> Definition:
    """Resolve a scenario against its topology.

    :raise DefinitionInvalid: with every mistake found.
    :raise HostUnfit: when an option is not for the scenario's clock.
    """
    if scenario.run.clock == "virtual":
        _refuse_touching(options)
    elif options.icount_shift is not None:
        raise HostUnfit(
            "by the wall clock no instruction has a length of its own",
            hint="leave out --icount-shift, or use --clock virtual",
        )
    length = workload_ms(scenario)
    boundaries = boundary_offsets_ms(length, scenario.run.num_snapshots)
    if mistakes := [*metric_mistakes(scenario), *unjudgeable(scenario, boundaries)]:
        raise DefinitionInvalid(scenario.source.problems(mistakes))
    topology = scenario.vm.guest_topology
    # Of a run with a virtual clock, the guest itself takes the snapshots.
    plan = {**build_plan(scenario, topology), "boundaries_ms": [*boundaries]}
    return Definition(
        scenario=scenario,
        topology=topology,
        plan=plan,
        cpusets=expected_cpusets(scenario, topology),
        workers=reporting_workers(plan),
        silenced=silenced_groups(plan),
        holds_ms=scenario.holds_ms(),
        pauses_ms=sum(
            turns * _delay_ms(op, scenario.scheduler.attach_ms) for turns, op in _ops(plan)
        ),
        workload_ms=length,
        boundaries_ms=boundaries,
        asks_host=any(op["op"] in _HOST_OPS for _, op in _ops(plan)),
        payloads={op.name: op for _, op in scenario.all_ops() if isinstance(op, RunPayload)},
        checkpoint_step=_checkpoint_step(scenario, options.checkpoint_at),
    )


def _checkpoint_step(scenario: Scenario, asked: str | None) -> int | None:
    """The step that ``--checkpoint-at`` names: by its name, or by its number from 1 on.

    :raise DefinitionInvalid: when the scenario has no such step.
    """
    if asked is None:
        return None
    names = [step.name for step in scenario.steps]
    if asked in names:
        return names.index(asked) + 1
    if asked.isdecimal() and len(asked) < 5 and 1 <= int(asked) <= len(names):
        return int(asked)
    allowed = ", ".join([f"1 to {len(names)}", *(repr(name) for name in names if name)])
    problem = Problem(scenario.source.file, None, "--checkpoint-at", repr(asked), allowed)
    raise DefinitionInvalid([problem])


_HOST_OPS = ("CaptureSnapshot", "WatchSnapshot", "WriteBpfGlobal")


_ATTACHING = ("AttachScheduler", "ReplaceScheduler", "RestartScheduler")


_DELAYS_MS = {
    **dict.fromkeys(_HOST_OPS, 10_000),
    "DetachScheduler": 10_000,
    "FreezeCgroup": 10_000,
}
"""How long an op may take: what the agent allows it, with room."""


def _delay_ms(op: Mapping[str, Any], attach_ms: int) -> int:
    """How long an op may take, ms; ``attach_ms`` is what the scenario's own scheduler may."""
    own = {"Pause": "duration_ms", "WaitPayload": "timeout_ms"}.get(op["op"], "")
    if op["op"] in _ATTACHING:
        return max(int((op.get("scheduler") or {}).get("attach_ms", attach_ms)), DEFAULT_ATTACH_MS)
    return int(op.get(own, 0)) + _DELAYS_MS.get(op["op"], 0)


def _parts(plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{**plan["backdrop"], "index": 0}, *plan["steps"]]


def _turns(part: Mapping[str, Any]) -> int:
    loop_ms = part.get("loop_ms")
    return max(1, -(-int(part["hold_ms"]) // int(loop_ms))) if loop_ms else 1


def _ops(plan: Mapping[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    """Every op, with how often it is done."""
    return [(_turns(part), op) for part in _parts(plan) for op in part["ops"]]


def reporting_workers(plan: Mapping[str, Any]) -> dict[tuple[int, str], int]:
    """Upper bound of reports per (step, cgroup); 0 is the backdrop."""
    workers: dict[tuple[int, str], int] = {}

    def add(step: int, cgroup: str, work: Mapping[str, Any], turns: int = 1) -> None:
        for each in (work, *work.get("composed", ())):
            workers[step, cgroup] = workers.get((step, cgroup), 0) + turns * int(each["workers"])

    for part in _parts(plan):
        for cgroup in part["cgroups"]:
            for work in cgroup["works"]:
                add(part["index"], cgroup["name"], work)
        for op in part["ops"]:
            for cgroup, work in _works_of(op):
                add(part["index"], cgroup, work, _turns(part))
    return workers


def work_types(plan: Mapping[str, Any]) -> list[str]:
    """The types of everything that works in a plan, sorted, each once."""
    works = [
        work for part in _parts(plan) for cgroup in part["cgroups"] for work in cgroup["works"]
    ]
    works += [work for _, op in _ops(plan) for _, work in _works_of(op)]
    return sorted(
        {str(each["type"]) for work in works for each in (work, *work.get("composed", ()))}
    )


def _works_of(op: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Cgroup and work of all that an op starts."""
    if op["op"] == "AddCgroupDef":
        return [(op["name"], work) for work in op["works"]]
    return [(op["cgroup"], op["work"])] if "work" in op else []


def silenced_groups(plan: Mapping[str, Any]) -> frozenset[tuple[int, str]]:
    """Groups that may report less than was started.

    StopCgroup and RemoveCgroup end workers, in their own step or as Backdrop, also those of cgroups
    inside; and a loop may have fewer turns than there is time for.
    """
    found = set()
    started = reporting_workers(plan)
    for part in _parts(plan):
        index = int(part["index"])
        for op in part["ops"]:
            if op["op"] in ("StopCgroup", "RemoveCgroup"):
                found |= {(0, op["cgroup"]), (index, op["cgroup"])}
            if op["op"] == "RemoveCgroup":
                inside = op["cgroup"] + "/"
                found |= {key for key in started if key[1].startswith(inside)}
            if _turns(part) > 1:
                found |= {(index, cgroup) for cgroup, _ in _works_of(op)}
    return frozenset(found)


def _refuse_touching(options: RunOptions) -> None:
    """Options by which the host would touch a guest with a virtual clock.

    :raise HostUnfit: naming the first of them.
    """
    asked = {"--keep-vm": options.keep_vm, "--checkpoint-at": options.checkpoint_at is not None}
    for option, given in asked.items():
        if given:
            raise HostUnfit(
                f"{option} is not for a guest with a virtual clock: the host may not touch it",
                hint=f"leave out {option}, or use --clock wall",
            )
