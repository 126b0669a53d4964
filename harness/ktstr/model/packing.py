# SPDX-License-Identifier: GPL-2.0-only
"""Which of the user's files a scenario takes into the guest, and where they lie there."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ktstr.model.definition import Scenario
from ktstr.model.fields import file_name
from ktstr.model.locate import KeyPath
from ktstr.model.op_programs import AttachScheduler, ReplaceScheduler, RunPayload
from ktstr.model.python_work import import_statements, split_call
from ktstr.model.scheduler_def import GUEST_INCLUDE_DIR, SchedulerProgram
from ktstr.model.works.of import all_works


@dataclass(frozen=True, slots=True)
class PackedFile:
    """One file on its way into the guest.

    :param at: the key that names it.
    :param host: where it is.
    :param guest: absolute path in the guest.
    """

    at: KeyPath
    host: Path
    guest: str


def programs(scenario: Scenario) -> Iterator[tuple[KeyPath, SchedulerProgram]]:
    """Every scheduler a scenario names: its own, then those of ops."""
    yield ("scheduler",), scenario.scheduler
    for at, op in scenario.all_ops():
        if isinstance(op, AttachScheduler | ReplaceScheduler) and op.scheduler is not None:
            yield (*at, "scheduler"), op.scheduler


def packed_files(scenario: Scenario) -> Iterator[PackedFile]:
    """Files of schedulers, works and payloads in this order; one may come several times."""
    folder = scenario.folder

    def included(at: KeyPath, name: str) -> PackedFile:
        return PackedFile(at, folder / name, str(GUEST_INCLUDE_DIR / file_name(name)))

    for at, program in programs(scenario):
        host, guest = program.host_file(folder), program.guest_file
        if host is not None and guest is not None:
            yield PackedFile((*at, program.kind), host, guest)
        if program.config_file is not None:
            yield included((*at, "config_file"), program.config_file)
    for at, work in all_works(scenario):
        if work.own_file is not None and work.guest_file is not None:
            key, path = work.own_file
            yield PackedFile((*at, key), folder / path, work.guest_file)
    for at, op in scenario.all_ops():
        if isinstance(op, RunPayload):
            yield PackedFile((*at, "command"), folder / op.command, op.guest_file)
            for index, name in enumerate(op.files):
                yield included((*at, "files", index), name)


def kernel_programs(scenario: Scenario) -> dict[str, str]:
    """Schedulers to be made from the kernel's source: path in the guest to name."""
    return {
        program.guest_file: program.kernel_program
        for _, program in programs(scenario)
        if program.kernel_program is not None and program.guest_file is not None
    }


def python_imports(scenario: Scenario) -> set[str]:
    """The import statements of the files with a scenario's Python functions."""
    files = {split_call(work.python)[0] for _, work in all_works(scenario) if work.python}
    return {line for file in files for line in import_statements(scenario.folder / file)}
