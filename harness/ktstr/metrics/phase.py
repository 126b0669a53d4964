# SPDX-License-Identifier: GPL-2.0-only
"""The identity of a phase, which samples carry as well: :mod:`ktstr.series.phase`."""

from ktstr.series.phase import MAX_STEP_INDEX, Phase, StepIndex

__all__ = ["MAX_STEP_INDEX", "Phase", "StepIndex"]
