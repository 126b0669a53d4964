# SPDX-License-Identifier: GPL-2.0-only
"""``[gauntlet]``: on which topologies a scenario makes sense, where it is run on many.

Names and defaults are those of the reference (reference-06, section 19): scenarios that want
several NUMA nodes say so.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Final

from pydantic import Field, PlainValidator, StrictBool, StrictInt, WithJsonSchema

from ktstr.model.fields import Table
from ktstr.model.presets import presets
from ktstr.model.source import Mistake
from ktstr.model.topology import MAX_CPUS, Topology
from ktstr.model.words import did_you_mean

PRESET_ALLOWED: Final = "the name of a preset (configs/topologies.toml)"

MEMORY_PER_CPU_MIB: Final = 64
MIN_MEMORY_MIB: Final = 256


def _preset(value: object) -> str:
    known = presets()
    if isinstance(value, str) and value in known:
        return value
    hint = did_you_mean(value, known) if isinstance(value, str) else ""
    raise ValueError(f"{PRESET_ALLOWED}: {', '.join(known)}{hint}")


PresetName = Annotated[
    str,
    PlainValidator(_preset),
    WithJsonSchema({"type": "string", "x-allowed": PRESET_ALLOWED}),
]

_Count = Annotated[StrictInt, Field(ge=1, le=MAX_CPUS)]

AXES: Final = ("numa_nodes", "llcs", "cpus")
"""What has a ``min_`` and a ``max_``."""


class Constraints(Table):
    """Which topologies a scenario is run on; its own is not asked."""

    min_numa_nodes: _Count = 1
    max_numa_nodes: _Count = 1
    min_llcs: _Count = 1
    max_llcs: _Count = 12
    min_cpus: _Count = 1
    max_cpus: _Count = 192
    requires_smt: StrictBool = False
    exclude: Annotated[tuple[PresetName, ...], Field(max_length=64)] = ()

    def why_not(self, topology: Topology, preset: str | None = None) -> str:
        """What is against a topology, in words; empty when nothing is."""
        counts = {"numa_nodes": topology.nodes, "llcs": topology.llcs, "cpus": topology.cpus}
        for axis, count in counts.items():
            low, high = getattr(self, f"min_{axis}"), getattr(self, f"max_{axis}")
            if count < low:
                return f"min_{axis} = {low}, it has {count}"
            if count > high:
                return f"max_{axis} = {high}, it has {count}"
        if self.requires_smt and topology.threads_per_core < 2:
            return "requires_smt, it has one thread per core"
        if preset in self.exclude:
            return "excluded by name"
        return ""

    def within(self, outer: "Constraints") -> "Constraints":
        """These together with those of a whole gauntlet.

        Where both speak, the narrower counts; where one does, that one, also against a default.
        """
        both: dict[str, Any] = {}
        for name in {*self.model_fields_set, *outer.model_fields_set}:
            said = [getattr(each, name) for each in (self, outer) if name in each.model_fields_set]
            if name == "exclude":
                both[name] = tuple(dict.fromkeys(preset for names in said for preset in names))
            elif name == "requires_smt":
                both[name] = any(said)
            else:
                both[name] = max(said) if name.startswith("min_") else min(said)
        return Constraints.model_construct(_fields_set={*both}, **both)


def constraint_mistakes(found: Constraints, key: str) -> Iterator[Mistake]:
    """Ranges in which nothing lies.

    :param key: the table's name.
    """
    for axis in AXES:
        low, high = getattr(found, f"min_{axis}"), getattr(found, f"max_{axis}")
        if low > high:
            given = f"max_{axis}" in found.model_fields_set
            told = f"max_{axis}" if given else f"min_{axis}"
            default = "" if given else ", which is the default"
            allowed = f"min_{axis} at most max_{axis}; here {low} and {high}{default}"
            yield Mistake((key, told), allowed)


def gauntlet_memory_mib(topology: Topology, own_mib: int) -> int:
    """Memory of a gauntlet's guest, MiB: 64 for each CPU, at least 256 and the file's own."""
    return max(topology.cpus * MEMORY_PER_CPU_MIB, MIN_MEMORY_MIB, own_mib)
