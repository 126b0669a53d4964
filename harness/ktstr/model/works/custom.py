# SPDX-License-Identifier: GPL-2.0-only
"""The work type that is a program of the user's."""

from typing import Final

from ktstr.model.work_type import WAKE, WorkType

CUSTOM: Final[tuple[WorkType, ...]] = (
    WorkType(
        "Custom", "a program or a Python function of your own, see guide/custom-work.md", fills=WAKE
    ),
)
