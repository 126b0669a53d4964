# SPDX-License-Identifier: GPL-2.0-only
"""Run time of BPF programs, where the guest measures it (``kernel.bpf_stats_enabled``)."""

from dataclasses import dataclass

from ktstr.errors import KtstrError
from ktstr.introspect.kernel import Kernel
from ktstr.introspect.maps import walk_idr
from ktstr.introspect.regions import Builder, Captured, Region
from ktstr.series.monitor.window import ProgramStats

MAX_PROGRAMS = 128
_SET_CHANGED = "the set of BPF programs changed"


@dataclass(frozen=True, slots=True)
class ProgramPlan:
    """The per-CPU counters of each program; ``cnt`` and ``nsecs`` are offsets in them."""

    programs: tuple[tuple[int, str, tuple[Region, ...]], ...] = ()
    cnt: int = 0
    nsecs: int = 0
    watched: tuple[tuple[Region, bytes, str], ...] = ()
    measured: bool = False

    def decode(self, captured: Captured) -> tuple[ProgramStats, ...] | None:
        """Counts and times so far, summed over CPUs; ``None`` when they are not measured."""
        if not self.measured:
            return None
        return tuple(
            ProgramStats(
                program_id,
                name,
                sum(captured.unsigned(region, self.cnt) for region in regions),
                sum(captured.unsigned(region, self.nsecs) for region in regions),
            )
            for program_id, name, regions in self.programs
        )


def plan_programs(kernel: Kernel, builder: Builder, unavailable: dict[str, str]) -> ProgramPlan:
    """Plan the counters; why there are none is named in ``unavailable``."""
    places = [
        kernel.field(*path)
        for path in (
            ("bpf_prog", "stats"),
            ("bpf_prog", "aux"),
            ("bpf_prog_aux", "name"),
            ("bpf_prog_stats", "cnt"),
            ("bpf_prog_stats", "nsecs"),
        )
    ]
    stats, aux, title, cnt, nsecs = places
    key, size = kernel.symbol("bpf_stats_enabled_key"), kernel.struct("bpf_prog_stats")
    mark = builder.mark()
    try:
        if key is None or size is None or None in places:
            unavailable["monitor.programs"] = f"kernel {kernel.release} measures no BPF programs"
            return ProgramPlan()
        if not kernel.read_unsigned(key, 4):
            unavailable["monitor.programs"] = (
                "run times of BPF programs are not measured: kernel.bpf_stats_enabled is off"
            )
            return ProgramPlan()
        assert stats and aux and title and cnt and nsecs
        idr = walk_idr(kernel, "prog_idr", MAX_PROGRAMS)
        found = []
        for program_id, address in idr.objects.items():
            described = kernel.read_unsigned(address + aux.offset, 8)
            name = kernel.read(described + title.offset, title.size).split(b"\0", 1)[0]
            counters = kernel.read_unsigned(address + stats.offset, 8)
            regions = tuple(
                builder.add(kernel.percpu(counters, cpu), kernel.btf.size(size))
                for cpu in kernel.cpus
            )
            found.append((program_id, name.decode("ascii", "backslashreplace"), regions))
        watched = tuple((builder.add(at, len(raw)), raw, _SET_CHANGED) for at, raw in idr.words)
        return ProgramPlan(tuple(found), cnt.offset, nsecs.offset, watched, measured=True)
    except KtstrError as error:
        builder.rewind(mark)
        unavailable["monitor.programs"] = error.message
        return ProgramPlan()
