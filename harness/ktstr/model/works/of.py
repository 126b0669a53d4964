# SPDX-License-Identifier: GPL-2.0-only
"""The works of a whole scenario, wherever they are written."""

from collections.abc import Iterator, Sequence

from ktstr.model.cgroup_def import CgroupDef
from ktstr.model.definition import Scenario
from ktstr.model.locate import KeyPath
from ktstr.model.op_models import AddCgroupDef, AnyOp, Spawn, SpawnHost
from ktstr.model.workspec import Work, WorkSpec


def all_works(scenario: Scenario) -> Iterator[tuple[KeyPath, WorkSpec]]:
    """Every work of a scenario with its place, composed ones included, the Backdrop's first."""
    groups: list[tuple[KeyPath, Sequence[CgroupDef], Sequence[AnyOp]]] = [
        (("backdrop",), scenario.backdrop.cgroups, scenario.backdrop.ops)
    ]
    groups += [(("steps", i), step.cgroups, step.ops) for i, step in enumerate(scenario.steps)]
    for at, cgroups, ops in groups:
        for index, cgroup in enumerate(cgroups):
            for number, work in enumerate(cgroup.works):
                yield from _composed((*at, "cgroups", index, "works", number), work)
        for index, op in enumerate(ops):
            if isinstance(op, Spawn | SpawnHost):
                yield from _composed((*at, "ops", index, "work"), op.work)
            elif isinstance(op, AddCgroupDef):
                for number, work in enumerate(op.works):
                    yield from _composed((*at, "ops", index, "works", number), work)


def _composed(at: KeyPath, work: Work) -> Iterator[tuple[KeyPath, WorkSpec]]:
    for key, each in work.all_works():
        yield (*at, *key), each
