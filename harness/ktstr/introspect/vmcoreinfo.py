# SPDX-License-Identifier: GPL-2.0-only
"""The vmcoreinfo note: what the kernel says about itself for readers of its memory.

Source: kernel/vmcore_info.c and arch/x86/kernel/vmcore_info_64.c. The note is an ELF note whose
text is ``KEY=VALUE`` lines; the guest's ``/sys/kernel/vmcoreinfo`` gives its place and size.
"""

import re
import struct
from dataclasses import dataclass, field

from ktstr.errors import KernelUnfit
from ktstr.introspect.memory import PhysicalMemory

KERNEL_MAP = 0xFFFFFFFF80000000
"""Virtual address that physical ``phys_base`` has in the kernel's own mapping (page_64.h)."""

_MAX_NOTE = 64 * 1024
_LINE = re.compile(r"([A-Z][A-Za-z0-9_-]*)(?:\(([^()]{1,128})\))?=(.{0,512})")


@dataclass(frozen=True, slots=True)
class Vmcoreinfo:
    """The note's text and the values the readers need.

    ``kaslr`` is how far the kernel image was moved, ``phys_base`` may be negative, ``levels`` is
    4 or 5; ``root`` is the guest-physical address of the kernel's top page table.
    """

    text: str
    release: str
    build_id: str
    kaslr: int
    phys_base: int
    levels: int
    root: int
    symbols: dict[str, int] = field(repr=False)


def read_vmcoreinfo(memory: PhysicalMemory, address: int, size: int) -> Vmcoreinfo:
    """Read and check the note at a guest-physical address.

    :raises KernelUnfit: when there is no such note or a needed line is missing.
    """
    hint = "the kernel needs CONFIG_VMCORE_INFO and the guest must report /sys/kernel/vmcoreinfo"
    if not 12 < size <= _MAX_NOTE:
        raise KernelUnfit(f"vmcoreinfo: the guest claims a note of {size} bytes", hint=hint)
    try:
        raw = memory.read(address, size)
    except ValueError:
        raise KernelUnfit(
            f"vmcoreinfo: the guest claims its note at {address:#x}, outside RAM", hint=hint
        ) from None
    name_size, desc_size, _ = struct.unpack_from("<III", raw)
    start = 12 + (name_size + 3 & ~3)
    if name_size > 64 or raw[12 : 12 + name_size].rstrip(b"\0") != b"VMCOREINFO":
        raise KernelUnfit(
            f"vmcoreinfo: no VMCOREINFO note at {address:#x}, found {raw[12:24]!r}", hint=hint
        )
    # The size in sysfs is the space reserved for the note; its header gives the part in use.
    if start + desc_size > size:
        raise KernelUnfit(f"vmcoreinfo: a note of {size} bytes claims {desc_size} bytes of text")
    return parse_vmcoreinfo(raw[start:][:desc_size].rstrip(b"\0").decode("ascii", "replace"))


def parse_vmcoreinfo(text: str) -> Vmcoreinfo:
    """Take the values out of the note's text; unknown lines are ignored.

    :raises KernelUnfit: when a needed line is missing or is not a number.
    """
    values: dict[tuple[str, str], str] = {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match:
            values.setdefault((match[1], match[2] or ""), match[3])

    def number(key: str, name: str, base: int, default: int | None = None) -> int:
        raw = values.get((key, name))
        if raw is None and default is not None:
            return default
        label = f"{key}({name})" if name else key
        if raw is None:
            raise KernelUnfit(
                f"vmcoreinfo: the line {label} is missing", hint="use a kernel of 6.0 or later"
            )
        try:
            return int(raw, base)
        except ValueError:
            raise KernelUnfit(f"vmcoreinfo: {label} is not a number: {raw!r}") from None

    symbols = {name: number("SYMBOL", name, 16) for key, name in values if key == "SYMBOL"}
    # init_top_pgt is the newer name of the same table.
    table = symbols.get("swapper_pg_dir") or symbols.get("init_top_pgt")
    if table is None:
        raise KernelUnfit("vmcoreinfo: no page table root (SYMBOL(swapper_pg_dir))")
    phys_base = number("NUMBER", "phys_base", 10)
    return Vmcoreinfo(
        text=text,
        release=values.get(("OSRELEASE", ""), ""),
        build_id=re.sub(r"[^0-9a-f]", "", values.get(("BUILD-ID", ""), "")),
        kaslr=number("KERNELOFFSET", "", 16, 0),
        phys_base=phys_base,
        levels=5 if number("NUMBER", "pgtable_l5_enabled", 10, 0) else 4,
        root=table - KERNEL_MAP + phys_base,
        symbols=symbols,
    )
