# SPDX-License-Identifier: GPL-2.0-only
"""Copied bytes to a snapshot, after the freeze; guest memory is not touched."""

from ktstr.errors import KtstrError
from ktstr.introspect.kernel import Kernel
from ktstr.introspect.layout import base_snapshot
from ktstr.introspect.plan import SnapshotPlan
from ktstr.introspect.readers import MapReader
from ktstr.introspect.regions import Captured
from ktstr.series.collector import uncollected
from ktstr.series.host import HostReading
from ktstr.series.maps import MapSnapshot
from ktstr.series.snapshot import ACTIVE, Snapshot


def decode(plan: SnapshotPlan, captured: Captured, kernel: Kernel) -> Snapshot:
    """Make the snapshot of one freeze. Does not raise for anything the guest's bytes hold.

    ``stale`` of the snapshot is set when the guest had moved on since the plan was made: the
    maps in it are then those of the plan, and the plan is to be rebuilt.
    """
    unavailable = dict(plan.unavailable)
    cpus = plan.runqueues.decode(captured, unavailable)
    with uncollected():
        maps = tuple(_decode_map(reader, captured) for reader in plan.readers)
    sched_ext = plan.sched_ext.decode(captured)
    loaded = sched_ext.state != "disabled"
    if not loaded:
        unavailable.setdefault(ACTIVE, "no scheduler is loaded")
    return Snapshot(
        release=kernel.release,
        maps=maps,
        cpus=cpus,
        sched_ext=sched_ext,
        unavailable=unavailable,
        stale=plan.stale_reason or change(plan, captured),
        copy_ns=captured.copy_ns,
        host=HostReading(
            per_cpu_time=plan.cputime.decode(captured),
            per_tgid_time=plan.tasks.walk(captured.processes, unavailable),
            cgroup_psi=plan.pressure.walk(captured.cgroups),
        ),
        active_maps=plan.active.maps if loaded else None,
    )


def _decode_map(reader: MapReader, captured: Captured) -> MapSnapshot:
    try:
        return reader.decode(captured)
    except KtstrError as error:
        return base_snapshot(reader.info, error=error.message)


def change(plan: SnapshotPlan, captured: Captured) -> str | None:
    """What the guest changed since the plan was made, if that makes the plan useless."""
    for region, before, meaning in plan.watched:
        if captured.content(region) != before:
            return meaning
    return None
