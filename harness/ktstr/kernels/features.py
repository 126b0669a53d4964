# SPDX-License-Identifier: GPL-2.0-only
"""Read a kernel's features from its vmlinux.

A distribution image has no symbol table and rarely an embedded configuration, but sched_ext needs
BTF (kernel/Kconfig.preempt), and BTF names every built-in function and type, and none of a
module's. So BTF answers first; an embedded configuration (IKCONFIG) or one that came with the
package answers what BTF cannot. What neither tells is ``None``.
"""

import mmap
import re
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from ktstr.kernels.elf import Elf, ImageError
from ktstr.kernels.kernel import FEATURES, KernelFeatures

_XEN_ELFNOTE_PHYS32_ENTRY = 18  # include/xen/interface/elfnote.h: the PVH entry point
_NT_GNU_BUILD_ID = 3
_BTF_HEADER = struct.Struct("<HBBIIIII")
_BTF_MAGIC = 0xEB9F
_RELEASE = re.compile(r"\d+\.[\w.+~-]{1,96}", re.ASCII)
_BANNER = re.compile(rb"Linux version (\d+\.[\w.+~-]{1,96}) ")
_CONFIG_LINE = re.compile(r"^(?:# )?(CONFIG_\w+)(?:=(.*)| is not set)$", re.MULTILINE)
_MAX_CONFIG = 8 << 20

# A built-in function every kernel with BTF lists: without it, a missing name proves nothing.
_CONTROL = "schedule"


@dataclass(frozen=True, slots=True)
class _Driver:
    """How a driver shows: its probe function in BTF, its name in .rodata, its option."""

    probe: str
    name: str
    option: str


_DRIVERS = {
    "virtio_console": _Driver("virtcons_probe", "virtio_console", "CONFIG_VIRTIO_CONSOLE"),
    "virtio_pci": _Driver("virtio_pci_probe", "virtio-pci", "CONFIG_VIRTIO_PCI"),
    "pvpanic": _Driver("pvpanic_pci_probe", "pvpanic-pci", "CONFIG_PVPANIC_PCI"),
}
_OPTIONS = {
    "sched_ext": "CONFIG_SCHED_CLASS_EXT",
    "btf": "CONFIG_DEBUG_INFO_BTF",
    "pvh": "CONFIG_PVH",
    **{feature: driver.option for feature, driver in _DRIVERS.items()},
}

_Finding = tuple[bool | None, str]


def valid_release(text: str | None) -> str | None:
    """Return *text* when it looks like a kernel release (it names folders), else ``None``."""
    return text if text is not None and _RELEASE.fullmatch(text) else None


def parse_config(text: str) -> dict[str, str]:
    """Options of a kernel configuration file; "is not set" reads as ``n``."""
    return {m[1]: m[2] if m[2] is not None else "n" for m in _CONFIG_LINE.finditer(text)}


def embedded_config(data: mmap.mmap | bytes) -> str | None:
    """The configuration embedded in the image (CONFIG_IKCONFIG; kernel/configs.c), if any."""
    start = data.find(b"IKCFG_ST\x1f\x8b")
    if start < 0:
        return None
    decoder = zlib.decompressobj(31)
    try:
        text = decoder.decompress(bytes(data[start + 8 : start + 8 + (1 << 20)]), _MAX_CONFIG)
    except zlib.error:
        return None
    return text.decode("utf-8", "replace") if decoder.eof else None


def unknown_features(
    release: str | None, reason: str, compression: str | None = None
) -> KernelFeatures:
    """Features of an image that cannot be unpacked: all unknown, each for *reason*."""
    nothing = dict.fromkeys(FEATURES)
    return KernelFeatures(
        release=valid_release(release),
        build_id=None,
        compression=compression,
        reasons=tuple((feature, f"{feature} is unknown: {reason}") for feature in FEATURES),
        **nothing,
    )


def read_features(
    data: mmap.mmap | bytes,
    *,
    release: str | None = None,
    compression: str | None = None,
    config: str | None = None,
) -> KernelFeatures:
    """Read the features of the vmlinux in *data*.

    :param release: from the bzImage header; read from the banner when ``None``.
    :param config: text of the configuration file that came with the image, used for what the
        image itself does not tell.
    :raise ImageError: *data* is not an x86-64 ELF file.
    """
    elf = Elf(data)
    if valid_release(release) is None:
        banner = _BANNER.search(data)
        release = banner[1].decode("ascii") if banner else None
    notes = {(note.name, note.kind): note.desc for note in elf.notes()}
    build_id = notes.get(("GNU", _NT_GNU_BUILD_ID))
    options = parse_config(embedded_config(data) or config or "")
    strings = _btf_strings(elf)

    found: dict[str, _Finding] = {
        "btf": _btf(elf, strings),
        "pvh": _pvh(notes),
        "sched_ext": _sched_ext(elf, strings),
    }
    for feature, driver in _DRIVERS.items():
        found[feature] = _driver(driver, strings, data)
    for feature, (value, reason) in found.items():
        if value is None:
            found[feature] = _by_option(_OPTIONS[feature], options, reason)
        elif value is False and options.get(_OPTIONS[feature]) == "m":
            found[feature] = (False, f"{_OPTIONS[feature]}=m: the driver is a module, not built in")
    return KernelFeatures(
        release=valid_release(release),
        build_id=build_id.hex() if build_id else None,
        compression=compression,
        reasons=tuple(
            (f, f"{f} is {'absent' if found[f][0] is False else 'unknown'}: {found[f][1]}")
            for f in FEATURES
            if not found[f][0]
        ),
        **{feature: found[feature][0] for feature in FEATURES},
    )


def _btf_strings(elf: Elf) -> bytes | None:
    """The string section of the kernel's own BTF (include/uapi/linux/btf.h)."""
    blob = elf.section(".BTF")
    if blob is None or len(blob) < _BTF_HEADER.size:
        return None
    magic, _, _, header, _, _, at, size = _BTF_HEADER.unpack_from(blob)
    if magic != _BTF_MAGIC or header + at + size > len(blob):
        raise ImageError(f"the .BTF section is damaged (magic {magic:#x}, {len(blob)} bytes)")
    return blob[header + at : header + at + size]


def _named(strings: bytes, names: Iterable[str]) -> list[bool]:
    return [b"\0" + name.encode() + b"\0" in strings for name in names]


def _btf(elf: Elf, strings: bytes | None) -> _Finding:
    if strings is not None:
        return True, ""
    if not elf.sections:
        return None, "the ELF file has no section headers"
    return False, "the image has no .BTF section (CONFIG_DEBUG_INFO_BTF)"


def _pvh(notes: dict[tuple[str, int], bytes]) -> _Finding:
    if ("Xen", _XEN_ELFNOTE_PHYS32_ENTRY) in notes:
        return True, ""
    return False, "vmlinux has no PVH entry note (CONFIG_PVH)"


def _sched_ext(elf: Elf, strings: bytes | None) -> _Finding:
    if strings is None:
        if not elf.sections:
            return None, "the ELF file has no section headers, so no BTF can be found"
        return False, "it depends on BTF, which the image does not have"
    control, ops, registered = _named(
        strings, (_CONTROL, "sched_ext_ops", "bpf_struct_ops_sched_ext_ops")
    )
    if ops and registered:
        return True, ""
    if not ops and not registered and control:
        return False, "the image's BTF has no sched_ext_ops (CONFIG_SCHED_CLASS_EXT)"
    return None, "the image's BTF is incomplete"


def _driver(driver: _Driver, strings: bytes | None, data: mmap.mmap | bytes) -> _Finding:
    if strings is None:
        return None, "the image has no BTF to look its probe function up in"
    control, probe = _named(strings, (_CONTROL, driver.probe))
    if probe:
        return True, ""
    # Compilers may rename a static function, so its absence counts only with the name's absence.
    if control and data.find(b"\0" + driver.name.encode() + b"\0") < 0:
        return False, f"the image does not contain {driver.probe}() ({driver.option})"
    return None, f"{driver.probe}() is not in the image's BTF but the driver's name is in the image"


def _by_option(option: str, options: dict[str, str], reason: str) -> _Finding:
    value = options.get(option)
    if value == "y":
        return True, ""
    if value is None and not options:
        return None, reason
    if value == "m":
        return False, f"{option}=m: the driver is a module, not built in"
    return False, f"{option} is not set"
