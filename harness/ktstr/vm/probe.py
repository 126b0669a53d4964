# SPDX-License-Identifier: GPL-2.0-only
"""A trial boot: does an accelerator really run guest code on this host?

That /dev/kvm opens proves nothing: there are hosts (nested ones above all) where it does and the
guest dies in its first instructions. The trial guest is a 64 KiB firmware image of our own. It
goes from real mode through protected mode to paged 64-bit mode, with its code and text copied to
RAM, uses an instruction of the features CPUID promises, writes the text to the debug port and
leaves through the exit device.
"""

import os
import signal
import struct
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL

import anyio

from ktstr.errors import HostUnfit

DEADLINE_S = 3.0
"""How long the trial guest may take; it needs about 0.1 s, most of it QEMU's own start."""

_TEXT = b"ktstr\n"
_EXIT_VALUE = 0x31
_EXIT_STATUS = _EXIT_VALUE << 1 | 1  # isa-debug-exit: (value << 1) | 1
_ROM_BYTES = 0x10000
_SAID_BYTES = 300

# Offsets into the ROM, which ends at 4 GiB: offset X is at linear address 0xffff0000 + X.
_REAL, _PROTECTED, _PAGING, _LONG, _DATA = 0xFE00, 0xFE40, 0xFE80, 0xFF00, 0xFF60
_GDTR, _GDT, _GDTR_COPY, _RESET = 0xFF80, 0xFF88, 0xFFB0, 0xFFF0
_BASE = 0xFFFF_0000
_COPY, _COPY_BYTES = 0x8000, 0x200  # where ROM from _REAL on is copied to
_PML4, _PDPT, _PD = 0x1000, 0x2000, 0x3000
_CODE32, _FLAT, _CODE64 = 0x08, 0x10, 0x18


def firmware() -> bytes:
    """The trial guest's ROM image, 64 KiB."""

    def u32(value: int) -> bytes:
        return struct.pack("<I", value)

    def copied(offset: int) -> bytes:
        return u32(_COPY + offset - _REAL)

    real = b"".join(
        (
            b"\xfa",  # cli
            b"\x2e\x66\x0f\x01\x16" + struct.pack("<H", _GDTR),  # lgdtl cs:[_GDTR]
            b"\x0f\x20\xc0",  # mov eax, cr0
            b"\x0c\x01",  # or al, 1 (PE)
            b"\x0f\x22\xc0",  # mov cr0, eax
            b"\x66\xea" + struct.pack("<IH", _BASE + _PROTECTED, _CODE32),  # ljmpl
        )
    )
    protected = b"".join(
        (
            b"\x66\xb8" + struct.pack("<H", _FLAT),  # mov ax, _FLAT
            b"\x8e\xd8\x8e\xc0",  # mov ds, ax; mov es, ax
            b"\xbe" + u32(_BASE + _REAL),  # mov esi, ROM
            b"\xbf" + u32(_COPY),  # mov edi, RAM
            b"\xb9" + u32(_COPY_BYTES),  # mov ecx, bytes
            b"\xf3\xa4",  # rep movsb
            b"\xea" + copied(_PAGING) + struct.pack("<H", _CODE32),  # ljmp to the copy
        )
    )
    # Code and descriptors in RAM from here on: the page tables map only the first 2 MiB.
    paging = b"".join(
        (
            b"\x0f\x01\x15" + copied(_GDTR_COPY),  # lgdt [_GDTR_COPY]
            b"\xc7\x05" + u32(_PML4) + u32(_PDPT | 3),  # mov dword [_PML4], present, writable
            b"\xc7\x05" + u32(_PDPT) + u32(_PD | 3),  # mov dword [_PDPT], the same
            b"\xc7\x05" + u32(_PD) + u32(0x83),  # mov dword [_PD], one 2 MiB page at 0
            b"\xb8" + u32(_PML4) + b"\x0f\x22\xd8",  # mov eax, _PML4; mov cr3, eax
            b"\x0f\x20\xe0\x0c\x20\x0f\x22\xe0",  # mov eax, cr4; or al, PAE; mov cr4, eax
            b"\xb9" + u32(0xC000_0080) + b"\x0f\x32",  # mov ecx, EFER; rdmsr
            b"\x80\xcc\x01\x0f\x30",  # or ah, LME; wrmsr
            b"\x0f\x20\xc0\x0d" + u32(1 << 31),  # mov eax, cr0; or eax, PG
            b"\x0f\x22\xc0",  # mov cr0, eax
            b"\xea" + copied(_LONG) + struct.pack("<H", _CODE64),  # ljmp to _LONG's copy
        )
    )
    long = b"".join(
        (
            b"\xb8" + u32(7) + b"\x31\xc9\x0f\xa2",  # mov eax, 7; xor ecx, ecx; cpuid
            b"\xb8" + u32(len(_TEXT) // 2),  # mov eax, half the length
            b"\xba" + u32(1),  # mov edx, 1
            b"\xf7\xc3" + u32(1 << 8),  # test ebx, BMI2
            b"\x74\x07",  # jz over the next two
            b"\xc4\xe2\x69\xf7\xc8",  # shlx ecx, eax, edx
            b"\xeb\x04",  # jmp over the next two
            b"\x01\xc0\x89\xc1",  # add eax, eax; mov ecx, eax
            b"\xbe" + copied(_DATA),  # mov esi, _DATA in RAM
            b"\x66\xba\xe9\x00",  # mov dx, 0xe9
            b"\xf3\x6e",  # rep outsb
            b"\xb0" + bytes((_EXIT_VALUE,)) + b"\xe6\xf4",  # mov al, _EXIT_VALUE; out 0xf4, al
            b"\xf4\xeb\xfd",  # hlt; jmp back to it
        )
    )
    descriptors = (0, 0x00CF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF, 0x00AF_9B00_0000_FFFF)
    limit = struct.pack("<H", 8 * len(descriptors) - 1)
    rom = bytearray(b"\xf4" * _ROM_BYTES)
    for offset, content in (
        (_REAL, real),
        (_PROTECTED, protected),
        (_PAGING, paging),
        (_LONG, long),
        (_DATA, _TEXT),
        (_GDTR, limit + u32(_BASE + _GDT)),
        (_GDTR_COPY, limit + copied(_GDT)),
        (_GDT, struct.pack("<4Q", *descriptors)),
        (_RESET, b"\xe9" + struct.pack("<h", _REAL - (_RESET + 3))),  # jmp _REAL
    ):
        rom[offset : offset + len(content)] = content
    return bytes(rom)


@dataclass(frozen=True, slots=True)
class Trial:
    """Outcome of a trial boot.

    :param ran: the guest did exactly what it was to do.
    :param detail: what happened otherwise, to follow "the trial guest"; empty when it ran.
    """

    ran: bool
    detail: str


async def trial_boot(program: Path, accel: str, deadline_s: float = DEADLINE_S) -> Trial:
    """Boot the trial guest once under an accelerator.

    :param program: the QEMU to use.
    :param accel: value of QEMU's ``-accel``.
    :raises HostUnfit: when QEMU cannot be executed.
    """
    image = os.memfd_create("ktstr-trial", 0)
    try:
        os.write(image, firmware())
        return await _boot(program, accel, image, deadline_s)
    finally:
        os.close(image)


async def _boot(program: Path, accel: str, image: int, deadline_s: float) -> Trial:
    command = [
        str(program), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-machine", "q35", "-accel", accel, "-cpu", "max", "-m", "16M",
        "-bios", f"/proc/self/fd/{image}",
        "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04",
        "-debugcon", "stdio",
    ]  # fmt: skip
    try:
        with anyio.fail_after(deadline_s):
            done = await anyio.run_process(
                command, check=False, stdin=DEVNULL, start_new_session=True, pass_fds=(image,)
            )
    except TimeoutError:
        return Trial(False, f"did not finish within {deadline_s:g} s")
    except OSError as error:
        raise HostUnfit(f"{program} cannot be started: {error.strerror}") from error
    if done.returncode == _EXIT_STATUS and done.stdout == _TEXT:
        return Trial(True, "")
    return Trial(False, _explain(done.returncode, done.stdout, done.stderr))


def _explain(status: int, stdout: bytes, stderr: bytes) -> str:
    how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"exited {status}"
    said = " ".join(stderr[:_SAID_BYTES].decode("utf-8", "replace").split())
    wrote = repr(stdout[:16]) if stdout else "nothing"
    return f"ended wrongly: QEMU {how}, the guest wrote {wrote}" + (f"; {said}" if said else "")
