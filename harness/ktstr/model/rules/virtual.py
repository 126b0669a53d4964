# SPDX-License-Identifier: GPL-2.0-only
"""What the virtual clock leaves no room for: whatever the host would have to do to the guest."""

from collections.abc import Iterator

from ktstr.model.definition import Scenario
from ktstr.model.op_programs import WatchSnapshot, WriteBpfGlobal
from ktstr.model.source import Mistake

_BY_HOST = WatchSnapshot | WriteBpfGlobal


def virtual_mistakes(scenario: Scenario) -> Iterator[Mistake]:
    """Ops that stop the guest or write into it; a disk whose requests end by the host's time."""
    if scenario.run.clock != "virtual":
        return
    for at, op in scenario.all_ops():
        if isinstance(op, _BY_HOST):
            yield Mistake(
                (*at, "op"),
                'only with run.clock = "wall": the host may not touch a guest with a virtual clock',
            )
    if scenario.vm.scratch_disk is not None:
        yield Mistake(
            ("vm", "scratch_disk"),
            'none with run.clock = "virtual": requests would end by the host\'s time',
        )
