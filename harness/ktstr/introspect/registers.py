# SPDX-License-Identifier: GPL-2.0-only
"""vCPU registers out of QEMU's ``info registers -a`` (human monitor).

The text is QEMU's, its numbers are the guest's. Only names that are known are taken.
"""

import re
from collections.abc import Mapping
from typing import Final

from ktstr.series.dump.parts import VcpuRegisters

COMMAND: Final = "info registers -a"
MAX_TEXT: Final = 8 << 20
MAX_VCPUS: Final = 1024

_GENERAL = (
    *("RAX", "RBX", "RCX", "RDX", "RSI", "RDI", "RBP", "RSP", "RIP"),
    *(f"R{number}" for number in range(8, 16)),
    *("CR0", "CR2", "CR3", "CR4", "EFER"),
)
_HEAD = re.compile(r"^CPU#(\d+)\s*$", re.MULTILINE)
_NUMBER = re.compile(r"\b([A-Z][A-Z0-9]{1,3})\s*=([0-9a-f]{1,16})\b")
_FLAGS = re.compile(r"\bRFL=([0-9a-f]{8}) .*?\bCPL=([0-3]).*?\bHLT=([01])")
_BASE = re.compile(r"^(CS|FS|GS) =([0-9a-f]{4}) ([0-9a-f]{16})", re.MULTILINE)


def parse_registers(
    text: str, cpu_offsets: Mapping[int, int] | None = None
) -> tuple[VcpuRegisters, ...]:
    """The vCPUs in the order QEMU lists them; none in a text that is of another kind.

    :param cpu_offsets: per-CPU base of each CPU: where a vCPU's GS base is one, it tells which CPU
        of the guest it is.
    """
    parts = _HEAD.split(text[:MAX_TEXT])
    numbers = {base: cpu for cpu, base in (cpu_offsets or {}).items()}
    return tuple(
        _one(int(parts[at]), parts[at + 1], numbers)
        for at in range(1, min(len(parts) - 1, 2 * MAX_VCPUS), 2)
    )


def _one(index: int, text: str, numbers: Mapping[int, int]) -> VcpuRegisters:
    values: dict[str, int] = {}
    for name, digits in _NUMBER.findall(text):
        if name in _GENERAL:
            values.setdefault(name.lower(), int(digits, 16))
    cpl = halted = None
    if flags := _FLAGS.search(text):
        values["rflags"], cpl, halted = int(flags[1], 16), int(flags[2]), flags[3] == "1"
    for name, selector, base in _BASE.findall(text):
        values[name.lower()] = int(selector, 16)
        values[f"{name.lower()}_base"] = int(base, 16)
    return VcpuRegisters(numbers.get(values.get("gs_base", 0), index), cpl, halted, values)
