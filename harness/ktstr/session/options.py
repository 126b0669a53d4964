# SPDX-License-Identifier: GPL-2.0-only
"""What a person can set for one run, beside the scenario file."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

CI_VARIABLE: Final = "KTSTR_CI"
"""Set in the environment of CI jobs, so that comparisons can tell their runs from people's."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long each wait may take, seconds; the sentence for each expiry is where it is used.

    Generous on purpose: under TCG on a loaded host everything takes several times longer.
    """

    boot: float = 90.0
    attach: float = 90.0
    set_up: float = 60.0
    step_grace: float = 20.0
    reports: float = 40.0


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Options of ``ktstr-run``.

    :param kernel: kernel specification that replaces the file's.
    :param topology: topology that replaces the file's (``1n2l2c1t``, a preset's name).
    :param scheduler: scheduler that replaces the file's (a name, a path, ``none``).
    :param work_type: type that replaces those of works in swappable cgroups.
    :param flags: flags that replace the file's; none at all when empty.
    :param clock: clock that replaces the file's.
    :param seed: seed that replaces the file's.
    :param icount_shift: by the virtual clock, an instruction takes ``2**icount_shift`` ns.
    :param timeout_s: limit of the whole stay in the VM; None computes one.
    :param memory_mib: guest memory that replaces the file's, MiB; that of nodes stays.
    :param out_dir: folder that takes sidecar and evidence.
    :param auto_repro: repeat a failed run with probes, whatever the file says; None: as it says.
    :param checkpoint_on_fail: keep the guest of a run that does not pass in a file.
    :param checkpoint_at: keep the guest at the end of this step: its number, from 1 on, or name.
    :param cold: boot the guest, whatever template there is, and keep none of it.
    :param exclusive_llc: run where no other run has a CPU of the same last-level cache.
    :param run_source: who ran it, for comparisons; None: as this process's environment says.
    :param keep_frames: leave the frames of a run with a virtual clock beside its record.
    :param keep_vm: leave the VM paused at the end and wait for Ctrl-C.
    """

    kernel: str | None = None
    topology: str | None = None
    scheduler: str | None = None
    work_type: str | None = None
    flags: tuple[str, ...] | None = None
    clock: Literal["wall", "virtual"] | None = None
    seed: int | None = None
    icount_shift: int | None = None
    accel: Literal["auto", "kvm", "tcg"] = "auto"
    timeout_s: float | None = None
    memory_mib: int | None = None
    out_dir: Path = Path("ktstr-runs")
    auto_repro: bool | None = None
    checkpoint_on_fail: bool = False
    checkpoint_at: str | None = None
    cold: bool = False
    exclusive_llc: bool = False
    run_source: Literal["ci", "local"] | None = None
    keep_frames: bool = False
    keep_vm: bool = False
    verbose: bool = False
    deadlines: Deadlines = field(default_factory=Deadlines)


def run_source(environ: Mapping[str, str] = os.environ) -> Literal["ci", "local"]:
    """Who runs things in this environment."""
    return "ci" if environ.get(CI_VARIABLE) else "local"
