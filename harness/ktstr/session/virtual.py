# SPDX-License-Identifier: GPL-2.0-only
"""A run by the virtual clock: the plan goes with the image, and the host waits longer."""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final

import msgpack

from ktstr.session.options import Deadlines
from ktstr.vm.cpio import Entry
from ktstr.vm.image import Image, ImageStore

PLAN_FILE: Final = "ktstr/plan"
"""Where the agent looks for its plan (guest/agent/mailbox.py)."""

SECONDS_PER_GUEST_SECOND: Final = 20
"""Host time that a busy vCPU may take for a second of its own; 2 to 4 s were measured."""

NO_LOOK: Final = "the host may not look at a guest with a virtual clock while it runs"


def is_virtual(plan: Mapping[str, Any]) -> bool:
    """Whether a plan is for a guest with a virtual clock."""
    return plan.get("clock") == "virtual"


def with_plan(image: Image, plan: Mapping[str, Any], run_dir: Path) -> Path:
    """The image with the plan in it, as a file in ``run_dir``.

    :raise GuestBuildFailed: when it cannot be written.
    """
    payload: bytes = msgpack.packb(plan)
    target = run_dir / "planned.cpio"
    return ImageStore().with_overlay(image, [Entry.file(PLAN_FILE, payload)], target).path


def slowdown(cpus: int) -> int:
    """Host seconds that a second of the guest may take: all vCPUs share one host thread."""
    return SECONDS_PER_GUEST_SECOND * cpus


def patient(due: Deadlines, cpus: int) -> Deadlines:
    """Deadlines for a guest that runs on one host thread."""
    longer = {field.name: getattr(due, field.name) * max(2, cpus) for field in fields(due)}
    return replace(due, **longer)
