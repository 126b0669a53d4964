# SPDX-License-Identifier: GPL-2.0-only
"""Interrupt pressure (PSI) of the system and of each leaf cgroup, as the kernel last worked it out.

Needs CONFIG_PSI and CONFIG_IRQ_TIME_ACCOUNTING, which brings ``PSI_IRQ_FULL`` (kernel/sched/psi.c).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ktstr.introspect.btf import Field
from ktstr.introspect.kernel import Kernel
from ktstr.introspect.memory import UnreadableMemory
from ktstr.introspect.regions import Builder, Captured, OverLimit, Region
from ktstr.introspect.trail import Reader, Shape
from ktstr.series.host import CgroupPsi

MAX_CGROUPS = 128
"""Cgroups that one walk visits; the guest stands still meanwhile."""

_FIXED_POINT = 2048  # FIXED_1 in include/linux/sched/loadavg.h
_NS_PER_US = 1000
_AVG10, _WINDOWS, _WORD = 0, 3, 8
_LEAD = Shape((("word", 0, _WORD),), frozenset({"word"}))


@dataclass(frozen=True, slots=True)
class PsiPlaces:
    """Offsets inside ``struct psi_group`` of the interrupt figures."""

    avg10: int
    total: int

    @property
    def shape(self) -> Shape:
        """Both figures, to be read together."""
        return Shape((("avg10", self.avg10, _WORD), ("total", self.total, _WORD)), frozenset())

    def read(self, raw: bytes) -> tuple[float, int]:
        """Share of the last ten seconds in percent, and the lost time in us."""
        shape = self.shape
        return figures(shape.parse(raw[shape.start :][: shape.length]))


def figures(group: dict[str, int]) -> tuple[float, int]:
    """As :meth:`PsiPlaces.read`, from the values read."""
    return group["avg10"] / _FIXED_POINT, group["total"] // _NS_PER_US


@dataclass(frozen=True, slots=True)
class PressurePlan:
    """The system's group as a region; the cgroups are walked when their moment comes."""

    places: PsiPlaces | None = None
    system: Region | None = None
    root: int = 0
    tree: "CgroupPlaces | None" = None

    def decode_system(self, captured: Captured) -> tuple[float, int] | None:
        """Pressure of the whole system: percent of the last ten seconds, us so far."""
        if self.places is None or self.system is None:
            return None
        return self.places.read(captured.content(self.system))

    def walk(self, memory: Reader) -> tuple[CgroupPsi, ...]:
        """Pressure of the leaf cgroups among the first :data:`MAX_CGROUPS`."""
        if self.places is None or self.tree is None:
            return ()
        return tuple(self.tree.leaves(memory, self.root))


@dataclass(frozen=True, slots=True)
class CgroupPlaces:
    """Offsets inside ``struct cgroup`` and the css at its ``self``."""

    group: Shape
    psi: Field
    serial: Field
    children: Field
    sibling: Field

    def leaves(self, memory: Reader, root: int) -> Iterator[CgroupPsi]:
        """The leaves below ``root``, as far as memory shows them."""
        pending, seen = [root], {root}
        while pending:
            cgroup = pending.pop()
            try:
                inner = self._children(memory, cgroup, MAX_CGROUPS - len(seen))
                if not inner and cgroup != root:
                    yield self._leaf(memory, cgroup)
            except UnreadableMemory:
                continue
            for child in inner:
                if child not in seen:
                    seen.add(child)
                    pending.append(child)

    def _children(self, memory: Reader, cgroup: int, most: int) -> list[int]:
        head = cgroup + self.children.offset
        found: list[int] = []
        at = _word(memory, head)
        while at not in (head, 0) and len(found) < most:
            found.append(at - self.sibling.offset)
            at = _word(memory, at)
        return found

    def _leaf(self, memory: Reader, cgroup: int) -> CgroupPsi:
        group = _word(memory, cgroup + self.psi.offset)
        share, total = figures(memory.fields(group, self.group))
        return CgroupPsi(cgroup, _word(memory, cgroup + self.serial.offset), share, total)


def _word(memory: Reader, address: int) -> int:
    """A word that the walk goes by."""
    return memory.fields(address, _LEAD)["word"]


def plan_pressure(kernel: Kernel, builder: Builder, unavailable: dict[str, str]) -> PressurePlan:
    """Plan the interrupt pressure; why a kernel has none is named in ``unavailable``."""
    places = _places(kernel)
    if places is None:
        unavailable["host.pressure"] = (
            f"kernel {kernel.release} has no interrupt pressure "
            "(CONFIG_PSI and CONFIG_IRQ_TIME_ACCOUNTING)"
        )
        return PressurePlan()
    try:
        key = kernel.symbol("psi_disabled")
        if key is not None and kernel.read_unsigned(key, 4):
            unavailable["host.pressure"] = "PSI is switched off in this guest (psi=0)"
            return PressurePlan()
        return _plan(kernel, builder, places, unavailable)
    except (UnreadableMemory, OverLimit) as error:
        unavailable["host.pressure"] = error.message
        return PressurePlan()


def _plan(
    kernel: Kernel, builder: Builder, places: PsiPlaces, unavailable: dict[str, str]
) -> PressurePlan:
    system, struct_id = kernel.symbol("psi_system"), kernel.struct("psi_group")
    region = None
    if system is None or struct_id is None:
        unavailable["host.pressure.system"] = f"kernel {kernel.release} has no psi_system"
    else:
        region = builder.add(system, kernel.btf.size(struct_id))
    top = kernel.symbol("cgrp_dfl_root")
    inside = kernel.field("cgroup_root", "cgrp")
    found = [
        kernel.field("cgroup", path)
        for path in ("psi", "self.serial_nr", "self.children", "self.sibling")
    ]
    tree = None
    if top is None or inside is None or any(place is None for place in found):
        unavailable["host.cgroup_psi"] = f"kernel {kernel.release} has no pressure by cgroup"
    else:
        tree = CgroupPlaces(places.shape, *[place for place in found if place is not None])
        top += inside.offset
    return PressurePlan(places, region, top or 0, tree)


def _places(kernel: Kernel) -> PsiPlaces | None:
    state = kernel.btf.find_enumerator("PSI_IRQ_FULL")
    states = kernel.btf.find_enumerator("NR_PSI_STATES")
    averages, totals = kernel.field("psi_group", "avg"), kernel.field("psi_group", "total")
    if state is None or states is None or averages is None or totals is None:
        return None
    # The kernel keeps no figure for its last state, PSI_NONIDLE.
    kept = states[1] - 1
    if not 0 <= state[1] < kept or averages.size < kept * _WINDOWS * _WORD:
        return None
    return PsiPlaces(
        averages.offset + (state[1] * _WINDOWS + _AVG10) * _WORD,
        totals.offset + state[1] * _WORD,
    )
