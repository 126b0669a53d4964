# SPDX-License-Identifier: GPL-2.0-only
"""What schedules the guest, as the scenario file writes it."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Final, Literal

from pydantic import Field, StrictBool, StrictInt, StrictStr

from ktstr.model.checks import Checks
from ktstr.model.fields import (
    Argument,
    GlobalValue,
    HostFile,
    Identifier,
    KernelArgument,
    Name,
    PositiveMs,
    SysctlName,
    Table,
    file_name,
)
from ktstr.model.workspec import PlanValue

BUILT_IN_BPF: Final = frozenset({"scx_ktstr"})
"""Scheduler objects that ktstr brings along and finds by name."""

GUEST_SCHEDULER_DIR: Final = PurePosixPath("/ktstr/sched")
"""Folder in the guest that the scheduler's file is packed into."""

GUEST_INCLUDE_DIR: Final = PurePosixPath("/include-files")
"""Folder in the guest for files that programs read (reference-04, 4.9)."""

KERNEL_SOURCE: Final = "kernel:"
"""Before the name of a scheduler that is made from the guest kernel's own source."""

DEFAULT_WATCHDOG_MS: Final = 20_000
MAX_WATCHDOG_MS: Final = 30_000
"""``SCX_WATCHDOG_MAX_TIMEOUT`` in kernel/sched/ext.c: 30 s."""

DEFAULT_ATTACH_MS: Final = 60_000
MAX_ATTACH_MS: Final = 600_000
"""A verifier under emulation may take minutes over a large scheduler."""

DEFAULT_PROFILE: Final = "default"
"""Name of the profile without flags."""

DEFAULT_CGROUP_PARENT: Final = "/ktstr"
"""The cgroup that all of a scenario's cgroups lie in."""

SchedulerKind = Literal["bpf", "binary", "none"]
KernelFeature = Literal["sched_ext", "btf", "pvh", "virtio_console", "virtio_pci", "pvpanic"]
"""Features that can be told from a kernel's image (ktstr.kernels)."""


class SchedulerProgram(Table):
    """A scheduler that can be started: exactly one of ``bpf`` and ``binary``."""

    bpf: HostFile | None = None
    binary: HostFile | None = None
    args: Annotated[tuple[Argument, ...], Field(max_length=256)] = ()
    globals: dict[Identifier, GlobalValue] = Field(default_factory=dict)
    timeout: PositiveMs | None = Field(default=None, json_schema_extra={"default": "20s"})
    config_file: HostFile | None = None
    attach_timeout: PositiveMs | None = Field(default=None, json_schema_extra={"default": "60s"})

    @property
    def kind(self) -> SchedulerKind:
        """Which form this is; ``none`` is the kernel's own scheduler."""
        if self.bpf is not None:
            return "bpf"
        return "binary" if self.binary is not None else "none"

    @property
    def watchdog_ms(self) -> int | None:
        """``timeout_ms`` of the BPF object; ``None`` where ktstr does not set it."""
        if self.kind != "bpf":
            return None
        return DEFAULT_WATCHDOG_MS if self.timeout is None else self.timeout

    @property
    def attach_ms(self) -> int:
        """How long it may take from its start until it is attached, in ms."""
        return DEFAULT_ATTACH_MS if self.attach_timeout is None else self.attach_timeout

    @property
    def built_in(self) -> bool:
        """Whether ktstr brings the object along."""
        return self.bpf in BUILT_IN_BPF

    @property
    def kernel_program(self) -> str | None:
        """Name of the scheduler in the kernel's own source (tools/sched_ext), if that is meant."""
        if self.binary is None or not self.binary.startswith(KERNEL_SOURCE):
            return None
        return self.binary.removeprefix(KERNEL_SOURCE)

    def host_file(self, folder: Path) -> Path | None:
        """The file on the host, relative paths taken from the scenario's folder.

        ``None`` for the kernel default, and for what lies where the caller knows: a built-in
        object, a scheduler of the kernel's source.
        """
        name = self.bpf if self.bpf is not None else self.binary
        if name is None or self.built_in or self.kernel_program is not None:
            return None
        return folder / name

    @property
    def guest_file(self) -> str | None:
        """The file's path in the guest."""
        name = self.bpf if self.bpf is not None else self.binary
        if name is None:
            return None
        base = f"{name}.bpf.o" if self.built_in else self.kernel_program or file_name(name)
        return str(GUEST_SCHEDULER_DIR / base)

    def command_args(self) -> list[str]:
        """Arguments in the order of reference-04, 4.9: the config file, then its own."""
        return [*self._config_args(), *self.args]

    def _config_args(self) -> list[str]:
        if self.config_file is None:
            return []
        return ["--config", str(GUEST_INCLUDE_DIR / file_name(self.config_file))]

    def plan(self) -> dict[str, PlanValue]:
        """The guest's form."""
        return {
            "kind": self.kind,
            "path": self.guest_file,
            "args": list[PlanValue](self.command_args()),
            "set": [
                [name, str(int(value)) if isinstance(value, bool | int) else value]
                for name, value in self.globals.items()
            ],
            "timeout_ms": self.watchdog_ms,
            "attach_ms": self.attach_ms,
        }


class FlagDecl(Table):
    """A switch that a scheduler offers: its arguments, and the flags it makes no sense without."""

    args: Annotated[tuple[Argument, ...], Field(min_length=1, max_length=64)]
    requires: Annotated[tuple[Name, ...], Field(max_length=64)] = ()


class Scheduler(SchedulerProgram):
    """What schedules the guest: exactly one of ``bpf``, ``binary`` and ``kernel_default``."""

    kernel_default: StrictBool = False
    sysctls: Annotated[dict[SysctlName, StrictInt | StrictStr], Field(max_length=256)] = Field(
        default_factory=dict
    )
    kernel_args: Annotated[tuple[KernelArgument, ...], Field(max_length=64)] = ()
    kernel_features: Annotated[tuple[KernelFeature, ...], Field(max_length=16)] = ()
    cgroup_parent: Annotated[
        str,
        Field(
            pattern="^(/[A-Za-z0-9_-]+)+$",
            max_length=200,
            json_schema_extra={"x-allowed": 'a cgroup path such as "/workload", not "/"'},
        ),
    ] = DEFAULT_CGROUP_PARENT
    known_flags: Annotated[dict[Name, FlagDecl], Field(max_length=64)] = Field(default_factory=dict)
    flags: Annotated[tuple[Name, ...], Field(max_length=64)] = ()
    excluded_flags: Annotated[tuple[Name, ...], Field(max_length=64)] = ()
    checks: Checks = Field(default_factory=Checks)

    def active_flags(self) -> tuple[str, ...]:
        """The flags picked and all they require, sorted."""
        return closure(self.flags, {name: f.requires for name, f in self.known_flags.items()})

    @property
    def profile(self) -> str:
        """Name of the flags in force."""
        return profile_name(self.active_flags())

    def command_args(self) -> list[str]:
        """As the program's, with the cgroup's parent and the flags' arguments in their places."""
        given = self.cgroup_parent != DEFAULT_CGROUP_PARENT
        parent = ["--cell-parent-cgroup", self.cgroup_parent] if given else []
        flags = [word for name in self.active_flags() for word in self.known_flags[name].args]
        return [*self._config_args(), *parent, *self.args, *flags]

    def plan(self) -> dict[str, PlanValue]:
        """The guest's form."""
        sysctls: list[PlanValue] = [[name, str(value)] for name, value in self.sysctls.items()]
        return {
            **super().plan(),
            "sysctls": sysctls,
            "profile": self.profile,
            "cgroup_parent": self.cgroup_parent,
        }


def profile_name(flags: Iterable[str]) -> str:
    """What a set of flags is called: ``a+b``, or ``default`` without any."""
    return "+".join(flags) or DEFAULT_PROFILE


def closure(picked: Iterable[str], requires: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """The names picked and whatever they require, directly or not, as far as known; sorted."""
    return tuple(sorted(set(_reach(picked, requires))))


def _reach(picked: Iterable[str], requires: Mapping[str, Iterable[str]]) -> Iterator[str]:
    seen: set[str] = set()
    pending = list(picked)
    while pending:
        name = pending.pop()
        if name in requires and name not in seen:
            seen.add(name)
            yield name
            pending += requires[name]
