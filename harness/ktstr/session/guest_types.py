# SPDX-License-Identifier: GPL-2.0-only
"""Types for what a guest reads of itself: its programs' BTF comes once, the kernel's is here."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from ktstr.errors import KtstrError
from ktstr.introspect.btf import Btf, BtfInvalid
from ktstr.introspect.maps import map_type_names
from ktstr.kernels.elf import Elf, ImageError
from ktstr.kernels.image import mapped
from ktstr.telemetry.decode import Fields

MAX_BTFS: Final = 256
MAX_BTF_BYTES: Final = 32 << 20
MAX_PROGRAMS: Final = 4096
_MAX_ID: Final = (1 << 32) - 1
_MAX_USED: Final = 1024
_ONE_BTF: Final = 16 << 20
_BTFS: Final = 4096


class NoTypes(KtstrError):
    """A type cannot be had; the message says why."""


def kernel_types(vmlinux: Path | None) -> Btf:
    """The BTF of a kernel image.

    :raises NoTypes: when there is none in it, or no image.
    """
    if vmlinux is None:
        raise NoTypes("the kernel image could not be unpacked, so its types are not known")
    try:
        with mapped(vmlinux) as data:
            raw = Elf(data).section(".BTF")
        if raw is None:
            raise NoTypes("the kernel image carries no BTF")
        return Btf(raw)
    except (OSError, ImageError, BtfInvalid) as error:
        raise NoTypes(f"the types of the kernel image cannot be read: {error}") from None


class GuestTypes:
    """What the snapshots of one run tell once, for all of them.

    :param kernel: gives the BTF of the kernel that runs; raises :class:`NoTypes`.
    :ivar programs: by id, the maps that a program was verified with.
    """

    def __init__(self, kernel: Callable[[], Btf]) -> None:
        self.programs: dict[int, tuple[int, ...]] = {}
        self._load = kernel
        self._kernel: Btf | NoTypes | None = None
        self._told: dict[int, tuple[str, bool, bytes | None]] = {}
        self._parsed: dict[int, Btf] = {}
        self._room = MAX_BTF_BYTES
        self._type_names: dict[int, str] | None = None

    def learn(self, values: Fields) -> None:
        """Take the BTF and the programs that a snapshot brings.

        :raises WireError: naming the field that is wrong.
        """
        for each in values.maps("btfs", _BTFS):
            btf_id, name = each.integer("id", 1, _MAX_ID), each.text("name", 64)
            data = each.take("data")
            if data is not None and (type(data) is not bytes or len(data) > _ONE_BTF):
                each.refuse("data", data, "bytes, or nil")
            of_kernel = each.boolean("kernel")
            each.done()
            if btf_id in self._told or len(self._told) >= MAX_BTFS:
                continue
            raw = data if isinstance(data, bytes) and len(data) <= self._room else None
            self._room -= len(raw or b"")
            self._told[btf_id] = (name, of_kernel, raw)
        for each in values.maps("progs", MAX_PROGRAMS):
            program = each.integer("id", 1, _MAX_ID)
            each.integer("type", 0, _MAX_ID)
            used = [value for value in each.items("maps", _MAX_USED) if type(value) is int]
            each.done()
            if len(self.programs) < MAX_PROGRAMS:
                self.programs[program] = tuple(used)

    def kernel(self) -> Btf:
        """The running kernel's types.

        :raises NoTypes: when they are not known.
        """
        if self._kernel is None:
            try:
                self._kernel = self._load()
            except NoTypes as error:
                self._kernel = error
        if isinstance(self._kernel, NoTypes):
            raise NoTypes(self._kernel.message)
        return self._kernel

    def get(self, btf_id: int) -> Btf:
        """The types that the kernel numbers ``btf_id``.

        :raises NoTypes: when they did not come.
        :raises BtfInvalid: when they are malformed.
        """
        name, of_kernel, raw = self._told.get(btf_id, ("", False, None))
        if of_kernel and name == "vmlinux":
            return self.kernel()
        if btf_id not in self._parsed:
            if raw is None:
                raise NoTypes(f"its types (BTF {btf_id}) did not come with the snapshot")
            # A module's types build on the kernel's.
            self._parsed[btf_id] = Btf(raw, self.kernel() if of_kernel else None)
        return self._parsed[btf_id]

    def type_name(self, map_type: int) -> str:
        """The kernel's lowercase name of a map type."""
        if self._type_names is None:
            try:
                self._type_names = map_type_names(self.kernel())
            except (NoTypes, BtfInvalid):
                self._type_names = {}
        return self._type_names.get(map_type, f"type {map_type}")
