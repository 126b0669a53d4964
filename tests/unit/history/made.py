# SPDX-License-Identifier: GPL-2.0-only
"""Rows as runs of two kernels would give them."""

from pathlib import Path
from typing import Any

from ktstr.history.rows import Row, RowPhase


def row(number: int = 0, verdict: str = "pass", **more: Any) -> Row:
    """One run; its metrics and phases are given, everything else is the same each time."""
    values: dict[str, Any] = {
        "scenario": "crowd",
        "exit_code": 0,
        "kernel": "7.2.13+deb14-cloud-amd64",
        "kernel_spec": "debian:7",
        "scheduler": "scx_ktstr",
        "flags": "default",
        "topology": "1n2l4c1t",
        "work_type": "PipeIo",
        "project_commit": "aaaaaaa",
        "run_source": "local",
        "cpu_budget": 8,
        "vcpus": 8,
        "clock": "wall",
    }
    run_id = f"20261121-0000{number % 60:02d}-{number:04x}"
    return Row(Path(f"/runs/{run_id}.ktstr.json"), run_id, **{"verdict": verdict} | values | more)


def runs(name: str, values: list[float | None], **more: Any) -> list[Row]:
    """Runs that measured one metric, each a value; ``None`` did not measure it."""
    return [
        row(number, metrics={} if value is None else {name: value}, **more)
        for number, value in enumerate(values)
    ]


def phase(step: int, samples: int | None = None, **metrics: float) -> RowPhase:
    """A phase; step 1 is ``Step[0]``."""
    return RowPhase(step, f"Step[{step - 1}]" if step else "BASELINE", None, samples, metrics)
