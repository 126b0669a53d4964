# SPDX-License-Identifier: GPL-2.0-only
"""NUMA nodes given one by one: memory, LLCs and distances of each (reference-04, 5.1)."""

from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import Field, StrictInt

from ktstr.model.fields import SizeBytes, Table

MAX_NODES: Final = 64
"""Most nodes that can be given one by one; x86 kernels are built for at least as many."""

LOCAL_DISTANCE: Final = 10
"""Of a node to itself, by ACPI's definition; all others are relative to it."""

REMOTE_DISTANCE: Final = 20
"""Between two nodes where the firmware says nothing."""

MAX_DISTANCE: Final = 254
"""ACPI has one byte, of which 255 says that a node cannot be reached."""

Distance = Annotated[StrictInt, Field(ge=LOCAL_DISTANCE, le=MAX_DISTANCE)]


class NumaNode(Table):
    """One NUMA node; its number is its place in the list."""

    memory: SizeBytes
    llcs: Annotated[StrictInt, Field(ge=0, le=255)] | None = None
    distances: Annotated[tuple[Distance, ...], Field(max_length=MAX_NODES)] = ()


def llcs_of_nodes(nodes: Sequence[NumaNode], llcs: int) -> tuple[int, ...]:
    """LLCs of each node; those that do not say share evenly what the others leave.

    :raises ValueError: when that does not come out even; the message says what is allowed.
    """
    left = llcs - sum(node.llcs or 0 for node in nodes)
    sharing = sum(node.llcs is None for node in nodes)
    if left < sharing or (left % sharing if sharing else left):
        raise ValueError(
            f"llcs that leave {sharing} nodes an even share of the topology's {llcs} LLCs"
            if sharing
            else f"llcs that add up to the topology's {llcs}"
        )
    return tuple(left // sharing if node.llcs is None else node.llcs for node in nodes)
