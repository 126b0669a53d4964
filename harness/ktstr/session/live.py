# SPDX-License-Identifier: GPL-2.0-only
"""A run in progress: what its parts share."""

from dataclasses import dataclass, field

from ktstr.capture.monitor import GuestMonitor
from ktstr.series.bridge import SnapshotBridge
from ktstr.series.monitor.report import MonitorReport
from ktstr.series.programs import VerifiedProgram
from ktstr.series.sample import Sample, SampleSeries, StatsMeta
from ktstr.session.checkpoint import Checkpoints
from ktstr.session.definition import Definition
from ktstr.session.dump import Dumps
from ktstr.session.lease import Lease
from ktstr.session.link import Link
from ktstr.session.prepare import Prepared
from ktstr.session.recorder import Recorder
from ktstr.session.warm import Warm
from ktstr.vm.machine import Machine


@dataclass(slots=True)
class Live:
    """One booted machine with the two ends of its conversation.

    :ivar launched: when its QEMU was started, seconds of the monotonic clock.
    :ivar bridge: takes the captures while the scenario runs; what it loses becomes a note.
    :ivar stats_meta: what the scheduler says about its statistics, once it was asked.
    :ivar monitor: reads the running guest, once it does.
    :ivar said: how many notes there were when the guest had ended.
    :ivar dumps: takes failure dumps; ``dump_exact`` at the write of the scheduler's exit kind.
    :ivar programs: what the verifier made of the BPF programs in the guest, once it was read.
    :ivar checkpoints: takes checkpoints, where they are asked for.
    :ivar lease: of the host's CPUs, under which the guest runs.
    """

    definition: Definition
    prepared: Prepared
    machine: Machine
    link: Link
    recorder: Recorder
    warm: Warm
    launched: float | None = None
    bridge: SnapshotBridge = field(init=False)
    stats_meta: dict[str, object] | None = None
    monitor: GuestMonitor | None = None
    said: int | None = None
    programs: tuple[VerifiedProgram, ...] | None = None
    dumps: Dumps = field(default_factory=Dumps)
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    lease: Lease = field(default_factory=Lease)

    def __post_init__(self) -> None:
        self.bridge = SnapshotBridge(on_event=lambda event: self.recorder.note(str(event)))

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The captures so far, in order."""
        return self.bridge.stored()

    def series(self) -> SampleSeries:
        """The captures so far, ready to be projected."""
        meta = None if self.stats_meta is None else StatsMeta.parse(self.stats_meta)
        return SampleSeries.from_drained_typed(self.samples, self.report(), stats_meta=meta)

    def report(self) -> MonitorReport | None:
        """What the monitor has seen so far; ``None`` when it never read."""
        return None if self.monitor is None else self.monitor.report()
