# SPDX-License-Identifier: GPL-2.0-only
"""One run as a test asks for it."""

from dataclasses import dataclass
from pathlib import Path

from ktstr.session.events import Emit
from ktstr.session.options import RunOptions


@dataclass(frozen=True, slots=True)
class RunRequest:
    """One run as a test asks for it; handed to the hook ``pytest_ktstr_run``.

    :param scenario: the scenario's file, absolute. What was given as text or put together in
        Python has been written to one below the output folder.
    :param options: all that stands in the place of what the file says; an absolute ``out_dir``.
    :param nodeid: the test, as pytest names it.
    :param repetition: which time this is, from 1; 0 where nothing is repeated.
    :param emit: takes the run's events, for the test's report.
    """

    scenario: Path
    options: RunOptions
    nodeid: str
    repetition: int
    emit: Emit
