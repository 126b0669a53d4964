# SPDX-License-Identifier: GPL-2.0-only
"""What renders values agrees on: the bounds of a rendering, and what a CPU mask looks like."""

MAX_ELEMENTS = 4096
MAX_DEPTH = 32
MAX_MASK = 1024
"""Bytes of a CPU mask that are looked at: 8192 CPUs."""
MAX_VALUES = 1 << 17
"""Values made by one rendering; a hand-made type can nest arrays of nothing without end."""

INT_SIGNED, INT_CHAR, INT_BOOL = 1, 2, 4
"""Encoding bits of an INT in BTF."""

CPU_MASKS = {"cpumask": "bits", "bpf_cpumask": "cpumask", "scx_bitmap": "bits"}
"""Structs shown as a list of CPUs, with the member that holds the mask."""


def cpu_list(mask: bytes) -> str:
    """CPU numbers of a little-endian bit mask as a range list: ``0-3,8``."""
    bits = int.from_bytes(mask, "little")
    parts, cpu = [], 0
    while bits:
        skip = (bits & -bits).bit_length() - 1
        bits >>= skip
        run = (~bits & (bits + 1)).bit_length() - 1
        cpu += skip
        parts.append(str(cpu) if run == 1 else f"{cpu}-{cpu + run - 1}")
        cpu += run
        bits >>= run
    return ",".join(parts)
