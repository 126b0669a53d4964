# SPDX-License-Identifier: GPL-2.0-only
"""Field types of the scenario file: how a value is read, and how its schema describes it.

``x-allowed`` in a schema is the sentence a mistake prints where bounds and enumerations do not
say it by themselves.
"""

from pathlib import PurePath
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema

from ktstr.model.cpuset import CPUSET_ALLOWED, CpusetSpec, parse_cpus
from ktstr.model.presets import TOPOLOGY_ALLOWED, topology_named
from ktstr.model.topology import Topology
from ktstr.model.units import DURATION_ALLOWED, SIZE_ALLOWED, parse_duration_ms, parse_size

Schema = dict[str, Any]


class Table(BaseModel):
    """A TOML table: unknown keys are mistakes, values do not change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _text(pattern: str, allowed: str, longest: int) -> Any:
    return Field(pattern=pattern, max_length=longest, json_schema_extra={"x-allowed": allowed})


Name = Annotated[
    str, _text("^[a-z0-9_-]+$", "lower-case letters, digits, _ and - (at most 64)", 64)
]

CGROUP_ALLOWED: Final = (
    "a cgroup name of letters, digits, _ and -, below another as parent/child (at most 64)"
)
# No dot: it keeps the name apart from the control files in the same folder (cpu.max).
CgroupName = Annotated[str, _text("^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$", CGROUP_ALLOWED, 64)]

Identifier = Annotated[str, _text("^[A-Za-z_][A-Za-z0-9_]*$", "the name of a global variable", 128)]

VariablePath = Annotated[
    str,
    _text(
        r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$",
        "the name of a global variable, or of a part of one as variable.member",
        256,
    ),
]
SymbolName = Annotated[
    str, _text(r"^[A-Za-z_.$][A-Za-z0-9_.$]*$", "the name of a symbol of the kernel", 512)
]

KERNEL_ALLOWED: Final = (
    '"debian:7", "debian:VERSION", "debian-source:VERSION", "git:URL#REF", "tar:URL#sha256=HEX",'
    ' "path:FILE", "host", or a name of the catalogue such as "stock-6.12"'
)
_KERNEL: Final = r"^((debian|debian-source|git|tar):[^\s]+|path:.+|[A-Za-z][A-Za-z0-9._+-]{0,63})$"
KernelSpec = Annotated[str, _text(_KERNEL, KERNEL_ALLOWED, 4096)]

_DURATION_SCHEMA: Final[Schema] = {
    "anyOf": [{"type": "string"}, {"type": "number", "minimum": 0}],
    "x-allowed": DURATION_ALLOWED,
}
DurationMs = Annotated[int, PlainValidator(parse_duration_ms), WithJsonSchema(_DURATION_SCHEMA)]


def _positive_duration(value: object) -> int:
    milliseconds = parse_duration_ms(value)
    if milliseconds == 0:
        raise ValueError("a duration above zero")
    return milliseconds


PositiveMs = Annotated[int, PlainValidator(_positive_duration), WithJsonSchema(_DURATION_SCHEMA)]

SizeBytes = Annotated[
    int,
    PlainValidator(parse_size),
    WithJsonSchema({"type": "string", "pattern": "^[0-9]+ *[KMG]", "x-allowed": SIZE_ALLOWED}),
]


def _topology(value: object) -> Topology:
    if isinstance(value, Topology):
        return value
    if not isinstance(value, str):
        raise ValueError(TOPOLOGY_ALLOWED)
    return topology_named(value)


TopologySpec = Annotated[
    Topology,
    PlainValidator(_topology),
    WithJsonSchema({"type": "string", "x-allowed": TOPOLOGY_ALLOWED}),
]

Cpuset = Annotated[
    CpusetSpec,
    PlainValidator(CpusetSpec.parse),
    WithJsonSchema({"type": ["string", "object"], "x-allowed": CPUSET_ALLOWED}),
]


def _affinity(value: object) -> frozenset[int] | None:
    if value is None or value == "inherit":
        return None
    try:
        return parse_cpus(value)
    except ValueError as error:
        raise ValueError(f'"inherit" or {error}') from None


Affinity = Annotated[
    frozenset[int] | None,
    PlainValidator(_affinity),
    WithJsonSchema({"type": "string", "x-allowed": '"inherit" or a CPU list such as "0-1,3"'}),
]
"""CPUs a worker binds itself to; ``None`` leaves it to the cgroup."""


MAX_ARGUMENT: Final = 4096
Argument = Annotated[
    str, _text(r"^[^\x00]*$", f"a text of at most {MAX_ARGUMENT} characters, no NUL", MAX_ARGUMENT)
]
"""A word of a command line in the guest."""

KernelArgument = Annotated[
    str, _text(r"^[!-~]+$", "one word of the kernel's command line, printable ASCII", 256)
]

SysctlName = Annotated[
    str,
    _text(
        r"^[a-z0-9_]+(\.[A-Za-z0-9_-]+)+$",
        'the name of a sysctl with dots, such as "kernel.sched_schedstats"',
        128,
    ),
]


HostFile = Annotated[str, Field(strict=True, min_length=1, max_length=4096)]
"""A path on the host; relative ones start at the scenario's folder."""


def file_name(path: str) -> str:
    """The last part of a host path, which is the file's name in the guest."""
    return PurePath(path).name


_GLOBAL_ALLOWED: Final = "an integer of at most 64 bits, true, false or a text without NUL"


def _global_value(value: object) -> int | bool | str:
    if isinstance(value, str) and len(value) <= MAX_ARGUMENT and "\0" not in value:
        return value
    if isinstance(value, bool) or (isinstance(value, int) and -(1 << 63) <= value < 1 << 64):
        return value
    raise ValueError(_GLOBAL_ALLOWED)


GlobalValue = Annotated[
    int | bool | str,
    PlainValidator(_global_value),
    WithJsonSchema({"type": ["integer", "boolean", "string"], "x-allowed": _GLOBAL_ALLOWED}),
]
