# SPDX-License-Identifier: GPL-2.0-only
"""What all ops have in common."""

from ktstr.model.cgroups import CgroupTable
from ktstr.model.fields import Table
from ktstr.model.locate import KeyPath
from ktstr.model.ops import OP_INDEX
from ktstr.model.topology import Topology
from ktstr.model.workspec import PlanValue


class Op(Table):
    """One op of a list; ``op`` is its name, which tells the ops apart."""

    op: str

    def plan(self, topology: Topology) -> dict[str, PlanValue]:
        """The guest's form: ``kind`` is the op's bit, the rest its own fields."""
        return {"kind": OP_INDEX[self.op], "op": self.op, **self._fields(topology)}

    def apply(self, table: CgroupTable, at: KeyPath) -> None:
        """Change the table as the guest would change its state."""

    def _fields(self, topology: Topology) -> dict[str, PlanValue]:
        return {name: value for name, value in self if name != "op"}
