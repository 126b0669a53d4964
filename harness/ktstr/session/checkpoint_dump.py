# SPDX-License-Identifier: GPL-2.0-only
"""Reading a checkpoint's memory as a guest's: no QEMU, no kernel image, no debuginfo."""

from platformdirs import user_cache_path

from ktstr.capture.dump import read_dump
from ktstr.errors import CheckpointUnusable
from ktstr.introspect import Kernel, attach
from ktstr.series.dump.report import FailureDumpReport
from ktstr.vm.checkpoint import Checkpoint


def attach_to_checkpoint(checkpoint: Checkpoint) -> Kernel:
    """Introspection of the guest in a checkpoint; blocks for about a second.

    :raises CheckpointUnusable: the guest had not told where its kernel is, or the file is damaged.
    :raises KernelUnfit: this kernel cannot be read from outside.
    """
    found = checkpoint.manifest.vmcoreinfo
    if found is None:
        raise CheckpointUnusable(
            f"{checkpoint.path}: the guest had not said Hello, so its kernel cannot be found"
        )
    return attach(checkpoint.memory, found, cache_dir=user_cache_path("ktstr"))


def read_checkpoint(checkpoint: Checkpoint) -> FailureDumpReport:
    """All that a failure dump tells, out of a checkpoint; blocks for a few seconds.

    :raises CheckpointUnusable: as :func:`attach_to_checkpoint`.
    :raises KernelUnfit: as :func:`attach_to_checkpoint`.
    """
    manifest = checkpoint.manifest
    return read_dump(
        attach_to_checkpoint(checkpoint),
        checkpoint.memory,
        checkpoint.registers(),
        reason=manifest.reason or "a checkpoint was asked for",
        trigger=manifest.moment,
        elapsed_ms=manifest.elapsed_ms,
        scheduler_comm=manifest.scheduler_comm,
    )
