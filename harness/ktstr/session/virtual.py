# SPDX-License-Identifier: GPL-2.0-only
"""A run by the virtual clock: the plan goes with the image, the host waits and looks away."""

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final

import msgpack

from ktstr.errors import DefinitionInvalid, OutputUnwritable, Problem
from ktstr.session.definition import Definition
from ktstr.session.identity import digest_of_file, identity_of
from ktstr.session.live import Live
from ktstr.session.options import Deadlines, RunOptions
from ktstr.session.record import RunRecord
from ktstr.session.sidecar.write import sidecar_values
from ktstr.vm.cpio import Entry
from ktstr.vm.image import Image, ImageStore

PLAN_FILE: Final = "ktstr/plan"
"""Where the agent looks for its plan (guest/agent/mailbox.py)."""

MAX_PLAN: Final = 64 << 20

LAST_LINE: Final = "ktstr-agent: goodbye"
"""The line of the kernel log behind which the host's time begins (guest/agent/main.py)."""

SECONDS_PER_GUEST_SECOND: Final = 20
"""Host time that a busy vCPU may take for a second of its own, before it counts as hung."""

NO_LOOK: Final = (
    "no monitor: the host may not look at a guest with a virtual clock while it runs, "
    "as its instants could not be repeated"
)

FRAMES_SUFFIX: Final = ".frames.bin"


def is_virtual(plan: Mapping[str, Any]) -> bool:
    """Whether a plan is for a guest with a virtual clock."""
    return plan.get("clock") == "virtual"


def with_plan(image: Image, plan: Mapping[str, Any], run_dir: Path) -> Path:
    """The image with the plan in it, as a file in ``run_dir``.

    :raise DefinitionInvalid: when the plan is larger than any that makes sense.
    :raise GuestBuildFailed: when it cannot be written.
    """
    payload: bytes = msgpack.packb(plan)
    if len(payload) > MAX_PLAN:
        found = f"{len(payload)} bytes of plan"
        raise DefinitionInvalid([Problem("the plan", None, "steps", found, f"at most {MAX_PLAN}")])
    target = run_dir / "planned.cpio"
    return ImageStore().with_overlay(image, [Entry.file(PLAN_FILE, payload)], target).path


def plan_digest(plan: Mapping[str, Any]) -> str:
    """SHA-256 of a plan as it goes into the guest, in hexadecimal."""
    return hashlib.sha256(msgpack.packb(plan)).hexdigest()


def again(definition: Definition, options: RunOptions) -> dict[str, Any]:
    """What another run of the same scenario has to be given beside the clock and the seed."""
    return {
        "scenario": str(Path(definition.scenario.source.file).absolute()),
        "kernel": options.kernel,
        "topology": options.topology,
        "scheduler": options.scheduler,
        "work_type": options.work_type,
        "flags": None if options.flags is None else list(options.flags),
    }


def slowdown(cpus: int) -> int:
    """Host seconds that a second of the guest may take: all vCPUs share one host thread."""
    return SECONDS_PER_GUEST_SECOND * cpus


def patient(due: Deadlines, cpus: int) -> Deadlines:
    """Deadlines for a guest that runs on one host thread."""
    longer = {field.name: getattr(due, field.name) * max(2, cpus) for field in fields(due)}
    return replace(due, **longer)


def add_identity(record: RunRecord, live: Live, options: RunOptions) -> None:
    """Say which run this was, in figures that an equal run has too; the record is complete.

    :raise OutputUnwritable: when the frames were to be kept and cannot be.
    """
    clock, frames = live.machine.spec.virtual, live.machine.bulk_file
    assert clock is not None and frames is not None, "the plan says that the clock is virtual"
    record.facts["virtual"] = {
        "seed": clock.seed,
        "shift": clock.shift,
        "qemu": live.machine.qemu_version,
        "frames": {"bytes": frames.stat().st_size, "sha256": digest_of_file(frames)},
        "plan": plan_digest(live.definition.plan),
        "began": [
            {"step": step, "elapsed_ms": elapsed_ms, "uptime_ms": uptime_ms}
            for step, (elapsed_ms, uptime_ms) in live.recorder.marks.items()
        ],
        "uptime_ms": live.recorder.uptime_ms,
    }
    if live.said is not None:
        # What went wrong with reading the guest's memory afterwards is no part of the run.
        notes = record.facts["notes"]
        record.facts["notes"], record.host["notes"] = notes[: live.said], notes[live.said :]
    uptime_ms = live.recorder.uptime_ms
    wall_s = record.host.get("wall_s")
    if uptime_ms and isinstance(wall_s, float):
        record.host["guest_s"] = uptime_ms / 1000
        record.host["slowdown"] = round(wall_s * 1000 / uptime_ms, 3)
    record.facts["identity"] = identity_of(sidecar_values(record))
    if options.keep_frames:
        target = options.out_dir / f"{record.name}-{record.run_id}{FRAMES_SUFFIX}"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(frames, target)
        except OSError as error:
            raise OutputUnwritable(
                f"the frames cannot be written to {target.parent}: {error.strerror}",
                hint="free space there, or choose another folder with --out",
            ) from error
        record.host["frames"] = str(target)
