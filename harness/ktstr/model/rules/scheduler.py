# SPDX-License-Identifier: GPL-2.0-only
"""Rules about schedulers and the files that go into the guest."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ktstr.model.definition import Scenario
from ktstr.model.locate import KeyPath
from ktstr.model.packing import kernel_programs, packed_files, programs
from ktstr.model.scheduler_def import (
    BUILT_IN_BPF,
    KERNEL_SOURCE,
    MAX_ATTACH_MS,
    MAX_WATCHDOG_MS,
    Scheduler,
    SchedulerProgram,
)
from ktstr.model.source import Mistake
from ktstr.model.words import did_you_mean

_HARNESS_ARGS = "console panic quiet cryptomgr.notests tsc no_timer_check tsc_early_khz lpj"
_START_ARGS = "init rdinit root initrd"
OWN_KERNEL_ARGS: Final = frozenset(f"{_HARNESS_ARGS} {_START_ARGS}".split())
"""Kernel arguments that the harness sets, or that would keep its guest from starting."""

_PROGRAM_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")

_ONLY_FOR: Final = {"globals": "bpf", "timeout": "bpf", "args": "binary", "config_file": "binary"}
_ONLY_FOR_FLAGS: Final = dict.fromkeys(("flags", "excluded_flags", "known_flags"), "binary")


def scheduler_mistakes(scenario: Scenario) -> Iterator[Mistake]:
    """Forms, keys that go with a form, and flags; for the scenario's own and those of ops."""
    for at, program in programs(scenario):
        yield from _program(at, program, scenario)
    scheduler = scenario.scheduler
    yield from _kernel_args(scheduler)
    yield from _flags(scheduler)


def _program(at: KeyPath, program: SchedulerProgram, scenario: Scenario) -> Iterator[Mistake]:
    own = isinstance(program, Scheduler)
    keys = ("bpf", "binary", "kernel_default") if own else ("bpf", "binary")
    forms = [key for key in keys if getattr(program, key)]
    if len(forms) != 1:
        found = ", ".join(forms) if forms else "none of them"
        last = ", kernel_default = true" if own else ""
        yield Mistake(at, f'one of bpf = "…", binary = "…"{last}', found)
        return
    for key, form in {**_ONLY_FOR, **(_ONLY_FOR_FLAGS if own else {})}.items():
        if getattr(program, key) and forms[0] != form:
            yield Mistake((*at, key), f"{key} only beside {form} (here: {forms[0]})")
    if program.timeout is not None and program.timeout > MAX_WATCHDOG_MS:
        yield Mistake((*at, "timeout"), "at most 30s: the kernel's watchdog goes no higher")
    if program.kind == "none" and program.attach_timeout is not None:
        yield Mistake((*at, "attach_timeout"), "attach_timeout only beside bpf or binary")
    if program.attach_ms > MAX_ATTACH_MS:
        yield Mistake((*at, "attach_timeout"), "at most 10m")
    name = program.kernel_program
    if name is not None and not _PROGRAM_NAME.fullmatch(name):
        yield Mistake(
            (*at, "binary"), f'"{KERNEL_SOURCE}NAME", such as "{KERNEL_SOURCE}scx_simple"'
        )
    file = program.host_file(scenario.folder)
    if program.bpf is not None and file is not None and file.suffix != ".o":
        hint = did_you_mean(program.bpf, BUILT_IN_BPF)
        known = ", ".join(f'"{name}"' for name in sorted(BUILT_IN_BPF))
        yield Mistake((*at, "bpf"), f"{known}, or the path of a BPF object (*.o){hint}")


def _kernel_args(scheduler: Scheduler) -> Iterator[Mistake]:
    for index, word in enumerate(scheduler.kernel_args):
        # The kernel takes - and _ for the same in a parameter's name, and all after -- for init.
        name = word.partition("=")[0].replace("-", "_")
        if name in OWN_KERNEL_ARGS or not name.strip("_"):
            own = ", ".join(sorted(OWN_KERNEL_ARGS))
            yield Mistake(("scheduler", "kernel_args", index), f"none of the harness's own: {own}")


def _flags(scheduler: Scheduler) -> Iterator[Mistake]:
    known = scheduler.known_flags
    declared = f"one of scheduler.known_flags: {', '.join(known) or 'none are declared'}"
    lists: list[tuple[KeyPath, tuple[str, ...]]] = [
        (("flags",), scheduler.flags),
        (("excluded_flags",), scheduler.excluded_flags),
    ]
    lists += [(("known_flags", name, "requires"), flag.requires) for name, flag in known.items()]
    for at, names in lists:
        for index, name in enumerate(names):
            if name not in known:
                hint = did_you_mean(name, known)
                yield Mistake(("scheduler", *at, index), declared + hint)
    active = scheduler.active_flags()
    for index, name in enumerate(scheduler.excluded_flags):
        if name in active:
            allowed = (
                f"a flag that scheduler.flags neither names nor requires ({', '.join(active)})"
            )
            yield Mistake(("scheduler", "excluded_flags", index), allowed)


def file_mistakes(scenario: Scenario) -> Iterator[Mistake]:
    """Files that do not exist, and files of one name that would meet in the guest."""
    made = kernel_programs(scenario)
    taken = {guest: Path(KERNEL_SOURCE + name) for guest, name in made.items()}
    for file in packed_files(scenario):
        if file.at[-1] == "bpf" and file.host.suffix != ".o":
            continue  # said already
        if not is_file(file.host):
            yield Mistake(file.at, f"a file that exists (looked for {file.host})")
        elif taken.setdefault(file.guest, file.host) != file.host:
            yield Mistake(file.at, f"a file name that {taken[file.guest]} does not have")


def is_file(path: Path) -> bool:
    """Whether a file is there; what cannot be a path is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, or a NUL inside
        return False
