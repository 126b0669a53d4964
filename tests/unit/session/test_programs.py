# SPDX-License-Identifier: GPL-2.0-only
"""Which counts get into a record, and what keeps them from it."""

from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from ktstr.errors import KernelUnfit
from ktstr.series.programs import VerifiedProgram
from ktstr.session import programs as module
from ktstr.session.programs import count_programs, verifier_facts

ENQUEUE = VerifiedProgram("enqueue", "struct_ops", "sched_ext_ops.enqueue", 40, 1200, 8)
LOADED = [{"event": "loaded", "progs": [{"name": "enqueue", "insns_verified": 1200}]}]


def live(kind: str = "bpf", log: str = "", probes: bool = False, **more: Any) -> Any:
    notes: list[str] = []
    recorder = SimpleNamespace(
        statuses=more.pop("statuses", []),
        scheduler_log=SimpleNamespace(text=lambda: log),
        notes=notes,
        note=notes.append,
    )
    scenario = SimpleNamespace(scheduler=SimpleNamespace(kind=kind))
    definition = SimpleNamespace(scenario=scenario, plan={"probes": True} if probes else {})
    return SimpleNamespace(
        recorder=recorder, definition=definition, programs=more.pop("programs", None)
    )


def counted(made: Any, monkeypatch: pytest.MonkeyPatch, answer: Any) -> int:
    """Let ``count_programs`` read ``answer``; how often it looked."""
    looks: list[object] = []

    def read(kernel: object) -> Any:
        looks.append(kernel)
        if isinstance(answer, Exception):
            raise answer
        return answer

    class Inspector:
        @asynccontextmanager
        async def hold(self) -> Any:
            yield "kernel", "freezer"

    monkeypatch.setattr(module, "verified_programs", read)
    inspector: Any = Inspector()
    anyio.run(count_programs, made, inspector)
    return len(looks)


def test_the_programs_are_read_once_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    made = live()
    assert counted(made, monkeypatch, (ENQUEUE,)) == 1
    assert verifier_facts(made) == {"limit": 1_000_000, "programs": [ENQUEUE.plain()]}


@pytest.mark.parametrize("made", [live("none"), live(probes=True)])
def test_nobody_looks_where_there_is_nothing_of_a_schedulers_own(
    made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert counted(made, monkeypatch, (ENQUEUE,)) == 0
    assert made.programs is None


@pytest.mark.parametrize(
    ("error", "words"), [(KernelUnfit("no BTF"), "no BTF"), (ValueError("x"), "ValueError('x')")]
)
def test_memory_that_cannot_be_read_costs_the_counts_alone(
    error: Exception, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = live(statuses=LOADED)
    counted(made, monkeypatch, error)
    assert made.recorder.notes == [f"BPF programs were not counted: {words}"]
    facts = verifier_facts(made)
    assert facts is not None and facts["programs"] == [{"name": "enqueue", "verified": 1200}]


def test_without_a_scheduler_there_is_nothing_to_tell() -> None:
    assert verifier_facts(live("none")) is None


def test_a_refused_program_is_in_the_record() -> None:
    facts = verifier_facts(live(log="libbpf: prog 'a': BPF program load failed: No way\n"))
    assert facts is not None and facts["programs"] == [{"name": "a", "refused": "No way"}]
