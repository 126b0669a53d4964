# SPDX-License-Identifier: GPL-2.0-only
"""A run in progress: what its parts share."""

from dataclasses import dataclass, field

from ktstr.capture.monitor import GuestMonitor
from ktstr.series.sample import Sample
from ktstr.session.link import Link
from ktstr.session.prepare import Definition, Prepared
from ktstr.session.recorder import Recorder
from ktstr.vm.machine import Machine


@dataclass(slots=True)
class Live:
    """One booted machine with the two ends of its conversation.

    ``samples`` grows while the scenario runs; ``monitor`` is there once it reads.
    """

    definition: Definition
    prepared: Prepared
    machine: Machine
    link: Link
    recorder: Recorder
    samples: list[Sample] = field(default_factory=list)
    monitor: GuestMonitor | None = None
