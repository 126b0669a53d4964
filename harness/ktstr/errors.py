# SPDX-License-Identifier: GPL-2.0-only
"""The one error tree of ktstr; leaves are named by what the caller can do next.

::

    KtstrError
    ├── CannotRun                    exit 4: nothing was tried, the message names the fix
    │   ├── DefinitionInvalid        the scenario file is wrong: correct the lines listed
    │   ├── HostUnfit                this machine lacks something: install or free it
    │   ├── KernelUnfit              this kernel cannot serve the scenario: choose another
    │   │   └── KernelLacks          it would boot, but has not what the scenario needs
    │   ├── GuestBuildFailed         the guest image could not be made: read the build log
    │   ├── CheckpointUnusable       a checkpoint is damaged or does not fit: copy or take another
    │   ├── RequestInvalid           a request to the daemon is wrong: correct the key named
    │   ├── ServiceRefused           the daemon takes no runs now: wait, free space, or go without
    │   ├── StateUnusable            a machine's state cannot be saved or continued here: boot
    │   └── OutputUnwritable         the output folder refuses writes: free or choose another
    └── GuestLost                    exit 3: the guest is gone, the evidence bundle is kept
        ├── BootTimeout              no Hello in time: read the kernel log
        ├── GuestPanicked            the guest kernel panicked
        ├── GuestHung                the guest stopped answering before its deadline
        ├── ChannelLost              the bulk port closed or carries garbage
        └── QemuDied                 the QEMU process ended on its own or was killed

A scheduler that fails is not an error of this tree: it is a verdict (exit 1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit status of ``ktstr-run``, by outcome."""

    PASS = 0
    FAIL = 1
    INCONCLUSIVE = 2
    GUEST_LOST = 3
    CANNOT_RUN = 4
    INTERRUPTED = 130


class KtstrError(Exception):
    """Root of every error ktstr raises on purpose.

    :param message: what happened, where, and what was found.
    :param hint: what the reader can do about it, in one sentence.
    """

    exit_code: ExitCode = ExitCode.CANNOT_RUN

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n  hint: {self.hint}"


class CannotRun(KtstrError):
    """Nothing was started: host, kernel, guest image or definition stand in the way."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a definition file.

    :param line: 1-based line in the file, or ``None`` when the file as a whole is meant.
    :param key: dotted path of the key, with list indices (``steps[1].works[0].type``).
    :param found: what stands there, as the reader wrote it; empty when the key is missing.
    :param allowed: what would be accepted, in words.
    """

    file: str
    line: int | None
    key: str
    found: str
    allowed: str

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        found = f"found {self.found}" if self.found else "missing"
        return f"{where}: {self.key}: {found}; allowed: {self.allowed}"


class DefinitionInvalid(CannotRun):
    """A definition file has mistakes; all of them are listed."""

    def __init__(self, problems: Sequence[Problem], *, hint: str | None = None) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        head = f"{count} mistake{'s' if count != 1 else ''} in the definition"
        super().__init__("\n".join([head, *(f"  {p}" for p in self.problems)]), hint=hint)


class HostUnfit(CannotRun):
    """This machine lacks a program, a permission, memory or an accelerator."""


class KernelUnfit(CannotRun):
    """The kernel cannot be found or lacks what the scenario needs."""


class KernelLacks(KernelUnfit):
    """The kernel was found and examined, and a feature that the scenario needs is not in it."""


class GuestBuildFailed(CannotRun):
    """Compiling or packing what runs inside the guest failed."""


class CheckpointUnusable(CannotRun):
    """A checkpoint is damaged, is none, or cannot be resumed by this QEMU."""


class RequestInvalid(CannotRun):
    """A request to the daemon is wrong; the first key that is so is named."""


class ServiceRefused(CannotRun):
    """The daemon takes no runs now: it drains, or its state cannot be written."""


class StateUnusable(CannotRun):
    """A machine's state cannot be saved, or a saved one cannot be continued by this QEMU."""


class OutputUnwritable(CannotRun):
    """The output folder cannot take the results (full, read-only, missing)."""


class GuestLost(KtstrError):
    """The guest is gone and the run has no verdict; the evidence bundle is kept."""

    exit_code = ExitCode.GUEST_LOST


class BootTimeout(GuestLost):
    """The guest did not say Hello within its deadline."""


class GuestPanicked(GuestLost):
    """The guest kernel panicked."""


class GuestHung(GuestLost):
    """The guest stopped answering before its deadline."""


class ChannelLost(GuestLost):
    """The bulk port closed early or carries nothing that can be decoded."""


class QemuDied(GuestLost):
    """The QEMU process ended on its own or was killed."""
