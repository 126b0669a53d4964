# SPDX-License-Identifier: GPL-2.0-only
"""What the verifier made of the scheduler's BPF programs: read in a run, told in its record."""

from typing import Any

import anyio.to_thread

from ktstr.errors import KtstrError
from ktstr.introspect.verified import verified_programs
from ktstr.series.programs import INSNS_LIMIT, told_by_loader, with_log
from ktstr.session.inspector import Inspector
from ktstr.session.live import Live
from ktstr.session.repro import has_probes


async def count_programs(live: Live, inspector: Inspector) -> None:
    """Read the programs once, while the scheduler is attached; what keeps it becomes a note."""
    # Of a run without a scheduler there are none, and the probes of a repetition are no part of it.
    if live.definition.scenario.scheduler.kind == "none" or has_probes(live.definition):
        return
    try:
        async with inspector.hold() as (kernel, _):
            live.programs = await anyio.to_thread.run_sync(verified_programs, kernel)
    except Exception as error:
        # Guest memory may hold anything, so reading it may raise anything.
        words = error.message if isinstance(error, KtstrError) else repr(error)
        live.recorder.note(f"BPF programs were not counted: {words}")


def verifier_facts(live: Live) -> dict[str, Any] | None:
    """The programs for the record; ``None`` of a run without a scheduler.

    Where the host may not look into the guest, or nothing was attached, there is what the loader
    counted, and what libbpf said of programs that did not load.
    """
    if live.definition.scenario.scheduler.kind == "none":
        return None
    recorder = live.recorder
    counted = live.programs or told_by_loader(recorder.statuses)
    programs = with_log(counted, recorder.scheduler_log.text())
    return {"limit": INSNS_LIMIT, "programs": [program.plain() for program in programs]}
