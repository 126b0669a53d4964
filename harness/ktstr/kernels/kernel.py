# SPDX-License-Identifier: GPL-2.0-only
"""What is known of one kernel: its files and the features read from its image."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

FEATURES = ("sched_ext", "btf", "pvh", "virtio_console", "virtio_pci", "pvpanic")
"""The yes/no/unknown features of :class:`KernelFeatures`, in display order."""

EEVDF_SINCE = (6, 6)
"""The first series whose fair class picks by eligible virtual deadline (kernel/sched/fair.c)."""


@dataclass(frozen=True, slots=True)
class KernelFeatures:
    """Features read from a kernel image; ``None`` is "could not be determined", never a guess.

    :param release: as ``uname -r`` prints it.
    :param build_id: GNU build id in hexadecimal, from the vmlinux notes.
    :param sched_ext: the sched_ext class is built in (CONFIG_SCHED_CLASS_EXT).
    :param btf: the image carries its own BTF (CONFIG_DEBUG_INFO_BTF).
    :param pvh: vmlinux has the PVH entry note, so QEMU can start it without decompression.
    :param virtio_console: the virtio-console driver is built in, not a module.
    :param virtio_pci: the virtio-pci driver is built in.
    :param pvpanic: the pvpanic-pci driver is built in.
    :param compression: of the bzImage payload (``gzip`` ... ``zstd``; ``none`` when stored plain).
    :param reasons: (feature, sentence) for each feature that is not ``True``.
    """

    release: str | None
    build_id: str | None
    sched_ext: bool | None
    btf: bool | None
    pvh: bool | None
    virtio_console: bool | None
    virtio_pci: bool | None
    pvpanic: bool | None
    compression: str | None
    reasons: tuple[tuple[str, str], ...] = ()

    def why_not(self, feature: str) -> str | None:
        """Say why *feature* is absent or unknown; ``None`` when the kernel has it.

        :raise ValueError: *feature* is not one of :data:`FEATURES`.
        """
        if feature not in FEATURES:
            raise ValueError(f"unknown kernel feature {feature!r}; known: {', '.join(FEATURES)}")
        value: bool | None = getattr(self, feature)
        if value:
            return None
        state = "absent" if value is False else "unknown"
        return dict(self.reasons).get(feature, f"{feature} is {state}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the reverse of :meth:`from_dict`."""
        return {**asdict(self), "reasons": dict(self.reasons)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "KernelFeatures":
        """Rebuild features from :meth:`to_dict`'s values.

        :raise ValueError: a key is missing or has a value of the wrong type.
        """
        values: dict[str, Any] = {}
        for field in fields(cls):
            value = data.get(field.name, ...)
            if field.name == "reasons":
                if not isinstance(value, Mapping):
                    raise ValueError("features.reasons is not a table")
                values["reasons"] = tuple((str(k), str(v)) for k, v in value.items())
                continue
            kind = bool if field.name in FEATURES else str
            if value is not None and not isinstance(value, kind):
                raise ValueError(f"features.{field.name} is {value!r}, not {kind.__name__} or null")
            values[field.name] = value
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Module:
    """A kernel module, unpacked.

    :param name: as the kernel calls it, with underscores.
    :param data: the object file.
    """

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel that is ready to boot.

    :param spec: what the user asked for.
    :param release: as ``uname -r`` prints it.
    :param image: bzImage or vmlinux, as found.
    :param vmlinux: the decompressed ELF, or ``None`` when the payload could not be unpacked.
    :param digest: sha256 of *image* in hexadecimal; names the cache entry.
    :param notes: what the user should know about how this kernel was chosen.
    :param config: the kernel's configuration file when one came with it, else ``None``.
    :param modules: drivers that are not built in and were found, each after those it needs.
    :param commit: of the source it was built from here; ``None`` when that is not known.
    """

    spec: str
    release: str
    image: Path
    vmlinux: Path | None
    features: KernelFeatures
    digest: str
    notes: tuple[str, ...] = ()
    config: Path | None = None
    modules: tuple[Module, ...] = ()
    commit: str | None = None

    @property
    def own_scheduler(self) -> str:
        """What schedules ordinary tasks where no sched_ext scheduler does."""
        match = re.match(r"(\d+)\.(\d+)", self.release)
        version = (int(match[1]), int(match[2])) if match else (0, 0)
        return "CFS" if version < EEVDF_SINCE else "EEVDF"
