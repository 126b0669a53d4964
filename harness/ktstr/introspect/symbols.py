# SPDX-License-Identifier: GPL-2.0-only
"""Addresses of kernel globals, from the kernel's own kallsyms tables.

Decoding kallsyms takes drgn about half a second for a distribution kernel. The few addresses the
readers use are therefore kept, as they were linked, in a small file per kernel build; a file is
used only when the BTF found through it has the digest the file was written with.
"""

import json
import os
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import drgn

from ktstr.errors import KernelUnfit
from ktstr.introspect.vmcoreinfo import KERNEL_MAP

_FORMAT = 2
_MAX_FILE = 64 * 1024


class Symbols:
    """Looks symbols up by name: first the ``known`` ones, then the whole of kallsyms.

    :param program: gives the drgn program over the guest's memory, always the same one; it is
        asked for when kallsyms is needed.
    :param known: addresses already resolved; ``None`` for names the kernel does not have.
    """

    def __init__(
        self, program: Callable[[], drgn.Program], known: dict[str, int | None] | None = None
    ) -> None:
        self.program = program
        self._known: dict[str, int | None] = dict(known or {})
        self._find: Callable[..., Iterable[drgn.Symbol]] | None = None

    def register(self, prog: drgn.Program) -> None:
        """Let drgn find symbols here."""
        prog.register_symbol_finder("kallsyms", self._finder, enable_index=0)

    def _index(self) -> Callable[..., Iterable[drgn.Symbol]]:
        if self._find is None:
            prog = self.program()
            try:
                # Imported here: it takes 30 ms, and a known kernel never needs it.
                from drgn.helpers.linux.kallsyms import load_vmlinux_kallsyms

                self._find = load_vmlinux_kallsyms(prog)
            except Exception as error:  # drgn lets through whatever the guest's tables provoke
                raise KernelUnfit(
                    f"kallsyms cannot be read: {error}",
                    hint="the kernel needs CONFIG_KALLSYMS_ALL and version 6.0 or later",
                ) from None
        return self._find

    def _finder(
        self, prog: drgn.Program, name: str | None, address: int | None, one: bool
    ) -> list[drgn.Symbol]:
        return list(self._index()(prog, name, address, one))

    def named(self, name: str) -> list[int]:
        """Addresses of every symbol called ``name``, ascending; static ones may share a name.

        :raises KernelUnfit: when kallsyms cannot be read.
        """
        return sorted(
            {symbol.address for symbol in self._index()(self.program(), name, None, False)}
        )

    def names(self) -> set[str]:
        """The names of all symbols.

        :raises KernelUnfit: when kallsyms cannot be read.
        """
        return {symbol.name for symbol in self._index()(self.program(), None, None, False)}

    def holding(self, address: int) -> tuple[str, int] | None:
        """Name and address of the symbol that ``address`` lies in.

        :raises KernelUnfit: when kallsyms cannot be read.
        """
        for symbol in self._index()(self.program(), None, address, True):
            return symbol.name, symbol.address
        return None

    def get(self, name: str) -> int | None:
        """Address of ``name`` in the running kernel, ``None`` when it has no such symbol.

        :raises KernelUnfit: when kallsyms is needed and cannot be read.
        """
        if name not in self._known:
            found = list(self._index()(self.program(), name, None, True))
            self._known[name] = found[0].address if found else None
        return self._known[name]


def _moves(address: int) -> bool:
    # Per-CPU symbols of kernels before 6.15 are small offsets, which KASLR leaves alone.
    return address >= KERNEL_MAP


def load_symbols(path: Path, kaslr: int) -> tuple[dict[str, int | None], str] | None:
    """Read a symbol file: addresses moved by ``kaslr``, and the digest of the kernel's BTF.

    ``None`` when the file is missing or is not what :func:`store_symbols` writes.
    """
    try:
        if path.stat().st_size > _MAX_FILE:
            return None
        content = json.loads(path.read_text("ascii"))
        if content["format"] != _FORMAT:
            return None
        known: dict[str, int | None] = {}
        for name, address in content["symbols"].items():
            if address is not None and not (isinstance(address, int) and 0 <= address < 1 << 64):
                return None
            known[str(name)] = address + kaslr if address and _moves(address) else address
        return known, str(content["btf"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def store_symbols(path: Path, kaslr: int, known: dict[str, int | None], digest: str) -> None:
    """Write a symbol file atomically; a folder that cannot be written is not an error.

    :param digest: digest of the kernel's BTF, the proof that the addresses belong to it.
    """
    linked = {n: a - kaslr if a is not None and _moves(a) else a for n, a in known.items()}
    content = json.dumps({"format": _FORMAT, "btf": digest, "symbols": linked}, indent=1)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(content)
            os.replace(name, path)
        except OSError:
            os.unlink(name)
            raise
